//! An incoming stream: frames in order, and the assembly of long ones.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use zerocopy::FromBytes;

use super::credit::{Consumption, RecvCredit};
use crate::stream::{Buffer, Buffers, Counters};
use crate::wire::{FIRST, FRAGMENT, FRAME_HEADER_BYTES, FrameHeader, LAST, SegmentHeader, frame_bytes};

/// Bytes that are received before they are acknowledged without delay.
const ACK_BYTES: u64 = 256 * 1024;

/// Memory that a frame longer than a segment is given at first.
const FIRST_ROOM: usize = 1024 * 1024;

/// The part of an incoming stream that the link shares with the inbox.
#[derive(Debug, Default)]
pub struct RecvShared {
    consumption: Arc<Consumption>,
    counters: Counters,
}

impl RecvShared {
    /// Makes the shared part of a stream whose bytes count in the consumption of its lane.
    pub(crate) fn new(consumption: Arc<Consumption>) -> Arc<RecvShared> {
        Arc::new(RecvShared { consumption, counters: Counters::default() })
    }

    /// Counts `messages` envelopes that the application has taken, with `bytes` of payload, which took up `room` bytes.
    ///
    /// Returns `true` if the link is to look: the sender may be out of credit.
    #[inline]
    pub fn consume(&self, room: u64, messages: u64, bytes: u64) -> bool {
        self.counters.count(messages, bytes);
        self.consumption.add(room)
    }

    /// Messages and bytes that the application has taken.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AsRef<Counters> for RecvShared {
    fn as_ref(&self) -> &Counters {
        &self.counters
    }
}

/// An incoming stream.
///
/// Invariant: `acked <= delivered <= received`.
pub struct RecvStream {
    id: u32,
    /// Where it began for this receiver.
    begin: u64,
    /// The next expected position.
    received: u64,
    /// Everything before this is in the inbox. What came behind it is in `assembly`.
    delivered: u64,
    /// The position last acknowledged.
    acked: u64,
    shared: Arc<RecvShared>,
    assembly: Option<Assembly>,
    /// The last acknowledgement may not have arrived.
    unsure: bool,
}

/// A frame longer than a segment, as far as it has come.
struct Assembly {
    id: i64,
    length: usize,
    payload: Buffer,
    end: u64,
}

/// What came with a data segment.
#[derive(Debug)]
pub enum Arrival {
    /// Whole frames: the segment's payload goes to the inbox as it is.
    Frames,
    /// A part of a frame whose rest is still to come.
    Part,
    /// The end of a frame longer than a segment.
    Whole {
        /// The message id.
        id: i64,
        /// The payload.
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
    /// A stream whose next byte is at `position`, in the lane whose consumption is counted there.
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

    /// Returns whether nothing has ever come on it.
    pub(super) fn is_untouched(&self) -> bool {
        self.received == self.begin
    }

    /// The stream's number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// The next expected position.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Everything before this is in the inbox.
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// A new connection: what is owed is acknowledged anew, because the last acknowledgement may be lost.
    pub fn reopen(&mut self) {
        self.unsure = true;
    }

    /// What the inbox shares.
    pub fn shared(&self) -> &Arc<RecvShared> {
        &self.shared
    }

    /// Takes the payload of the next data segment, for which `window` has to have room. A frame longer than a segment
    /// is put together in one of `buffers`.
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
        Ok(Arrival::Frames)
    }

    #[cold]
    fn beyond_credit(&self, bytes: u64, window: &RecvCredit) -> Violation {
        Violation::Credit { stream: self.id, bytes, credit: window.credit().saturating_sub(window.received()) }
    }

    /// Takes a part of a frame that is longer than a segment. Apart, so that whole frames are taken in few
    /// instructions.
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
        // Room is made as the bytes come, doubled each time: a length alone makes nobody's memory grow.
        let room = rest.min(assembly.payload.len().max(FIRST_ROOM));
        assembly.payload.append(body, room);
        self.received += length;
        window.take(length);
        if !header.has(LAST) {
            return Ok(Arrival::Part);
        }
        window.close();
        self.delivered = self.received;
        match self.assembly.take() {
            Some(whole) => Ok(Arrival::Whole { id: whole.id, payload: whole.payload.into() }),
            None => Ok(Arrival::Part),
        }
    }

    /// Goes on behind a gap between `from`, which has to be the next position, and `to`. It takes no room, so it needs
    /// no credit. A frame that has begun to arrive is given up.
    pub(super) fn skip(&mut self, from: u64, to: u64, window: &mut RecvCredit) -> Result<(), Violation> {
        if from != self.received || to <= from {
            return Err(Violation::Position { stream: self.id, expected: self.received, found: from });
        }
        self.give_up(window);
        self.received = to;
        self.delivered = to;
        Ok(())
    }

    /// Gives up a frame that has begun to arrive: its beginning is expected again.
    pub(super) fn give_up(&mut self, window: &mut RecvCredit) {
        if self.assembly.take().is_some() {
            window.give_up(self.received - self.delivered);
            self.received = self.delivered;
        }
    }

    /// Returns whether so much has come that an acknowledgement is worth a segment of its own.
    #[inline]
    pub fn is_due(&self) -> bool {
        self.delivered - self.acked >= ACK_BYTES
    }

    /// Whether anything is not acknowledged yet.
    pub fn is_owed(&self) -> bool {
        self.delivered > self.acked || self.unsure
    }

    /// Position to tell the sender; it counts as told.
    pub fn acknowledge(&mut self) -> u64 {
        self.acked = self.delivered;
        self.unsure = false;
        self.delivered
    }
}

/// Advice for a violation that no server of this release commits.
pub(super) const SAME_RELEASE: &str = "; run the same release on both sides, and report it if they do";

/// Violation of the protocol by a peer. Its connection ends, and nothing else. The text says what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Violation {
    /// Bytes at another position than the next.
    Position {
        /// The stream.
        stream: u32,
        /// The next position.
        expected: u64,
        /// The position that came.
        found: u64,
    },
    /// Bytes beyond the credit, or none at all.
    Credit {
        /// The stream.
        stream: u32,
        /// Bytes of the segment.
        bytes: u64,
        /// Bytes that could have been sent.
        credit: u64,
    },
    /// A fragment out of place.
    Fragment {
        /// The stream.
        stream: u32,
    },
    /// An envelope above the limit.
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// An acknowledgement of what was not sent.
    Acknowledgement {
        /// The stream.
        stream: u32,
        /// What was acknowledged.
        position: u64,
        /// What had been sent.
        sent: u64,
    },
    /// A stream of which nothing is known, in the middle; or more streams than there may be.
    Stream {
        /// The stream.
        stream: u32,
    },
    /// The dialer's first segment does not repeat the challenge: it was recorded, or meant for another session.
    Challenge,
    /// A segment that has no place here, or whose payload is not what its kind says.
    Unexpected,
    /// A data segment whose payload is not whole frames. It was acknowledged before that was seen.
    Frames {
        /// Bytes from the first frame that is none to the segment's end, which nobody reads.
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
            Violation::Challenge => write!(f, "its first segment does not repeat our challenge"),
            Violation::Unexpected => write!(f, "a segment that has no place here"),
            Violation::Frames { lost } => {
                write!(f, "a data segment that does not hold whole frames: {lost} bytes of it are lost")
            }
        }?;
        f.write_str(SAME_RELEASE)
    }
}

impl std::error::Error for Violation {}
