//! Incoming streams: frames in order, and the assembly of frames in fragments.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zerocopy::FromBytes;

use super::credit::{Consumption, RecvCredit};
use crate::stream::{Buffer, Buffers, Counters};
use crate::wire::{FIRST, FRAGMENT, FRAME_HEADER_BYTES, FrameHeader, LAST, SegmentHeader, frame_bytes};

/// Number of received bytes after which an acknowledgement is sent without delay (WIRE.md, section Time).
const ACK_BYTES: u64 = 256 * 1024;

/// Bytes of memory that a frame in fragments is given at first.
const FIRST_ROOM: usize = 1024 * 1024;

/// Part of an incoming stream that the link shares with the inbox.
#[derive(Debug, Default)]
pub struct RecvShared {
    consumption: Arc<Consumption>,
    counters: Counters,
}

impl RecvShared {
    /// Makes the shared part of a stream. Its bytes count in the consumption of its lane.
    pub fn new(consumption: Arc<Consumption>) -> Arc<RecvShared> {
        Arc::new(RecvShared { consumption, counters: Counters::default() })
    }

    /// Counts `messages` envelopes with `bytes` of payload that the application has taken. They occupied `room` bytes
    /// of the window.
    ///
    /// Returns `true` if the link is to be notified: the sender may be out of credit.
    #[inline]
    pub fn consume(&self, room: u64, messages: u64, bytes: u64) -> bool {
        self.counters.count(messages, bytes);
        self.consumption.add(room)
    }

    /// Messages and payload bytes that the application has taken.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AsRef<Counters> for RecvShared {
    fn as_ref(&self) -> &Counters {
        &self.counters
    }
}

/// Incoming stream: the receiver's positions in the bytes of one outbox of the peer (WIRE.md, section Streams).
///
/// Invariant: `acked <= delivered <= received`.
pub struct RecvStream {
    id: u32,
    /// Position at which the stream began for this receiver.
    begin: u64,
    /// Next expected position.
    received: u64,
    /// Position up to which everything is in the inbox. Later bytes are in `assembly`.
    delivered: u64,
    /// Position last acknowledged.
    acked: u64,
    shared: Arc<RecvShared>,
    assembly: Option<Assembly>,
    /// Set if the last acknowledgement may have been lost.
    unsure: bool,
}

/// Frame in fragments, as far as it has been received.
struct Assembly {
    id: i64,
    length: usize,
    payload: Buffer,
    end: u64,
}

/// Content of a data segment.
#[derive(Debug)]
pub enum Arrival {
    /// Whole frames: the payload of the segment goes to the inbox unchanged.
    Frames,
    /// Fragment of a frame that is not complete yet.
    Part,
    /// Last fragment of a frame.
    Whole {
        /// Message id of the envelope.
        id: i64,
        /// Payload of the envelope.
        payload: Bytes,
    },
}

#[cfg(any(test, feature = "simulation"))]
impl fmt::Display for RecvStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecvStream { id, received, delivered, acked, .. } = self;
        write!(f, "{id}: received {received} delivered {delivered} acked {acked}")
    }
}

impl RecvStream {
    /// Makes a stream whose next byte is at `position`. `consumption` belongs to its lane.
    pub fn new(id: u32, position: u64, consumption: Arc<Consumption>) -> RecvStream {
        RecvStream {
            id,
            begin: position,
            received: position,
            delivered: position,
            acked: position,
            shared: RecvShared::new(consumption),
            assembly: None,
            unsure: false,
        }
    }

    /// Returns whether no byte of the stream has been received.
    pub(super) fn is_untouched(&self) -> bool {
        self.received == self.begin
    }

    /// Number of the stream.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Next expected position.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Position up to which everything is in the inbox.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Continues on a new connection. The position is acknowledged again, because the last acknowledgement may be lost.
    pub fn reopen(&mut self) {
        self.unsure = true;
    }

    /// Part of the stream that is shared with the inbox.
    pub fn shared(&self) -> &Arc<RecvShared> {
        &self.shared
    }

