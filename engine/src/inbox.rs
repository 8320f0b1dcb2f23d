//! The inbox: the shard hands over whole chunks, and the application walks their frames.

use std::mem;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;

use crate::delivery::{Arrivals, Arrived, ArrivedBody};
use crate::link::{Pid, RecvShared};
use crate::mailbox::{Command, Mailbox, Ready};
use crate::payload::Payload;
use crate::roster::LinkKey;
use crate::wire::{FRAME_HEADER_BYTES, FrameHeader, Frames, WireIncarnation, frame_bytes};

/// Least length, in bytes, of a payload that shares its chunk. A shorter payload is copied, so that keeping it does not
/// keep the chunk.
const SHARED_PAYLOAD: usize = 16 * 1024;

/// Envelope, borrowed from the chunk that it arrived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received<'a> {
    /// Pid of the sender.
    pub pid: Pid,
    /// Incarnation of the sender.
    pub incarnation: &'a WireIncarnation,
    /// Message id.
    pub id: i64,
    /// Payload, aligned to 8 bytes.
    pub payload: &'a [u8],
}

/// Owned envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Pid of the sender.
    pub pid: Pid,
    /// Incarnation of the sender.
    pub incarnation: WireIncarnation,
    /// Message id.
    pub id: i64,
    /// Payload: a copy if it is small, else a share of the chunk that it arrived in.
    pub payload: Payload,
}

/// Receiving end of an inbox, held by the application.
pub struct Receiver {
    arrivals: Arrivals,
    mailbox: Arc<Mailbox>,
    /// The arrival whose envelopes are being handed out.
    current: Option<Current>,
}

struct Current {
    arrived: Arrived,
    /// Offset up to which the frames were walked, in bytes.
    offset: usize,
    messages: u64,
    bytes: u64,
}

impl Current {
    fn new(arrived: Arrived) -> Current {
        Current { arrived, offset: 0, messages: 0, bytes: 0 }
    }

    /// Returns whether all of its envelopes were handed out.
    fn is_over(&self) -> bool {
        match &self.arrived.body {
            ArrivedBody::Frames(slice) => self.offset == slice.len(),
            ArrivedBody::Whole { .. } => self.messages > 0,
        }
    }
}

impl Receiver {
    /// Makes the inbox of a server on the shard behind `mailbox`.
    pub(crate) fn new(arrivals: Arrivals, mailbox: Arc<Mailbox>) -> Receiver {
        Receiver { arrivals, mailbox, current: None }
    }

    /// Takes the next envelope, if one has arrived.
    #[inline]
    pub fn pop(&mut self) -> Option<Message> {
        self.pop_as(|pid, incarnation, id, payload| Message { pid, incarnation: *incarnation, id, payload })
    }

    /// Takes the next envelope, if one has arrived. `make` builds the result from the sender's pid and incarnation, the
    /// message id and the payload. It builds the result in its final place, so that the result is not moved.
    #[inline(always)]
    pub fn pop_as<T>(&mut self, make: impl FnOnce(Pid, &WireIncarnation, i64, Payload) -> T) -> Option<T> {
        // The usual case is inlined at the caller: a short envelope, with others behind it in the segment.
        if let Some(current) = &mut self.current
            && let ArrivedBody::Frames(slice) = &current.arrived.body
            && let Some(rest) = slice.get(current.offset..)
            && let Some((header, behind)) = rest.split_first_chunk::<FRAME_HEADER_BYTES>()
            && let Some(window) = behind.first_chunk()
            && let Some((id, length)) = FrameHeader::read(header)
            && let Some(payload) = Payload::copy_from(window, length)
            && let bytes = frame_bytes(length)
            && bytes < rest.len()
        {
            current.offset += bytes;
            current.messages += 1;
            current.bytes += length as u64;
            return Some(make(current.arrived.pid, &current.arrived.incarnation, id, payload));
        }
        let Message { pid, incarnation, id, payload } = self.pop_any()?;
        Some(make(pid, &incarnation, id, payload))
    }

