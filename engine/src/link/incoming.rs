//! A stream as its receiver sees it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use zerocopy::FromBytes;

use crate::stream::{Buffer, Buffers, Counters};
use crate::wire::{FIRST, FRAGMENT, FRAME_HEADER_BYTES, FrameHeader, LAST, SegmentHeader, frame_bytes};

/// So much is received before it is acknowledged without delay.
const ACK_BYTES: u64 = 256 * 1024;

/// The room that a frame longer than a segment is given at first.
const FIRST_ROOM: usize = 1024 * 1024;

/// What the link and the inbox share of an incoming stream.
#[derive(Debug, Default)]
pub struct Inbound {
    /// The position up to which the application has taken envelopes out of its inbox.
    consumed: AtomicU64,
    /// The value of `consumed` for the credit that the sender has: past this, more can be given.
    granted: AtomicU64,
    /// The inbox has asked the link to give credit, and the link has not yet looked.
    asked: AtomicBool,
    window: u64,
    counters: Counters,
}

impl Inbound {
    fn new(position: u64, window: u64) -> Arc<Inbound> {
        Arc::new(Inbound {
            consumed: AtomicU64::new(position),
            granted: AtomicU64::new(position),
            asked: AtomicBool::new(false),
            window,
            counters: Counters::default(),
        })
    }

    /// The application has taken `messages` envelopes with `bytes` of payload, and everything before `position`.
    ///
    /// `true`: the sender may be out of credit and the link is to look.
    pub fn consume(&self, position: u64, messages: u64, bytes: u64) -> bool {
        self.counters.count(messages, bytes);
        self.consumed.store(position, Ordering::SeqCst);
        // Signed: for a frame that was put together more was granted than has been taken.
        let beyond = position.wrapping_sub(self.granted.load(Ordering::SeqCst)) as i64;
        beyond >= (self.window / 4) as i64 && !self.asked.swap(true, Ordering::SeqCst)
    }

    /// Bytes before `end` that the application has not taken.
    pub(super) fn unread_before(&self, end: u64) -> u64 {
        end.saturating_sub(self.consumed.load(Ordering::Relaxed))
    }

    /// Messages and bytes that the application has taken.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}

impl AsRef<Counters> for Inbound {
    fn as_ref(&self) -> &Counters {
        &self.counters
    }
}

/// A stream as its receiver sees it.
///
/// Invariant: `consumed <= delivered <= received`, and what stands between `consumed` and `received` is within the
/// window.
pub struct InStream {
    id: u32,
    /// Where it began for this receiver.
    begin: u64,
    /// The next expected position.
    received: u64,
    /// Everything before this is in the inbox.
    delivered: u64,
    /// The position last acknowledged.
    acked: u64,
    /// The credit last granted.
    credit: u64,
    shared: Arc<Inbound>,
    assembly: Option<Assembly>,
    /// Stretches where nothing stands, and behind which the application has not come: where each ends, and its bytes.
    skipped: VecDeque<(u64, u64)>,
    /// The bytes of all of `skipped`: there may be very many, each with a short frame behind it.
    skipped_bytes: u64,
    /// The last acknowledgement may not have arrived.
    unsure: bool,
    /// The stream came on an earlier link, and the peer has not listed it on this one. It has no room in the inbox yet.
    resumed: bool,
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
impl fmt::Display for InStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let InStream { id, received, delivered, acked, credit, skipped_bytes, .. } = self;
        let (consumed, granted) = (&self.shared.consumed, &self.shared.granted);
        write!(f, "{id}: received {received} delivered {delivered} acked {acked} credit {credit}")?;
        write!(f, " skipped {skipped_bytes} consumed {consumed:?} granted {granted:?} asked {:?}", self.shared.asked)
    }
}

impl InStream {
    /// Bytes that were received and that the application has not taken.
    pub(super) fn unread(&self) -> u64 {
        self.shared.unread_before(self.received) - self.skipped_behind(self.shared.consumed.load(Ordering::Relaxed))
    }

    /// The position behind the last envelope in the inbox: what came behind that goes with the stream.
    pub(super) fn end_of_envelopes(&self) -> u64 {
        let gap = self.skipped.back().filter(|(end, _)| *end == self.delivered);
        self.delivered - gap.map_or(0, |(_, bytes)| *bytes)
    }

    /// Bytes that would wait in the inbox if the stream were gone.
    pub(super) fn leaves_unread(&self) -> u64 {
        self.shared.unread_before(self.end_of_envelopes())
    }

