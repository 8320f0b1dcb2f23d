//! Flow-control credit: for each lane of a link, the bytes that may be sent and for which the receiver has room
//! (WIRE.md, section Streams, Credit).
//!
//! Credit belongs to a lane of a link, not to a stream. So the unread bytes in the inbox are bounded, however many
//! streams a peer opens and however often it is restarted. Credit counts the bytes of one session, from 0, in both
//! directions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::stream::Lane;

/// Least window of a lane in bytes. A sender always learns of three quarters of it, more than 32 KiB. With so much
/// credit, the frames in a ring can always be cut into segments.
pub(super) const LEAST_WINDOW: u64 = 48 * 1024;

/// Counter of the bytes of a lane that the application has taken out of its inbox. Link and inbox share it.
#[derive(Debug, Default)]
pub struct Consumption {
    /// Bytes taken, ever.
    consumed: AtomicU64,
    /// Value of `consumed` when the link last read it.
    seen: AtomicU64,
    /// Set if the link has been notified and has not read the counter since.
    asked: AtomicBool,
    /// Number of bytes after which the link is notified.
    step: u64,
}

impl Consumption {
    /// Counts bytes that the application has taken. Returns `true` if the link is to be notified: the sender may be out
    /// of credit.
    #[inline]
    pub(super) fn add(&self, bytes: u64) -> bool {
        // Only one thread at a time takes envelopes out of an inbox.
        let consumed = self.consumed.load(Ordering::Relaxed) + bytes;
        self.consumed.store(consumed, Ordering::SeqCst);
        consumed - self.seen.load(Ordering::SeqCst) >= self.step && !self.asked.swap(true, Ordering::SeqCst)
    }

    fn look(&self) {
        self.asked.store(false, Ordering::SeqCst);
        self.seen.store(self.consumed.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Flow-control credit that the receiver of a lane grants (WIRE.md, section Streams).
///
/// Invariant: the unread bytes and the bytes that may still be sent are together at most the window, plus one envelope
/// longer than a segment.
#[derive(Debug)]
pub struct RecvCredit {
    consumption: Arc<Consumption>,
    size: u64,
    /// Bytes received and not given up, ever.
    arrived: u64,
    /// Bytes received in this session.
    received: u64,
    /// Bytes that the sender may send in this session.
    credit: u64,
    /// Stream of which a frame is being received in fragments. There is at most one at a time.
    open: Option<u32>,
}

impl RecvCredit {
    /// Makes a window of `size` bytes.
    pub fn new(size: u64) -> RecvCredit {
        let consumption = Arc::new(Consumption { step: size / 4, ..Consumption::default() });
        RecvCredit { consumption, size, arrived: 0, received: 0, credit: 0, open: None }
    }

    /// Makes the window of `lane` for a peer that may send `bytes` before the application has read them. Each lane but
    /// the normal one has a sixteenth of them, at least [`LEAST_WINDOW`], which the normal lane cannot use up.
    pub(super) fn of_lane(bytes: u64, lane: Lane) -> RecvCredit {
        let lanes = Lane::COUNT as u64;
        let small = (bytes / 16).max(LEAST_WINDOW).min(bytes / lanes) & !7;
        RecvCredit::new(match lane {
            Lane::Normal => bytes - (lanes - 1) * small,
            _ => small,
        })
    }

    /// Counter of the bytes that the application has taken.
    pub fn consumption(&self) -> &Arc<Consumption> {
        &self.consumption
    }

    /// Bytes received that the application has not taken.
    pub fn unread(&self) -> u64 {
        self.arrived.saturating_sub(self.consumption.consumed.load(Ordering::SeqCst))
    }

    fn room(&self) -> u64 {
        (self.received + self.offer()).max(self.credit)
    }

    /// Credit with which a session may begin, in bytes. The present session, if there is one, is not changed.
    pub(super) fn offer(&self) -> u64 {
        self.size.saturating_sub(self.unread()) & !7
    }

    /// Begins a session with the credit that a greeting has [offered](RecvCredit::offer).
    pub(super) fn begin(&mut self, offered: u64) {
        self.consumption.look();
        (self.received, self.credit) = (0, offered);
    }

    /// Returns whether there is so much more room than granted that the sender is to be told.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.room().saturating_sub(self.credit.max(self.received)) >= self.size / 4
    }

    /// Returns the credit to grant, and records it as granted.
    pub(super) fn grant(&mut self) -> u64 {
        self.consumption.look();
        self.credit = self.room();
        self.credit
    }

    /// Reads the counter of bytes that the application has taken. Returns whether the sender is to be granted credit.
    pub fn look(&self) -> bool {
        self.consumption.look();
        self.is_due()
    }

    /// Credit last granted, in bytes of this session.
    pub(super) fn credit(&self) -> u64 {
        self.credit
    }

    /// Bytes received in this session.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns whether there is credit for `bytes`. A fragment that continues a frame needs none: the first fragment
    /// had it.
    #[inline]
    pub(super) fn admits(&self, bytes: u64) -> bool {
        bytes <= self.credit.saturating_sub(self.received)
    }

    /// Counts received bytes.
    #[inline]
    pub fn take(&mut self, bytes: u64) {
        self.received += bytes;
        self.arrived += bytes;
    }

    /// Begins a frame in fragments on `stream`. Returns `false` if another frame has not ended.
    pub(super) fn open(&mut self, stream: u32) -> bool {
        self.open.replace(stream).is_none()
    }

    /// Ends the frame in fragments, which is complete.
    pub(super) fn close(&mut self) {
        self.open = None;
    }

    /// Gives up the frame in fragments, of which `bytes` were received.
    pub(super) fn give_up(&mut self, bytes: u64) {
        self.open = None;
        self.arrived -= bytes;
    }
}

/// Credit that the sender of a lane has.
#[derive(Debug, Default)]
pub(super) struct SendCredit {
    /// Bytes sent in this session.
    pub(super) sent: u64,
    /// Bytes that may be sent in this session.
    pub(super) credit: u64,
    /// Stream that has sent part of a frame. It sends the frame to its end before another frame begins in fragments.
    pub(super) open: Option<u32>,
}

impl SendCredit {
    /// Begins a session with this credit.
    pub(super) fn begin(&mut self, credit: u64) {
        *self = SendCredit { credit, ..SendCredit::default() };
    }

    /// Records a grant. Credit never shrinks within a session.
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
