//! Flow-control credit: for each lane of a link, the bytes that may be sent, and that there is room for.
//!
//! Credit belongs to a lane of a link, not to a stream: however many streams a peer opens, and however often it is
//! restarted, what waits in the inbox is bounded. Credit counts the bytes of one session, from 0, in both directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::stream::Lane;

/// The least window of a lane. Three quarters of it, of which a sender is always told, are more than 32 KiB: with that
/// much room a ring of frames can always be cut.
pub(super) const LEAST_WINDOW: u64 = 48 * 1024;

/// The bytes of a lane that the application has taken out of its inbox. Shared by link and inbox.
#[derive(Debug, Default)]
pub struct Consumption {
    /// Bytes taken, ever.
    consumed: AtomicU64,
    /// The value of `consumed` at the link's last look.
    seen: AtomicU64,
    /// The inbox has asked the link to look, and it has not looked yet.
    asked: AtomicBool,
    /// Bytes after which the link is asked to look.
    step: u64,
}

impl Consumption {
    /// Counts bytes that the application has taken. Returns `true` if the link is to look: the sender may be out of
    /// credit.
    #[inline]
    pub(super) fn add(&self, bytes: u64) -> bool {
        // One thread takes envelopes out of an inbox at a time.
        let consumed = self.consumed.load(Ordering::Relaxed) + bytes;
        self.consumed.store(consumed, Ordering::SeqCst);
        consumed - self.seen.load(Ordering::SeqCst) >= self.step && !self.asked.swap(true, Ordering::SeqCst)
    }

    fn look(&self) {
        self.asked.store(false, Ordering::SeqCst);
        self.seen.store(self.consumed.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Credit that the receiver of a lane grants.
///
/// Invariant: unread bytes and bytes that may yet be sent are together at most the window, and one envelope that is
/// longer than a segment.
#[derive(Debug)]
pub struct RecvCredit {
    consumption: Arc<Consumption>,
    size: u64,
    /// Bytes that came and were not given up, ever.
    arrived: u64,
    /// Bytes that came in this session.
    received: u64,
    /// Bytes that may be sent in this session.
    credit: u64,
    /// The stream on which a frame is coming in fragments: one at a time.
    open: Option<u32>,
}

impl RecvCredit {
    /// Makes a window of `size` bytes.
    pub(crate) fn new(size: u64) -> RecvCredit {
        let consumption = Arc::new(Consumption { step: size / 4, ..Consumption::default() });
        RecvCredit { consumption, size, arrived: 0, received: 0, credit: 0, open: None }
    }

    /// Makes the window of `lane`, where a peer may send `bytes` before the application has read them. A sixteenth of
    /// them, or [`LEAST_WINDOW`], is for the urgent lane, so that the normal lane cannot take its room.
    pub(super) fn of_lane(bytes: u64, lane: Lane) -> RecvCredit {
        let urgent = (bytes / 16).max(LEAST_WINDOW).min(bytes / 2) & !7;
        RecvCredit::new(match lane {
            Lane::Normal => bytes - urgent,
            Lane::Urgent => urgent,
        })
    }

    /// The counter of what the application takes.
    pub(crate) fn consumption(&self) -> &Arc<Consumption> {
        &self.consumption
    }

    /// Bytes that came and that the application has not taken.
    pub(crate) fn unread(&self) -> u64 {
        self.arrived.saturating_sub(self.consumption.consumed.load(Ordering::SeqCst))
    }

    fn room(&self) -> u64 {
        (self.received + (self.size.saturating_sub(self.unread()) & !7)).max(self.credit)
    }

    /// Begins a session. Returns the credit with which the sender begins.
    pub(super) fn begin(&mut self) -> u64 {
        (self.received, self.credit) = (0, 0);
        self.grant()
    }

    /// Returns whether there is so much more room than the sender knows of that it is to be told.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.room().saturating_sub(self.credit.max(self.received)) >= self.size / 4
    }

    /// Credit to tell the sender; it counts as told.
    pub(super) fn grant(&mut self) -> u64 {
        self.consumption.look();
        self.credit = self.room();
        self.credit
    }

    /// Looks at what the application has taken. Returns whether the sender is to be told of room.
    pub(crate) fn look(&self) -> bool {
        self.consumption.look();
        self.is_due()
    }

    /// Credit last told.
    pub(super) fn credit(&self) -> u64 {
        self.credit
    }

    /// Bytes that came in this session.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns whether there is credit for `bytes`. What continues a frame needs none: the frame had it when it began.
    #[inline]
    pub(super) fn admits(&self, bytes: u64) -> bool {
        bytes <= self.credit.saturating_sub(self.received)
    }

    /// Counts bytes that came.
    #[inline]
    pub(crate) fn take(&mut self, bytes: u64) {
        self.received += bytes;
        self.arrived += bytes;
    }

    /// A frame begins to come in fragments on `stream`. Returns `false` if another one has not ended.
    pub(super) fn open(&mut self, stream: u32) -> bool {
        self.open.replace(stream).is_none()
    }

    /// The frame in fragments has come, all of it.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// The frame in fragments will not come to its end; `bytes` of it had come.
    pub(super) fn give_up(&mut self, bytes: u64) {
        self.open = None;
        self.arrived -= bytes;
    }
}

/// The sender's side of a lane's flow control.
#[derive(Debug, Default)]
pub(super) struct SendCredit {
    /// Bytes sent in this session.
    pub(super) sent: u64,
    /// Bytes that may be sent in this session.
    pub(super) credit: u64,
    /// The stream of which a frame was sent in part. It is sent to its end before another one begins in fragments.
    pub(super) open: Option<u32>,
}

impl SendCredit {
    /// Begins a session.
    pub(super) fn begin(&mut self, credit: u64) {
        *self = SendCredit { credit, ..SendCredit::default() };
    }

    /// Takes note of credit. It never shrinks within a session.
    #[inline]
    pub(super) fn grant(&mut self, credit: u64) {
        self.credit = self.credit.max(credit);
    }

    /// Bytes that may be sent now.
    #[inline]
    pub(super) fn room(&self) -> u64 {
        self.credit.saturating_sub(self.sent)
    }
}
