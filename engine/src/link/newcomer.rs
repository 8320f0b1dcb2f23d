//! A new incarnation of the peer takes the place of the last one when it has shown that it is there.
//!
//! A greeting may come late: from a process that has died before it was answered, and whose successor is met already. Who
//! believed it at once would forget the streams of the living for one that is dead, and take its next greeting for that of a
//! predecessor. So what is known of the last incarnation is set aside, nothing is sent to the newcomer, and the first segment
//! of its own decides.

use super::{InStream, Link};
use crate::stream::StreamReader;
use crate::wire::{Hello, WireIncarnation};

/// So many earlier incarnations of a peer are remembered.
const MOST_REPLACED: usize = 16;

/// What is known of the incarnation that a newcomer is to replace.
pub(super) struct Former {
    pub(super) incarnation: WireIncarnation,
    pub(super) heard_greeting: u32,
    pub(super) incoming: Vec<InStream>,
}

impl Link {
    /// Whether a session may carry streams: the incarnation at its other end is known to live.
    pub fn is_proven(&self) -> bool {
        self.former.is_none()
    }

    /// Whether this is the greeting of one that was set aside, and older than what was heard of it.
    pub(super) fn is_old_news(&self, hello: &Hello) -> bool {
        let known = match &self.former {
            Some(former) if former.incarnation == hello.incarnation => former.heard_greeting,
            _ if self.incarnation == Some(hello.incarnation) => self.heard_greeting,
            _ => return false,
        };
        hello.greeting <= known
    }

    /// What is known of the last incarnation is set aside: another one has greeted.
    pub(super) fn set_aside(&mut self, newcomer: WireIncarnation) {
        if let Some(incarnation) = self.incarnation.replace(newcomer) {
            let incoming = std::mem::take(&mut self.incoming);
            self.former = Some(Former { incarnation, heard_greeting: self.heard_greeting, incoming });
        }
    }

    /// The newcomer is there: its predecessor is not, whatever is heard of it from now on.
    pub(super) fn prove(&mut self) {
        let Some(former) = self.former.take() else { return };
        if self.replaced.len() == MOST_REPLACED {
            self.replaced.remove(0);
        }
        self.replaced.push(former.incarnation);
        former.incoming.iter().for_each(|stream| self.leftovers.keep(stream));
        self.outgoing.iter_mut().for_each(StreamReader::forget_sent);
        self.limit_streams();
    }

    /// The session with the newcomer is over, and it has not said a word.
    pub(super) fn disprove(&mut self) {
        let Some(former) = self.former.take() else { return };
        self.incarnation = Some(former.incarnation);
        self.heard_greeting = former.heard_greeting;
        self.incoming = former.incoming;
    }

    /// Whether there is room for the streams that the peer speaks of, beside what came on earlier ones and was not read.
    pub(super) fn has_room_for(&mut self, hello: &Hello) -> bool {
        let same = self.incarnation == Some(hello.incarnation);
        let is_listed = |stream: &InStream| hello.sending.iter().any(|entry| entry.stream.get() == stream.id());
        let is_known = |id: u32| self.incoming.iter().any(|stream| stream.id() == id && !stream.is_resumed());
        if same && hello.sending.iter().all(|entry| is_known(entry.stream.get())) {
            return true;
        }
        let going = self.incoming.iter().filter(|stream| !same || !is_listed(stream));
        let set_aside = self.former.iter().flat_map(|former| &former.incoming);
        let unread = going.chain(set_aside).map(InStream::leaves_unread).sum();
        self.leftovers.leave_room(unread, self.local.window_bytes)
    }
}