    #[inline(never)]
    fn pop_any(&mut self) -> Option<Message> {
        loop {
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let arrived = self.arrivals.pop()?;
                    self.current.insert(Current::new(arrived))
                }
            };
            let (pid, incarnation) = (current.arrived.pid, current.arrived.incarnation);
            match &mut current.arrived.body {
                ArrivedBody::Whole { id, payload } => {
                    let message = Message { pid, incarnation, id: *id, payload: own(mem::take(payload)) };
                    let (link, stream, room) =
                        (current.arrived.link, current.arrived.stream.clone(), current.arrived.room);
                    self.current = None;
                    self.consumed(link, &stream, room, 1, message.payload.len() as u64);
                    return Some(message);
                }
                ArrivedBody::Frames(slice) => match Frames::new(&slice[current.offset..]).next() {
                    Some(Ok(frame)) => {
                        let (id, length) = (frame.id, frame.payload.len());
                        let begin = current.offset + FRAME_HEADER_BYTES;
                        let payload = if length >= SHARED_PAYLOAD {
                            Bytes::from_owner(slice.part(begin..begin + length)).into()
                        } else {
                            Payload::copy_from_slice(frame.payload)
                        };
                        current.offset += frame_bytes(length);
                        current.messages += 1;
                        current.bytes += length as u64;
                        if current.offset == slice.len() {
                            self.finish();
                        }
                        return Some(Message { pid, incarnation, id, payload });
                    }
                    Some(Err(_)) => {
                        violated(&self.mailbox, &current.arrived);
                        self.finish();
                    }
                    None => self.finish(),
                },
            }
        }
    }

    /// Hands every envelope that has arrived to `each`, borrowed. Returns the number of envelopes.
    ///
    /// Takes at most `limit` arrivals (segments), so that a caller with other work gets to it. If `each` panics, the
    /// envelope that it was given counts as taken. All others stay.
    pub fn drain(&mut self, limit: usize, mut each: impl FnMut(Received<'_>)) -> usize {
        let mut messages = 0;
        for _ in 0..limit {
            let current = match self.current.take() {
                Some(current) => current,
                None => match self.arrivals.pop() {
                    Some(arrived) => Current::new(arrived),
                    None => break,
                },
            };
            messages += Drained { receiver: self, current: Some(current) }.hand_out(&mut each);
        }
        messages
    }

    /// Registers `waker` to be woken when something arrives. The caller must check for envelopes once more after this
    /// call.
    pub fn register(&self, waker: &Waker) {
        self.arrivals.register(waker);
    }

    /// Returns whether no envelope is there now.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.arrivals.is_empty()
    }

    /// Returns whether the server has stopped. The envelopes that are left are the last ones then.
    pub fn is_closed(&self) -> bool {
        self.arrivals.is_closed()
    }

    /// Takes an arrival back after a panic, and finishes it if all of its envelopes were handed out.
    #[cold]
    fn put_back(&mut self, current: Current) {
        let is_over = current.is_over();
        self.current = Some(current);
        if is_over {
            self.finish();
        }
    }

    fn finish(&mut self) {
        if let Some(Current { arrived, messages, bytes, .. }) = self.current.take() {
            self.consumed(arrived.link, &arrived.stream, arrived.room, messages, bytes);
        }
    }

    #[inline]
    fn consumed(&self, link: LinkKey, stream: &RecvShared, room: u64, messages: u64, bytes: u64) {
        if stream.consume(room, messages, bytes) {
            self.mailbox.ready(Ready::Consumed(link));
        }
    }
}

/// An arrival whose envelopes a closure borrows. After a panic, the rest of it returns to its receiver.
struct Drained<'a> {
    receiver: &'a mut Receiver,
    current: Option<Current>,
}

impl Drained<'_> {
    /// Hands out the envelopes. Returns their number.
    #[inline]
    fn hand_out(mut self, each: &mut impl FnMut(Received<'_>)) -> usize {
        let Some(Current { arrived, offset, messages, bytes }) = &mut self.current else { return 0 };
        let (pid, incarnation, mut broken) = (arrived.pid, &arrived.incarnation, false);
        // The progress stays on the stack. It is stored in `current` only after a panic.
        let mut progress = Progress { count: 0, payload_bytes: 0 };
        match &arrived.body {
            ArrivedBody::Whole { id, payload } => {
                progress.count = 1;
                progress.payload_bytes = payload.len() as u64;
                let undone = Undone { offset, messages, bytes, new_offset: 0, progress };
                each(Received { pid, incarnation, id: *id, payload });
                mem::forget(undone);
            }
            ArrivedBody::Frames(slice) => {
                let length = slice.len();
                let mut frames = Frames::new(&slice[*offset..]);
                while let Some(frame) = frames.next() {
                    let Ok(frame) = frame else {
                        broken = true;
                        break;
                    };
                    progress.count += 1;
                    progress.payload_bytes += frame.payload.len() as u64;
                    let new_offset = length - frames.remaining();
                    let undone = Undone { offset, messages, bytes, new_offset, progress };
                    each(Received { pid, incarnation, id: frame.id, payload: frame.payload });
                    mem::forget(undone);
                }
            }
        }
        let (messages, bytes) = (*messages + progress.count, *bytes + progress.payload_bytes);
        if broken {
            violated(&self.receiver.mailbox, arrived);
        }
        self.receiver.consumed(arrived.link, &arrived.stream, arrived.room, messages, bytes);
        drop(self.current.take());
        progress.count as usize
    }
}

impl Drop for Drained<'_> {
    fn drop(&mut self) {
        if let Some(current) = self.current.take() {
            self.receiver.put_back(current);
        }
    }
}

/// Number and payload bytes of the envelopes that were handed out of an arrival.
#[derive(Clone, Copy)]
struct Progress {
    count: u64,
    payload_bytes: u64,
}

/// An envelope that is being handed out. If the closure panics, the envelope counts as handed out and is not handed out
/// again.
struct Undone<'a> {
    offset: &'a mut usize,
    messages: &'a mut u64,
    bytes: &'a mut u64,
    new_offset: usize,
    progress: Progress,
}

impl Drop for Undone<'_> {
    #[inline]
    fn drop(&mut self) {
        *self.offset = self.new_offset;
        *self.messages += self.progress.count;
        *self.bytes += self.progress.payload_bytes;
    }
}

/// Reports a segment that does not hold whole frames. Its connection ends.
#[cold]
fn violated(mailbox: &Mailbox, arrived: &Arrived) {
    let (link, pid, session) = (arrived.link, arrived.pid, arrived.session);
    let ArrivedBody::Frames(slice) = &arrived.body else { return };
    let whole: usize = Frames::new(slice).map_while(Result::ok).map(|frame| frame_bytes(frame.payload.len())).sum();
    mailbox.command(Command::Malformed { link, pid, session, lost: (slice.len() - whole) as u64 });
}

/// Makes the payload of an envelope that arrived by itself. From the network it is long. From a mock it may be short
/// and a small part of a larger buffer, so a short payload is copied.
fn own(payload: Bytes) -> Payload {
    if payload.len() < SHARED_PAYLOAD { Payload::copy_from_slice(&payload) } else { payload.into() }
}

#[cfg(test)]
mod tests;
