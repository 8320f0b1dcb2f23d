//! History of written and received envelopes, and checks that it keeps the promises.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use fastrand::Rng;

use crate::link::Pid;
use crate::roster::LinkId;
use crate::stream::{Lane, MAX_RING_PAYLOAD, Ticket, TicketState};
use crate::wire::{FRAME_HEADER_BYTES, frame_bytes};

const LONGEST: usize = 512 * 1024;

/// Random bytes that payloads are cut from.
static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut text = vec![0; LONGEST + 32 * 1024];
    Rng::with_seed(1).fill(&mut text);
    text
});

/// Bytes in front of each payload: the number of the stream, and the number of the envelope.
pub(super) const LEAST_PAYLOAD: usize = 8;

/// Life of a server: the server, and the number of its start.
pub(super) type Life = (usize, u32);

/// Stream of one outbox of one life to one peer on one lane.
pub(super) struct Stream {
    pub(super) from: Life,
    pub(super) to: usize,
    pub(super) outbox: u32,
    pub(super) lane: Lane,
    /// Link of the stream. It is another one after the peer was removed and added again.
    pub(super) link: LinkId,
    envelopes: Vec<Envelope>,
}

/// Key of a stream: its writer, recipient, outbox, lane and link.
pub(super) type Key = (Life, usize, u32, Lane, LinkId);

impl Stream {
    fn key(&self) -> Key {
        (self.from, self.to, self.outbox, self.lane, self.link)
    }
}

struct Envelope {
    length: u32,
    droppable: bool,
    /// The only life of the recipient that the envelope is for. `None` if it is for any.
    only: Option<u32>,
    ticket: Option<Ticket>,
    got: bool,
}

impl Envelope {
    /// Returns whether the envelope may fail to arrive at this life of its recipient. `limit` is the fewest payload
    /// bytes that any life of the recipient accepts.
    fn may_be_dropped(&self, limit: u64, life: u32) -> bool {
        self.droppable || u64::from(self.length) > limit || self.only.is_some_and(|only| only != life)
    }

    /// Returns the bytes that the envelope takes in the ring of its outbox.
    fn ring_bytes(&self) -> u64 {
        match self.length as usize {
            length if length > MAX_RING_PAYLOAD => FRAME_HEADER_BYTES as u64,
            length => frame_bytes(length) as u64,
        }
    }
}

/// Envelopes that one life of a server has received.
#[derive(Default)]
struct Reader {
    /// Next envelope number by stream.
    next: BTreeMap<u32, u32>,
    /// Latest life of each server from which an envelope has arrived.
    latest: BTreeMap<usize, u32>,
}

/// All envelopes that were written, and their arrivals.
#[derive(Default)]
pub(super) struct History {
    streams: Vec<Stream>,
    readers: BTreeMap<Life, Reader>,
    /// Envelopes that events reported as given up, by life and peer.
    given_up: BTreeMap<(Life, usize), u64>,
    /// Payload bytes that each life accepts.
    limits: BTreeMap<Life, u64>,
    /// Number of envelopes that have arrived.
    pub(super) received: u64,
}

impl History {
    /// Returns the number of a stream, and adds the stream if it is new.
    pub(super) fn stream(&mut self, key: Key) -> u32 {
        let (from, to, outbox, lane, link) = key;
        let found = self.streams.iter().position(|stream| stream.key() == key).unwrap_or_else(|| {
            self.streams.push(Stream { from, to, outbox, lane, link, envelopes: Vec::new() });
            self.streams.len() - 1
        });
        found as u32
    }

    /// Returns the number and the payload of the stream's next envelope.
    pub(super) fn next(&self, stream: u32, length: usize) -> (i64, Vec<u8>) {
        let number = self.streams[stream as usize].envelopes.len();
        let mut payload = Vec::with_capacity(length);
        payload.extend_from_slice(&stream.to_le_bytes());
        payload.extend_from_slice(&(number as u32).to_le_bytes());
        payload.extend_from_slice(pattern(stream, number as u32, length));
        (number as i64, payload)
    }

    /// Records that an outbox has accepted the next envelope. `only` is the only life of its recipient that it is for.
    /// An envelope with a `ticket` may be withdrawn.
    pub(super) fn wrote(
        &mut self,
        stream: u32,
        length: usize,
        droppable: bool,
        only: Option<u32>,
        ticket: Option<Ticket>,
    ) {
        let envelope = Envelope { length: length as u32, droppable, only, ticket, got: false };
        self.streams[stream as usize].envelopes.push(envelope);
    }

