//! Sends numbered messages at a steady rate, and logs the outcome of each call.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use cluster::{BROADCAST, Envelope, FlushError, Outbox, Pid, Recipients, SendError};
use fastrand::Rng;

use super::Switches;
use super::membership::{Membership, Moment};
use crate::clock::{MILLISECOND, SECOND, now};
use crate::failure::Failure;
use crate::log::{Kind, Log, Record};
use crate::payload::{self, HEADER_BYTES, Header, Stream};

/// Identity of the sender, and its rate.
pub struct Plan {
    pub pid: Pid,
    pub run: u32,
    /// Messages per second, to all peers together.
    pub rate: u64,
}

/// Sends until `quiet` is set. Never waits for room: a full peer gets a gap in its numbers, which the log records.
pub fn send(outbox: Outbox, peers: &[Pid], plan: &Plan, log: Log, switches: &Switches) -> Result<(), Failure> {
    let mut sender = Sender {
        outbox,
        plan,
        log,
        switches,
        numberings: (peers.iter())
            .flat_map(|peer| {
                Stream::ALL.map(|stream| Numbering { peer: *peer, stream, next: 1, reserved: 1, run: None })
            })
            .collect(),
        // The fork draws once: without it, the runs of a server send related lengths.
        random: Rng::with_seed(plan.pid << 32 | u64::from(plan.run)).fork(),
        message: Vec::new(),
        began: 0,
    };
    let mut sent = 0;
    let mut begin = now();
    let mut turn = 0;
    let mut flush_due = begin + FLUSH_PERIOD;
    while !switches.quiet.load(Ordering::Relaxed) {
        sender.began = now();
        let by_now = u128::from(sender.began - begin) * u128::from(plan.rate) / u128::from(SECOND);
        let mut due = (by_now as u64).saturating_sub(sent);
        let most = plan.rate / 10 + 1;
        if due > most {
            // The process was stopped, or starved: the missed messages are not sent all at once.
            (begin, sent, due) = (sender.began, 0, most);
        }
        let mut left = due;
        while left > 0 && !peers.is_empty() {
            let index = turn % peers.len();
            turn += 1;
            left = left.saturating_sub(sender.one(index, peers)?);
        }
        sent += due - left;
        sender.finish_tick()?;
        // The wait for acknowledgements replaces the pause: a peer that does not acknowledge does not change the rate.
        let next = sender.began + TICK;
        if now() >= flush_due {
            sender.flush(until(next))?;
            flush_due = now() + FLUSH_PERIOD;
        }
        thread::sleep(until(next));
    }
    sender.log.write(Record::at(Kind::Quiet, now()))?;
    Ok(())
}

struct Sender<'p> {
    outbox: Outbox,
    plan: &'p Plan,
    log: Log,
    switches: &'p Switches,
    /// Numberings of all peers and streams, in the order of both.
    numberings: Vec<Numbering>,
    random: Rng,
    message: Vec<u8>,
    /// Beginning of this tick.
    began: u64,
}

/// Numbers of one stream to one peer.
struct Numbering {
    peer: Pid,
    stream: Stream,
    next: u64,
    /// Limit of the reserved numbers: numbers below it may be used.
    reserved: u64,
    /// Consecutive numbers of this tick with one outcome, not yet in the log: outcome, first, last.
    run: Option<(Kind, u64, u64)>,
}