    /// Whether nothing has ever come on it.
    pub(super) fn is_untouched(&self) -> bool {
        self.received == self.begin
    }

    /// A stream whose next byte is at `position`.
    pub fn new(id: u32, position: u64, window: u64) -> InStream {
        InStream {
            id,
            begin: position,
            received: position,
            delivered: position,
            acked: position,
            credit: position + window,
            shared: Inbound::new(position, window),
            assembly: None,
            skipped: VecDeque::new(),
            skipped_bytes: 0,
            unsure: false,
            resumed: false,
        }
    }

    /// A stream that came on an earlier link, up to `position`. Its room in the inbox is to be
    /// [checked](super::Link::has_room_for) like that of a new one.
    pub(super) fn resumed(id: u32, position: u64, window: u64) -> InStream {
        InStream { resumed: true, ..InStream::new(id, position, window) }
    }

    /// Returns whether the stream came on an earlier link, and has no room in the inbox yet.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed
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

    /// The credit last granted.
    pub fn granted(&self) -> u64 {
        self.credit
    }

    /// A new connection: what is owed is acknowledged anew, because the last acknowledgement may be lost.
    pub fn reopen(&mut self) {
        self.unsure = true;
        self.resumed = false;
    }

    /// What the inbox shares.
    pub fn shared(&self) -> &Arc<Inbound> {
        &self.shared
    }

    /// Takes the payload of the next data segment. A frame longer than a segment is put together in one of `buffers`.
    #[inline]
    pub(super) fn accept(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        max_envelope_bytes: u64,
        buffers: &Arc<Buffers>,
    ) -> Result<Arrival, Violation> {
        let (position, length) = (header.position.get(), payload.len() as u64);
        if position != self.received {
            return Err(Violation::Position { stream: self.id, expected: self.received, found: position });
        }
        if length == 0 || length > self.credit.saturating_sub(self.received) {
            return Err(Violation::Credit {
                stream: self.id,
                credit: self.credit,
                end: position.saturating_add(length),
            });
        }
        if header.has(FRAGMENT) {
            return self.accept_fragment(header, payload, max_envelope_bytes, buffers);
        }
        if self.assembly.is_some() {
            return Err(Violation::Fragment { stream: self.id });
        }
        self.received += length;
        self.delivered = self.received;
        Ok(Arrival::Frames)
    }

