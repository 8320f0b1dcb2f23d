//! Checks of delivery: exactly once and in order within a pair of runs; across runs, no message is lost unless it died
//! with a run.
//!
//! Messages that a receiver's run has acknowledged are not sent again. If that run died, the messages accepted until
//! then may have died with it, unless they cannot have arrived or must have been read. If the sender's run died, its
//! unsent messages died with it: a tail. Messages that may be dropped (expired, best effort, or with a removed peer)
//! may be missing; `missing` decides whether they were counted.

use std::collections::{BTreeSet, VecDeque};

use cluster::Pid;

use super::facts::{Facts, Flush, RunFacts, Sent};
use super::lies;
use super::missing::{self, Missing};
use super::report::Account;
use super::spans::{Span, Spans};
use super::violation::{Promise, Violation};
use crate::clock::{MILLISECOND, SECOND};
use crate::journal::Lost;
use crate::log;
use crate::payload::Stream;
use crate::plan::{Injected, Kind};

/// Checks every stream of every run of every sender.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) -> Account {
    check_senders(facts, violations);
    let mut account = Account::default();
    // Lies that have cost messages.
    let mut costly = BTreeSet::new();
    for sender in &facts.runs {
        for &recipient in facts.journal.pids.iter().filter(|pid| **pid != sender.run.pid) {
            let mut missing = Missing::default();
            for stream in Stream::ALL {
                let nothing = Sent::default();
                let sent = sender.sent.get(&(recipient, stream)).unwrap_or(&nothing);
                let mut walk = Walk {
                    facts,
                    sender,
                    recipient,
                    stream,
                    sent,
                    expected: 1,
                    died_since: Vec::new(),
                    missing: &mut missing,
                    account: &mut account,
                    costly: &mut costly,
                    violations,
                };
                for receiver in facts.runs_of(recipient) {
                    walk.receiver(receiver);
                }
                walk.tail();
            }
            missing::check(facts, sender, recipient, &missing, &mut account, violations);
        }
    }
    lies::check_counted(facts, &costly, violations);
    account
}

/// Checks that every sender of a received message was started.
fn check_senders(facts: &Facts, violations: &mut Vec<Violation>) {
    for receiver in &facts.runs {
        for (&(pid, run), &time) in &receiver.first_received {
            if !facts.runs_of(pid).any(|sender| sender.run.run == run) {
                let text = format!("{} received from {pid} (run {run}), which there never was", receiver.run.pid);
                violations.push(Violation { promise: Promise::OnlyWhatWasSent, time, text });
            }
        }
    }
}

/// Walk along one stream of one sender's run, through the runs of its recipient.
struct Walk<'a> {
    facts: &'a Facts,
    sender: &'a RunFacts,
    recipient: Pid,
    stream: Stream,
    sent: &'a Sent,
    /// Number before which all messages have arrived, or died with a receiver.
    expected: u64,
    /// Lifetimes of the runs that died and may have acknowledged the expected messages.
    died_since: Vec<(u64, u64)>,
    missing: &'a mut Missing,
    account: &'a mut Account,
    costly: &'a mut BTreeSet<usize>,
    violations: &'a mut Vec<Violation>,
}