impl Sender<'_> {
    /// Sends one envelope, to the peer with this index or to all. Returns the number of recipients.
    fn one(&mut self, index: usize, peers: &[Pid]) -> Result<u64, Failure> {
        if self.random.u64(..BROADCASTS) == 0 {
            let all: Vec<usize> = (0..peers.len()).map(|peer| place(peer, Stream::Broadcast)).collect();
            self.send(&all, BROADCAST)?;
            return Ok(peers.len() as u64);
        }
        let stream = match self.random.u64(..16) {
            0 | 1 => Stream::Urgent,
            2 => Stream::Timed,
            3 => Stream::Once,
            _ => Stream::Normal,
        };
        self.send(&[place(index, stream)], peers[index])?;
        Ok(1)
    }

    fn send(&mut self, to: &[usize], recipients: Pid) -> Result<(), Failure> {
        let mut sequence = 0;
        for index in to {
            let numbering = &mut self.numberings[*index];
            sequence = numbering.next;
            numbering.next += 1;
            if sequence >= numbering.reserved {
                numbering.reserved = sequence + RESERVED;
                let record = Record::about(Kind::Reserved, numbering.peer, self.began).with(numbering.reserved, 0);
                self.log.write(Record { stream: numbering.stream, ..record })?;
            }
        }
        let stream = self.numberings[to[0]].stream;
        let header = Header { pid: self.plan.pid, run: self.plan.run, stream, sequence, sent_at: now() };
        let length = self.length(stream);
        payload::write(&header, length, &mut self.message);
        let mut draft = Envelope::to(recipients).id(sequence as i64);
        draft = match stream {
            Stream::Urgent => draft.urgent(),
            Stream::Timed => draft.ttl(self.time_to_live()),
            Stream::Once => draft.best_effort(),
            Stream::Normal | Stream::Broadcast => draft,
        };
        let peers = to.iter().map(|index| self.numberings[*index].peer);
        let before: Vec<Moment> = peers.map(|peer| self.switches.roster.look(peer)).collect();
        // A long message is handed over and travels by reference; a short one is copied into the stream.
        let result = if length > BY_REFERENCE {
            self.outbox.try_send(draft.body(std::mem::take(&mut self.message)))
        } else {
            self.outbox.try_send(draft.body(&self.message[..]))
        };
        let failed = result.err();
        for (index, before) in to.iter().zip(before) {
            let numbering = &mut self.numberings[*index];
            let outcome = failed.as_ref().map_or(Kind::Accepted, |error| outcome(error, numbering.peer));
            let membership = self.switches.roster.since(numbering.peer, before);
            let outcome = match (outcome, membership) {
                // A broadcast does not tell its recipients.
                (Kind::Accepted, Membership::WasNot) if recipients == BROADCAST => Kind::Unknown,
                (Kind::Accepted, Membership::Changed) if recipients == BROADCAST => Kind::Uncertain,
                (Kind::Accepted, Membership::WasNot) => Kind::Misaddressed,
                (Kind::Unknown, Membership::Was) => Kind::GivenBack,
                _ => outcome,
            };
            numbering.note(outcome, sequence, self.began, &mut self.log);
        }
        Ok(())
    }

    /// Returns a time to live that is mostly enough for a link that is up, and never for one that is down for long.
    fn time_to_live(&mut self) -> Duration {
        Duration::from_nanos(self.random.u64(MILLISECOND..SECOND / 2))
    }

    /// Waits up to `patience` until all messages are acknowledged, and logs the peers that have acknowledged all.
    fn flush(&mut self, patience: Duration) -> Result<(), Failure> {
        let begin = now();
        let roster = &self.switches.roster;
        let before: Vec<Moment> = self.numberings.iter().map(|each| roster.look(each.peer)).collect();
        let missing = match self.outbox.flush(patience) {
            Ok(()) => Vec::new(),
            Err(FlushError::Timeout { pids }) => pids,
            Err(_) => return Ok(()),
        };
        let end = now();
        // Messages that waited for a peer that is being removed are dropped, and need not be waited for.
        let was_peer = |each: &Numbering, before| roster.since(each.peer, before) == Membership::Was;
        let each = self.numberings.iter().zip(before);
        for (numbering, _) in each.filter(|(each, before)| !missing.contains(&each.peer) && was_peer(each, *before)) {
            let record = Record::about(Kind::Flushed, numbering.peer, end).with(numbering.next - 1, begin);
            self.log.add(Record { stream: numbering.stream, ..record });
        }
        self.log.flush()?;
        Ok(())
    }

    fn length(&mut self, stream: Stream) -> usize {
        // The number of long messages per second is independent of the rate, so that they do not fill the network.
        let long = self.plan.rate / LONG_EACH_SECOND + 1;
        let lengths = if stream != Stream::Broadcast && stream != Stream::Urgent && self.random.u64(..long) == 0 {
            if self.random.u64(..4) == 0 { 100_000..400_000 } else { 17_000..100_000 }
        } else {
            HEADER_BYTES..160
        };
        self.random.usize(lengths)
    }

    fn finish_tick(&mut self) -> Result<(), Failure> {
        for numbering in &mut self.numberings {
            numbering.close(self.began, &mut self.log);
        }
        self.log.flush()?;
        Ok(())
    }
}

impl Numbering {
    fn note(&mut self, kind: Kind, sequence: u64, began: u64, log: &mut Log) {
        match &mut self.run {
            Some((same, _, last)) if *same == kind => *last = sequence,
            _ => {
                self.close(began, log);
                self.run = Some((kind, sequence, sequence));
            }
        }
    }

    fn close(&mut self, began: u64, log: &mut Log) {
        if let Some((kind, first, last)) = self.run.take() {
            log.add(Record { stream: self.stream, ..Record::about(kind, self.peer, began).with(first, last) });
        }
    }
}

/// Returns the index of the numbering of a stream to the peer with this index.
fn place(peer: usize, stream: Stream) -> usize {
    peer * Stream::ALL.len() + usize::from(stream.code())
}

fn until(time: u64) -> Duration {
    Duration::from_nanos(time.saturating_sub(now()))
}

/// Returns the outcome of the envelope for `peer`, when the call failed for some recipient.
fn outcome(error: &SendError, peer: Pid) -> Kind {
    let failed = match error.recipients() {
        Recipients::One(pid) => *pid == peer || *pid == BROADCAST,
        Recipients::Several(pids) => pids.contains(&peer),
    };
    match error {
        _ if !failed => Kind::Accepted,
        SendError::Full { .. } => Kind::Full,
        SendError::UnknownPid { pid, .. } if *pid == peer => Kind::Unknown,
        // Another peer was removed meanwhile; the other recipients in the error had no room.
        SendError::UnknownPid { .. } => Kind::Full,
        _ => Kind::GivenBack,
    }
}

const TICK: u64 = 4 * MILLISECOND;
/// Average number of envelopes for one broadcast.
const BROADCASTS: u64 = 32;
/// Numbers that are reserved at once.
const RESERVED: u64 = 100_000;
/// Long envelopes per second.
const LONG_EACH_SECOND: u64 = 10;
const FLUSH_PERIOD: u64 = 700 * MILLISECOND;
const BY_REFERENCE: usize = 16 * 1024;
