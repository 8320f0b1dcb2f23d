//! What came on streams that are gone, and still waits in the inbox.

use std::sync::Arc;

use super::{InStream, Inbound};
use crate::wire::MAX_STREAMS;

/// Streams that are gone, with envelopes that the application has not taken yet.
///
/// Each stream has its window, and a new one a new window. So that a peer which is restarted, or ends its streams and opens
/// others, again and again, does not fill an inbox that nobody reads: no stream is opened while these hold more than a window.
#[derive(Default)]
pub(super) struct Leftovers {
    /// Each with the position behind its last envelope.
    gone: Vec<(Arc<Inbound>, u64)>,
}

impl Leftovers {
    /// The stream is gone.
    pub(super) fn keep(&mut self, stream: &InStream) {
        if stream.leaves_unread() > 0 {
            self.gone.push((stream.shared().clone(), stream.end_of_envelopes()));
        }
    }

    /// Bytes that the application has not taken.
    pub(super) fn unread(&self) -> u64 {
        self.gone.iter().map(|(inbound, end)| inbound.unread_before(*end)).sum()
    }

    /// Whether there is room for new streams, when streams with `more` unread bytes go as well.
    pub(super) fn leave_room(&mut self, more: u64, window: u64) -> bool {
        self.gone.retain(|(inbound, end)| inbound.unread_before(*end) > 0);
        self.gone.len() < MAX_STREAMS && self.unread().saturating_add(more) <= window
    }
}