    /// Takes a fragment of a frame that is longer than a segment. Not inlined, so that whole frames take few
    /// instructions.
    #[inline(never)]
    fn accept_fragment(
        &mut self,
        header: &SegmentHeader,
        payload: &[u8],
        max_envelope_bytes: u64,
        buffers: &Arc<Buffers>,
    ) -> Result<Arrival, Violation> {
        let (position, length) = (header.position.get(), payload.len() as u64);
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
            self.assembly = None;
            return Err(Violation::Fragment { stream: self.id });
        }
        let rest = assembly.length - assembly.payload.len();
        let body = &body[..body.len().min(rest)];
        // Room is made as the bytes come, doubled each time: a length alone makes nobody's memory grow.
        let room = rest.min(assembly.payload.len().max(FIRST_ROOM));
        assembly.payload.append(body, room);
        self.received += length;
        if !header.has(LAST) {
            return Ok(Arrival::Part);
        }
        self.delivered = self.received;
        match self.assembly.take() {
            Some(whole) => Ok(Arrival::Whole { id: whole.id, payload: whole.payload.into() }),
            None => Ok(Arrival::Part),
        }
    }

    /// Nothing stands between `from`, which has to be the next position, and `to`.
    ///
    /// It takes no room, so it needs no credit. A frame that has begun to arrive is given up.
    pub fn skip(&mut self, from: u64, to: u64) -> Result<(), Violation> {
        if from != self.received || to <= from {
            return Err(Violation::Position { stream: self.id, expected: self.received, found: from });
        }
        self.forget_skipped(self.shared.consumed.load(Ordering::Relaxed));
        self.skipped_bytes += to - self.delivered;
        match self.skipped.back_mut() {
            // One entry, however many segments: between two entries stand frames, which the credit limits.
            Some((end, bytes)) if *end == self.delivered => (*end, *bytes) = (to, *bytes + to - self.delivered),
            _ => self.skipped.push_back((to, to - self.delivered)),
        }
        self.assembly = None;
        self.received = to;
        self.delivered = to;
        Ok(())
    }

    /// Whether an acknowledgement or credit is worth a segment of its own, now.
    pub fn is_due(&self) -> bool {
        self.delivered - self.acked >= ACK_BYTES || self.has_more_room() || self.is_assembling_without_credit()
    }

    fn is_assembling_without_credit(&self) -> bool {
        self.assembly.as_ref().is_some_and(|assembly| assembly.end > self.credit)
    }

    fn has_more_room(&self) -> bool {
        self.room(self.shared.consumed.load(Ordering::SeqCst)) - self.credit >= self.shared.window / 4
    }

    /// Whether anything is not acknowledged yet.
    pub fn is_owed(&self) -> bool {
        self.delivered > self.acked || self.unsure
    }

    /// Position and credit to tell the sender; they count as told.
    pub fn grant(&mut self) -> (u64, u64) {
        self.shared.asked.store(false, Ordering::SeqCst);
        loop {
            let consumed = self.shared.consumed.load(Ordering::SeqCst);
            self.forget_skipped(consumed);
            self.credit = self.room(consumed);
            self.shared.granted.store(self.consumption_granted(consumed), Ordering::SeqCst);
            // Who took something meanwhile has compared it with what was granted before. There is an end to what can be
            // taken.
            if self.shared.consumed.load(Ordering::SeqCst) == consumed {
                break;
            }
        }
        self.acked = self.delivered;
        self.unsure = false;
        (self.delivered, self.credit)
    }

    /// Looks at what the application has taken, after it [has said](Inbound::consume) that credit may be due. Returns
    /// whether it is.
    pub(super) fn look_at_consumption(&mut self) -> bool {
        if self.is_due() {
            return true;
        }
        // A frame that was put together had its credit before: the application is to say so once more.
        self.shared.asked.store(false, Ordering::SeqCst);
        let consumed = self.shared.consumed.load(Ordering::SeqCst);
        self.forget_skipped(consumed);
        self.shared.granted.store(self.consumption_granted(consumed), Ordering::SeqCst);
        self.is_due()
    }

    /// The value of `consumed` that the present credit stands for.
    fn consumption_granted(&self, consumed: u64) -> u64 {
        self.credit.saturating_sub(self.shared.window + self.skipped_behind(consumed))
    }

    /// The application has come past these.
    fn forget_skipped(&mut self, consumed: u64) {
        while let Some((_, bytes)) = self.skipped.front().filter(|(end, _)| *end <= consumed) {
            self.skipped_bytes -= bytes;
            self.skipped.pop_front();
        }
    }

    /// The position up to which there is room. A frame that has begun to arrive has its room already.
    fn room(&self, consumed: u64) -> u64 {
        let assembled = self.assembly.as_ref().map_or(0, |assembly| assembly.end);
        (consumed + self.skipped_behind(consumed) + self.shared.window).max(assembled).max(self.credit)
    }

    /// The bytes of the stretches behind `consumed` where nothing stands.
    fn skipped_behind(&self, consumed: u64) -> u64 {
        if self.skipped.is_empty() {
            return self.skipped_bytes;
        }
        let before: u64 = self.skipped.iter().take_while(|(end, _)| *end <= consumed).map(|(_, bytes)| bytes).sum();
        self.skipped_bytes - before
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
        /// The credit.
        credit: u64,
        /// Where the bytes end.
        end: u64,
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
    /// A new stream, while too much that came on others, which have ended, waits in the inbox.
    Unread {
        /// The stream.
        stream: u32,
    },
    /// A segment that has no place here, or whose payload is not what its kind says.
    Unexpected,
    /// A data segment whose payload is not whole frames.
    Frames,
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
            Violation::Unread { stream } => {
                return write!(
                    f,
                    "stream {stream} is new, and the inbox is full of what came on streams that have ended: read it, \
                     or keep outboxes"
                );
            }
            Violation::Position { stream, expected, found } => {
                write!(f, "stream {stream}: expected position {expected}, received {found}")
            }
            Violation::Credit { stream, credit, end } => {
                write!(f, "stream {stream}: sent up to {end} with credit up to {credit}")
            }
            Violation::Fragment { stream } => write!(f, "stream {stream}: a fragment out of place"),
            Violation::Acknowledgement { stream, position, sent } => {
                write!(f, "stream {stream}: acknowledged {position}, sent was {sent}")
            }
            Violation::Stream { stream } => write!(f, "stream {stream} is not known here"),
            Violation::Unexpected => write!(f, "a segment that has no place here"),
            Violation::Frames => write!(f, "a data segment that does not hold whole frames"),
        }?;
        f.write_str(SAME_RELEASE)
    }
}

impl std::error::Error for Violation {}