    /// Accepts the payload of the next data segment, for which `window` must have credit. A frame in fragments is
    /// assembled in one of `buffers`.
    #[inline]
    pub(super) fn accept(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        max_envelope_bytes: u64,
        window: &mut RecvCredit,
        buffers: &Arc<Buffers>,
    ) -> Result<Arrival, Violation> {
        let (position, length) = (header.position.get(), payload.len() as u64);
        if position != self.received {
            return Err(Violation::Position { stream: self.id, expected: self.received, found: position });
        }
        if header.has(FRAGMENT) {
            return self.accept_fragment(header, payload, max_envelope_bytes, window, buffers);
        }
        if length == 0 || !window.admits(length) {
            return Err(self.beyond_credit(length, window));
        }
        if self.assembly.is_some() {
            return Err(Violation::Fragment { stream: self.id });
        }
        window.take(length);
        self.received += length;
        self.delivered = self.received;
        self.check_invariant();
        Ok(Arrival::Frames)
    }

    #[cold]
    fn beyond_credit(&self, bytes: u64, window: &RecvCredit) -> Violation {
        Violation::Credit { stream: self.id, bytes, credit: window.credit().saturating_sub(window.received()) }
    }

    /// Accepts a fragment (WIRE.md, section Fragments). Not inlined, to keep the path of whole frames short.
    #[inline(never)]
    fn accept_fragment(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        max_envelope_bytes: u64,
        window: &mut RecvCredit,
        buffers: &Arc<Buffers>,
    ) -> Result<Arrival, Violation> {
        let (position, length) = (header.position.get(), payload.len() as u64);
        if length == 0 || header.has(FIRST) && !window.admits(length) {
            return Err(self.beyond_credit(length, window));
        }
        if header.has(FIRST) != self.assembly.is_none() {
            return Err(Violation::Fragment { stream: self.id });
        }
        let body = if header.has(FIRST) {
            let (frame, body) =
                FrameHeader::read_from_prefix(payload).map_err(|_| Violation::Fragment { stream: self.id })?;
            let bytes = frame.length.get() as usize;
            if frame.flags.get() != 0 {
                return Err(Violation::Fragment { stream: self.id });
            }
            if bytes as u64 > max_envelope_bytes {
                return Err(Violation::TooLarge { bytes: bytes as u64, limit: max_envelope_bytes });
            }
            if !window.open(self.id) {
                return Err(Violation::Fragment { stream: self.id });
            }
            self.assembly = Some(Assembly {
                id: frame.id.get(),
                length: bytes,
                payload: buffers.take_empty(bytes),
                end: position + frame_bytes(bytes) as u64,
            });
            debug_assert_eq!(payload.len() - body.len(), FRAME_HEADER_BYTES);
            body
        } else {
            payload
        };
        let Some(assembly) = &mut self.assembly else { return Err(Violation::Fragment { stream: self.id }) };
        if position + length > assembly.end || header.has(LAST) != (position + length == assembly.end) {
            return Err(Violation::Fragment { stream: self.id });
        }
        let rest = assembly.length - assembly.payload.len();
        let body = &body[..body.len().min(rest)];
        // Memory grows with the received bytes, and doubles each time: an announced length alone reserves none.
        let room = rest.min(assembly.payload.len().max(FIRST_ROOM));
        assembly.payload.append(body, room);
        self.received += length;
        window.take(length);
        if !header.has(LAST) {
            self.check_invariant();
            return Ok(Arrival::Part);
        }
        window.close();
        self.delivered = self.received;
        self.check_invariant();
        match self.assembly.take() {
            Some(whole) => Ok(Arrival::Whole { id: whole.id, payload: whole.payload.into() }),
            None => Ok(Arrival::Part),
        }
    }

    /// Skips the gap from the position `from`, which must be the next one, to `to` (WIRE.md, section Control segments,
    /// Skip). A gap needs no credit. A frame of which fragments were received is given up.
    pub(super) fn skip(&mut self, from: u64, to: u64, window: &mut RecvCredit) -> Result<(), Violation> {
        if from != self.received || to <= from {
            return Err(Violation::Position { stream: self.id, expected: self.received, found: from });
        }
        self.give_up(window);
        self.received = to;
        self.delivered = to;
        self.check_invariant();
        Ok(())
    }