    /// Records that an envelope from a life of a server has arrived, and checks it.
    ///
    /// # Panics
    /// Panics when the envelope is damaged, out of order, a duplicate, withdrawn, or for another life, or an envelope
    /// before it is missing.
    pub(super) fn got(&mut self, reader: Life, from: Life, id: i64, payload: &[u8]) {
        assert!(payload.len() >= LEAST_PAYLOAD, "{reader:?} received {} bytes that nobody wrote", payload.len());
        let word = |at: usize| u32::from_le_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
        let (number, seq) = (word(0), word(4));
        let Some(stream) = self.streams.get_mut(number as usize) else { panic!("there is no stream {number}") };
        let key = format_args!("from {:?} to {reader:?}, outbox {} {:?}", stream.from, stream.outbox, stream.lane)
            .to_string();
        assert!(
            stream.to == reader.0 && stream.from == from,
            "{key}: in the wrong inbox, or with the pid and incarnation of {from:?}"
        );
        assert_eq!(id, i64::from(seq), "{key}: another message id");
        let Some(envelope) = stream.envelopes.get(seq as usize) else { panic!("{key}: number {seq} was not written") };
        let only = envelope.only.unwrap_or(reader.1);
        assert_eq!(only, reader.1, "{key}: number {seq} is for another life");
        assert_eq!(payload.len(), envelope.length as usize, "{key}: number {seq} has another length");
        let state = envelope.ticket.as_ref().map_or(TicketState::Sent, Ticket::state);
        assert_eq!(state, TicketState::Sent, "{key}: number {seq} has arrived");
        let limit = self.limits.get(&reader).copied().unwrap_or(u64::MAX);
        assert!(payload.len() as u64 <= limit, "{key}: number {seq} is longer than the reader's limit of {limit}");
        assert!(&payload[8..] == pattern(number, seq, payload.len()), "{key}: number {seq} is damaged");
        let state = self.readers.entry(reader).or_default();
        let latest = state.latest.entry(from.0).or_default();
        assert!(stream.from.1 >= *latest, "{key}: number {seq} of an earlier life");
        *latest = stream.from.1;
        let first = !state.next.contains_key(&number);
        let next = state.next.entry(number).or_default();
        assert!(seq >= *next, "{key}: number {seq} came again, or late; the next was {next}");
        let limit = least_limit(&self.limits, reader.0);
        for (between, missing) in (*next..seq).zip(&stream.envelopes[*next as usize..seq as usize]) {
            let excused = missing.may_be_dropped(limit, reader.1) || first && missing.got;
            assert!(excused, "{key}: number {seq} came, and {between} did not");
        }
        *next = seq + 1;
        stream.envelopes[seq as usize].got = true;
        self.received += 1;
    }

    /// Records that `count` envelopes of a life to a peer were reported as given up.
    pub(super) fn gave_up(&mut self, life: Life, peer: usize, count: u64) {
        *self.given_up.entry((life, peer)).or_default() += count;
    }

    /// Returns the number of envelopes of a life to a peer that were reported as given up.
    pub(super) fn given_up(&self, life: Life, peer: usize) -> u64 {
        self.given_up.get(&(life, peer)).copied().unwrap_or_default()
    }

    /// Returns the number of envelopes to a peer that the outboxes of a life have accepted.
    pub(super) fn written(&self, life: Life, peer: usize) -> u64 {
        self.between(life, peer).map(|stream| stream.envelopes.len() as u64).sum()
    }

    fn between(&self, life: Life, peer: usize) -> impl Iterator<Item = &Stream> {
        self.streams.iter().filter(move |stream| stream.from == life && stream.to == peer)
    }

    /// Returns the number of envelopes of a life to a peer that have not arrived. `droppable` includes those that may
    /// be dropped.
    pub(super) fn missing(&self, life: Life, peer: usize, link: Option<LinkId>, droppable: bool) -> u64 {
        let streams = self.between(life, peer).filter(|stream| link.is_none_or(|link| stream.link == link));
        let (limit, last) = (least_limit(&self.limits, peer), self.last_life(peer));
        let envelopes = streams.flat_map(|stream| &stream.envelopes);
        envelopes.filter(|envelope| !envelope.got && (droppable || !envelope.may_be_dropped(limit, last))).count()
            as u64
    }

    /// Returns the last life of a server that has begun.
    fn last_life(&self, server: usize) -> u32 {
        self.limits.keys().filter(|life| life.0 == server).map(|life| life.1).max().unwrap_or(0)
    }

    /// Asserts that an outbox was right to refuse an envelope for life `only` of a peer, because there is a later life.
    pub(super) fn restarted(&self, life: Life, peer: usize, only: u32) {
        let last = self.last_life(peer);
        assert!(only < last, "{life:?} refused an envelope for life {only} of {peer}; the last one is {last}");
    }

    /// Records that a life accepts at most `limit` payload bytes.
    pub(super) fn accepts(&mut self, life: Life, limit: u64) {
        self.limits.insert(life, limit);
    }

    /// Asserts that an outbox was right to refuse an envelope as longer than `limit`.
    pub(super) fn refused(&self, life: Life, peer: usize, length: usize, limit: u64) {
        let known = self.limits.iter().any(|(of, known)| (*of == life || of.0 == peer) && *known == limit);
        assert!(known && length as u64 > limit, "{life:?} refused {length} bytes for {peer} with a limit of {limit}");
    }