impl Walk<'_> {
    fn receiver(&mut self, receiver: &RunFacts) {
        let key = (self.sender.run.pid, self.sender.run.run, self.stream);
        if let Some(received) = receiver.received.get(&key) {
            self.head(receiver, received);
            self.pair(receiver, received);
            self.died_since.clear();
        }
        if receiver.died() {
            self.died_since.push((receiver.run.spawned, receiver.run.ended));
        }
    }

    /// Accounts for the messages between the last one of the earlier runs and the first one of this run.
    fn head(&mut self, receiver: &RunFacts, received: &Spans) {
        let Some(first) = received.iter().next() else { return };
        for span in self.absent(self.expected, first.first.saturating_sub(1)) {
            if self.died_with_receiver(&span) {
                self.account.died_with_receiver += span.count();
            } else if !self.was_given_up(&span) {
                let what = format!(
                    "{}..={} are missing before the first that arrived, {}",
                    span.first, span.last, first.first
                );
                self.violation(Promise::NoLoss, first.time, receiver, &what);
            }
        }
    }

    fn pair(&mut self, receiver: &RunFacts, received: &Spans) {
        if receiver.run.spawned > self.sender.run.ended {
            let what = "this run began when that of the sender was over";
            self.violation(Promise::OnlyWhatWasSent, receiver.run.spawned, receiver, what);
        }
        // Messages flushed before this run must not arrive in it.
        let flushed = self.flushed(|flush| flush.time < receiver.run.spawned);
        // After a reset of the streams, messages arrive again, once, unless they were acknowledged before.
        let mut resets: VecDeque<u64> = receiver.resets_of(self.sender.run.pid).collect();
        let mut before: Vec<Span> = Vec::new();
        let mut last = None;
        for span in received.iter() {
            let (first, end) = (span.first, span.last);
            if end >= self.sent.reserved {
                let what = format!("{first}..={end} arrived, and nothing from {} on was sent", self.sent.reserved);
                self.violation(Promise::OnlyWhatWasSent, span.time, receiver, &what);
            }
            let back = [&self.sent.full, &self.sent.given_back, &self.sent.unknown];
            if let Some(back) = back.into_iter().flat_map(|back| back.between(first, end)).next() {
                let what = format!("{}..={} arrived, although the send gave them back", back.first, back.last);
                self.violation(Promise::FullMeansNotSent, span.time, receiver, &what);
            }
            let mut anew = false;
            match last {
                Some(last) if first <= last && self.begins_anew(span, &mut resets) => anew = true,
                Some(last) if first <= last => {
                    let twice = before.iter().any(|earlier| earlier.first <= end && first <= earlier.last);
                    let promise = if twice { Promise::NoDuplicate } else { Promise::Order };
                    let what = format!("{first}..={end} arrived after {last}");
                    self.violation(promise, span.time, receiver, &what);
                }
                Some(last) => {
                    let gap = self.absent(last + 1, first - 1);
                    if let Some(lost) = gap.into_iter().find(|lost| !self.was_given_up(lost)) {
                        let what = format!("{}..={} are missing between {last} and {first}", lost.first, lost.last);
                        self.violation(Promise::NoLoss, span.time, receiver, &what);
                    }
                }
                None => {}
            }
            let new: Vec<Span> = self.sent.accepted.between(first.max(self.expected), end).collect();
            if first <= flushed {
                let what = format!("{first} arrived, which was flushed up to {flushed} before this run began");
                self.violation(Promise::Flush, span.time, receiver, &what);
            }
            self.account.arrived += new.iter().map(Span::count).sum::<u64>();
            self.expected = self.expected.max(end + 1);
            before.push(*span);
            last = if anew { Some(end) } else { last.max(Some(end)) };
        }
    }

    /// Returns whether one of these resets explains a repeated span, and removes that reset and the earlier ones.
    fn begins_anew(&self, span: &Span, resets: &mut VecDeque<u64>) -> bool {
        let explains = |reset: &u64| *reset <= span.time + TO_TELL && span.first > self.flushed_before_lie(*reset);
        let reset = resets.iter().position(explains);
        reset.is_some_and(|reset| resets.drain(..=reset).next().is_some())
    }

    /// Accounts for the accepted messages after the last one that arrived.
    fn tail(&mut self) {
        for span in self.absent(self.expected, u64::MAX) {
            if self.died_with_receiver(&span) {
                self.account.died_with_receiver += span.count();
                continue;
            }
            // A removal before the flush dropped the messages sent before it, and no flush waits for them.
            let given_up = |flush: &Flush| {
                let mut removals = self.sender.removals_of(self.recipient);
                removals.any(|removal| span.time <= removal.removed && removal.begin <= flush.time)
            };
            let flushed = self.flushed(|flush| !given_up(flush));
            if span.first <= flushed && !self.stream.is_perishable() {
                let (pid, run) = (self.sender.run.pid, self.sender.run.run);
                let text = format!(
                    "{:?} {pid} (run {run}) -> {}: {} never arrived, and a flush found all up to {flushed} acknowledged",
                    self.stream, self.recipient, span.first
                );
                self.violations.push(Violation { promise: Promise::Flush, time: span.time, text });
            }
            if self.stream.is_perishable() {
                self.missing.perishable(self.stream, span.count());
            } else if self.was_sent_before_removal(&span) {
                self.missing.tail_of_removed += span.count();
            } else {
                self.missing.tail.push(span);
            }
        }
    }

    /// Returns the accepted numbers from `first` to `last`, without those that a lie has broken.
    fn absent(&mut self, first: u64, last: u64) -> Vec<Span> {
        let mut absent = Vec::new();
        for span in self.sent.accepted.between(first, last) {
            let mut from = span.first;
            for (sequence, lie) in self.broken(span.first, span.last) {
                absent.extend(span.within(from, sequence - 1));
                from = sequence + 1;
                if sequence >= self.expected {
                    self.account.behind_lies += 1;
                    self.costly.insert(lie);
                }
            }
            absent.extend(span.within(from, span.last));
        }
        absent
    }

    /// Returns the numbers that a lie may have broken, with the index of the lie.
    fn broken(&self, first: u64, last: u64) -> Vec<(u64, usize)> {
        let (pid, run, stream) = (self.sender.run.pid, self.sender.run.run, self.stream.code());
        let key = |sequence, recipient| (Lost { pid, run, stream, sequence }, recipient);
        let range = self.facts.lost.range(key(first, Pid::MIN)..=key(last, Pid::MAX));
        let to_recipient = range.filter(|((_, to), _)| *to == self.recipient);
        to_recipient.map(|((lost, _), lie)| (lost.sequence, *lie)).collect()
    }

    /// Returns the number up to which all messages were acknowledged before the lie that caused the reset.
    fn flushed_before_lie(&self, reset: u64) -> u64 {
        let lie = lies::reason_of_reset(self.facts, self.sender.run.pid, self.recipient, reset);
        self.flushed(|flush| lie.is_none_or(|lie| flush.time < lie.at))
    }

    /// Returns whether the missing messages of `span` may have been dropped. Notes them, to be compared with the
    /// counts.
    fn was_given_up(&mut self, span: &Span) -> bool {
        // In a repeated span, only the new numbers are missing.
        let count = (span.last + 1).saturating_sub(span.first.max(self.expected));
        if self.stream.is_perishable() {
            self.missing.perishable(self.stream, count);
        } else if self.was_sent_before_removal(span) {
            self.missing.gaps_of_removed += count;
        } else {
            return false;
        }
        true
    }

    fn was_sent_before_removal(&self, span: &Span) -> bool {
        self.sender.removals_of(self.recipient).any(|removal| span.time <= removal.removed)
    }

    /// Returns the number up to which such flushes found all messages acknowledged.
    fn flushed(&self, such: impl Fn(&Flush) -> bool) -> u64 {
        self.sent.flushes.iter().filter(|flush| such(flush)).map(|flush| flush.last).max().unwrap_or_default()
    }

    /// Returns whether a run that died may have acknowledged these messages without having read them.
    fn died_with_receiver(&self, span: &Span) -> bool {
        self.died_since.iter().any(|&(spawned, died)| {
            span.time <= died
                && self.was_met(spawned, died)
                && !self.was_cut_off(span.time, died)
                && !self.had_time_to_read(span.time, died)
        })
    }

    /// Returns whether the sender had a link to the recipient between these times; otherwise no message was
    /// acknowledged.
    fn was_met(&self, spawned: u64, died: u64) -> bool {
        let mut events = self.sender.events.iter();
        events.any(|event| match event.kind {
            log::Kind::Up => event.peer == self.recipient && (spawned..=died).contains(&event.time),
            log::Kind::Missed => true,
            _ => false,
        })
    }

    /// Returns whether one of the directions was cut between these times, so that messages or acknowledgements did not
    /// get through.
    fn was_cut_off(&self, from: u64, died: u64) -> bool {
        let cuts = |fault: &&Injected| matches!(fault.kind, Kind::LinkDown | Kind::OneWay);
        let mut faults = self.faults().filter(cuts);
        faults.any(|fault| fault.begin + TO_TAKE_EFFECT <= from && fault.end >= died)
    }

    /// Returns whether the receiver had the time to read messages accepted at `from` before it died, without any
    /// impediment.
    fn had_time_to_read(&self, from: u64, died: u64) -> bool {
        let since = from.saturating_sub(GRACE);
        let kills = |fault: &Injected| fault.kind == Kind::Kill && fault.pid == self.recipient && fault.end > died;
        let mut others = self.faults().filter(|fault| fault.kind.may_impede() && !kills(fault));
        let impeded = others.any(|fault| fault.begin <= died && fault.end >= since);
        let stalled = self.facts.journal.stalls.iter().any(|(begin, end)| *begin <= died && *end >= since);
        from + TO_READ < died && !impeded && !stalled
    }

    fn faults(&self) -> impl Iterator<Item = &Injected> {
        let (one, two) = (self.sender.run.pid, self.recipient);
        self.facts.faults.iter().filter(move |fault| fault.touches(one, two))
    }

    fn violation(&mut self, promise: Promise, time: u64, receiver: &RunFacts, what: &str) {
        let (pid, run) = (self.sender.run.pid, self.sender.run.run);
        let text =
            format!("{:?} {pid} (run {run}) -> {} (run {}): {what}", self.stream, self.recipient, receiver.run.run);
        self.violations.push(Violation { promise, time, text });
    }
}

/// Time by which an arrival may be logged before an earlier event.
const TO_TELL: u64 = SECOND;
/// Time until a cut takes effect.
const TO_TAKE_EFFECT: u64 = 50 * MILLISECOND;
/// Time after which a receiver without impediment has read and logged a message.
const TO_READ: u64 = SECOND;
/// Time after its end in which a fault may still keep messages back.
const GRACE: u64 = 3 * SECOND;