    /// Gives up a frame of which fragments were received. Its first byte is the next expected position again.
    pub(super) fn give_up(&mut self, window: &mut RecvCredit) {
        if self.assembly.take().is_some() {
            window.give_up(self.received - self.delivered);
            self.received = self.delivered;
        }
        self.check_invariant();
    }

    /// Returns whether so many bytes were received that an acknowledgement is worth a segment of its own, and is
    /// delayed no longer.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.delivered - self.acked >= ACK_BYTES
    }

    /// Returns whether an acknowledgement is owed.
    pub fn is_owed(&self) -> bool {
        self.delivered > self.acked || self.unsure
    }

    /// Returns the position to acknowledge, and records it as acknowledged.
    pub fn acknowledge(&mut self) -> u64 {
        self.acked = self.delivered;
        self.unsure = false;
        self.check_invariant();
        self.delivered
    }

    #[inline]
    fn check_invariant(&self) {
        let RecvStream { acked, delivered, received, .. } = *self;
        debug_assert!(acked <= delivered && delivered <= received, "{acked} <= {delivered} <= {received}");
    }
}

/// Advice for a violation that no server of this release commits.
pub(super) const SAME_RELEASE: &str = "; run the same release on both sides, and report it if they do";

/// Violation of the protocol by a peer (WIRE.md, section Violations).
///
/// It ends the peer's connection, and has no other effect. Its text states the cure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Bytes at a position other than the next expected one.
    Position {
        /// Number of the stream.
        stream: u32,
        /// Next expected position.
        expected: u64,
        /// Position of the received bytes.
        found: u64,
    },
    /// Bytes beyond the credit, or an empty data segment.
    Credit {
        /// Number of the stream.
        stream: u32,
        /// Payload bytes of the segment.
        bytes: u64,
        /// Bytes for which there was credit.
        credit: u64,
    },
    /// Fragment out of place.
    Fragment {
        /// Number of the stream.
        stream: u32,
    },
    /// Envelope longer than this side accepts.
    TooLarge {
        /// Payload bytes of the envelope.
        bytes: u64,
        /// Limit in bytes.
        limit: u64,
    },
    /// Acknowledgement of bytes that were not sent.
    Acknowledgement {
        /// Number of the stream.
        stream: u32,
        /// Acknowledged position.
        position: u64,
        /// Position up to which bytes were sent.
        sent: u64,
    },
    /// Unknown stream that does not begin at position 0, or one stream too many.
    Stream {
        /// Number of the stream.
        stream: u32,
    },
    /// Segment that is not allowed here, or whose payload does not match its kind.
    Unexpected,
    /// Data segment whose payload is not a sequence of whole frames. It was acknowledged before this was noticed.
    Frames {
        /// Bytes from the malformed frame to the end of the segment, which cannot be read.
        lost: u64,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Violation::TooLarge { bytes, limit } => {
                return write!(
                    f,
                    "an envelope of {bytes} bytes, this side accepts {limit}: raise max_envelope_bytes here"
                );
            }
            Violation::Position { stream, expected, found } => {
                write!(f, "stream {stream}: expected position {expected}, received {found}")
            }
            Violation::Credit { stream, bytes, credit } => {
                write!(f, "stream {stream}: sent {bytes} bytes with credit for {credit}")
            }
            Violation::Fragment { stream } => write!(f, "stream {stream}: a fragment out of place"),
            Violation::Acknowledgement { stream, position, sent } => {
                write!(f, "stream {stream}: acknowledged {position}, sent was {sent}")
            }
            Violation::Stream { stream } => write!(f, "stream {stream} is not known here"),
            Violation::Unexpected => write!(f, "a segment that has no place here"),
            Violation::Frames { lost } => {
                write!(f, "a data segment that does not hold whole frames: {lost} bytes of it are lost")
            }
        }?;
        f.write_str(SAME_RELEASE)
    }
}

impl std::error::Error for Violation {}