    /// Asserts that all envelopes before `acknowledged`, in bytes of the stream's ring, have arrived when `life` of the
    /// recipient ends.
    pub(super) fn check_acknowledged(&self, key: Key, life: u32, acknowledged: u64) {
        let Some(stream) = self.streams.iter().find(|stream| stream.key() == key) else { return };
        let limit = least_limit(&self.limits, stream.to);
        let mut end = 0;
        for (seq, envelope) in stream.envelopes.iter().enumerate() {
            end += envelope.ring_bytes();
            if end > acknowledged {
                break;
            }
            let (from, to, outbox, lane, _) = key;
            assert!(
                envelope.got || envelope.may_be_dropped(limit, life),
                "from {from:?} to {to}, outbox {outbox} {lane:?}: number {seq} is acknowledged, and cannot be read"
            );
        }
    }

    /// Asserts that all envelopes that did not arrive were reported as given up. With `exactly`, no others were
    /// reported.
    pub(super) fn check_account(&self, life: Life, peer: usize, pid: Pid, exactly: bool) {
        let (missing, given_up) = (self.missing(life, peer, None, true), self.given_up(life, peer));
        assert!(missing <= given_up, "{life:?} to {pid}: {missing} did not arrive, {given_up} were given up");
        assert!(
            !exactly || missing == given_up,
            "{life:?} to {pid}: {missing} did not arrive, {given_up} were given up"
        );
    }
}

/// Returns the lowest limit of any life of a server, in payload bytes.
fn least_limit(limits: &BTreeMap<Life, u64>, server: usize) -> u64 {
    limits.iter().filter(|(life, _)| life.0 == server).map(|(_, limit)| *limit).min().unwrap_or(u64::MAX)
}

/// Returns the bytes of a payload behind the two numbers. They differ from envelope to envelope, and along a payload.
fn pattern(stream: u32, seq: u32, length: usize) -> &'static [u8] {
    let offset = (stream as usize * 977 + seq as usize * 3) % 8192;
    &TEXT[offset..offset + length - LEAST_PAYLOAD]
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = ((0, 1), 1, 0, Lane::Normal, LinkId { index: 1, generation: 0 });

    fn written() -> (History, [Vec<u8>; 2]) {
        let mut history = History::default();
        let stream = history.stream(KEY);
        let payloads = [20, 30].map(|length| {
            let (_, payload) = history.next(stream, length);
            history.wrote(stream, length, false, None, None);
            payload
        });
        (history, payloads)
    }

    #[test]
    fn what_comes_in_order_is_well() {
        let (mut history, [first, second]) = written();
        history.got((1, 1), (0, 1), 0, &first);
        history.got((1, 1), (0, 1), 1, &second);
        history.check_account((0, 1), 1, 200, true);
    }

    #[test]
    #[should_panic(expected = "came again")]
    fn twice_is_found() {
        let (mut history, [first, _]) = written();
        history.got((1, 1), (0, 1), 0, &first);
        history.got((1, 1), (0, 1), 0, &first);
    }

    #[test]
    #[should_panic(expected = "number 0 is for another life")]
    fn an_envelope_for_another_life_is_found() {
        let mut history = History::default();
        let stream = history.stream(KEY);
        let (_, payload) = history.next(stream, 20);
        history.wrote(stream, 20, false, Some(1), None);
        history.got((1, 2), (0, 1), 0, &payload);
    }

    #[test]
    #[should_panic(expected = "number 0 has arrived")]
    fn a_withdrawn_envelope_is_found() {
        let mut history = History::default();
        let stream = history.stream(KEY);
        let (_, payload) = history.next(stream, 20);
        let ticket = Ticket::default();
        history.wrote(stream, 20, true, None, Some(ticket.clone()));
        assert!(ticket.withdraw());
        history.got((1, 1), (0, 1), 0, &payload);
    }

    #[test]
    #[should_panic(expected = "number 1 came, and 0 did not")]
    fn a_gap_is_found() {
        let (mut history, [_, second]) = written();
        history.got((1, 1), (0, 1), 1, &second);
    }

    #[test]
    #[should_panic(expected = "1 did not arrive, 0 were given up")]
    fn a_loss_is_found() {
        let (mut history, [first, _]) = written();
        history.got((1, 1), (0, 1), 0, &first);
        history.check_account((0, 1), 1, 200, false);
    }

    #[test]
    #[should_panic(expected = "number 1 is acknowledged, and cannot be read")]
    fn what_is_acknowledged_and_not_read_is_found() {
        let (mut history, [first, _]) = written();
        history.got((1, 1), (0, 1), 0, &first);
        history.check_acknowledged(KEY, 1, frame_bytes(20) as u64);
        history.check_acknowledged(KEY, 1, (frame_bytes(20) + frame_bytes(30)) as u64);
    }
}
