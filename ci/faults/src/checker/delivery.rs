//! Exactly once and in order within a pair of runs; across runs, nothing is lost that nobody died with.
//!
//! What a receiver's run acknowledged is not sent again. So if that run died, what had been accepted until then may have
//! died with it, and nothing else may. If the sender's run died, what it had not sent died with it: a tail.

use cluster::Pid;

use super::facts::{Facts, RunFacts, Sent};
use super::spans::{Span, Spans};
use super::violation::{Promise, Violation};
use crate::payload::Stream;

/// Follows every stream of every run of every sender.
pub fn check(facts: &Facts, violations: &mut Vec<Violation>) {
    check_senders(facts, violations);
    for sender in &facts.runs {
        for &recipient in facts.journal.pids.iter().filter(|pid| **pid != sender.run.pid) {
            let mut missing = Vec::new();
            for stream in [Stream::Normal, Stream::Urgent, Stream::Broadcast] {
                let nothing = Sent::default();
                let sent = sender.sent.get(&(recipient, stream)).unwrap_or(&nothing);
                let mut walk =
                    Walk { sender, recipient, stream, sent, expected: 1, died_since: Vec::new(), violations };
                for receiver in facts.runs_of(recipient) {
                    walk.receiver(receiver);
                }
                missing.extend(walk.missing());
            }
            check_missing(sender, recipient, &missing, violations);
        }
    }
}

/// Whoever is received from must have been started.
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

/// What never arrived, and died with no receiver, must be in the account of the sender's stop.
fn check_missing(sender: &RunFacts, recipient: Pid, missing: &[Span], violations: &mut Vec<Violation>) {
    let count: u64 = missing.iter().map(Span::count).sum();
    let reported = sender.undelivered.get(&recipient).copied().unwrap_or_default();
    if !sender.died() && count > reported {
        let (pid, run) = (sender.run.pid, sender.run.run);
        let text = format!(
            "{count} messages from {pid} (run {run}) to {recipient} never arrived, its stop reported {reported} as \
             undelivered; the first are {}",
            missing.iter().take(3).map(|span| format!("{}..={}", span.first, span.last)).collect::<Vec<_>>().join(", ")
        );
        violations.push(Violation { promise: Promise::NoLoss, time: missing[0].time, text });
    }
}

/// One stream of one sender's run, followed through the runs of its recipient.
struct Walk<'a> {
    sender: &'a RunFacts,
    recipient: Pid,
    stream: Stream,
    sent: &'a Sent,
    /// Everything before this has arrived, or died with a receiver.
    expected: u64,
    /// When the runs died that may have acknowledged what is expected.
    died_since: Vec<u64>,
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
            self.died_since.push(receiver.run.ended);
        }
    }

    /// What is between the last message of the earlier runs and the first of this one.
    fn head(&mut self, receiver: &RunFacts, received: &Spans) {
        let Some(first) = received.iter().next() else { return };
        for span in self.sent.accepted.between(self.expected, first.first.saturating_sub(1)) {
            if !self.died_with_receiver(&span) {
                let what = format!(
                    "{}..={} are missing before the first that arrived, {}",
                    span.first, span.last, first.first
                );
                self.violation(Promise::NoLoss, first.time, receiver, &what);
            }
        }
    }

    fn pair(&mut self, receiver: &RunFacts, received: &Spans) {
        let mut before: Vec<Span> = Vec::new();
        let mut last = None;
        for span in received.iter() {
            let (first, end) = (span.first, span.last);
            if end >= self.sent.reserved {
                let what = format!("{first}..={end} arrived, and nothing from {} on was sent", self.sent.reserved);
                self.violation(Promise::OnlyWhatWasSent, span.time, receiver, &what);
            }
            let back = self.sent.full.between(first, end).chain(self.sent.given_back.between(first, end)).next();
            if let Some(back) = back {
                let what = format!("{}..={} arrived, although the send gave them back", back.first, back.last);
                self.violation(Promise::FullMeansNotSent, span.time, receiver, &what);
            }
            match last {
                Some(last) if first <= last => {
                    let twice = before.iter().any(|earlier| earlier.first <= end && first <= earlier.last);
                    let promise = if twice { Promise::NoDuplicate } else { Promise::Order };
                    let what = format!("{first}..={end} arrived after {last}");
                    self.violation(promise, span.time, receiver, &what);
                }
                Some(last) => {
                    if let Some(lost) = self.sent.accepted.between(last + 1, first - 1).next() {
                        let what = format!("{}..={} are missing between {last} and {first}", lost.first, lost.last);
                        self.violation(Promise::NoLoss, span.time, receiver, &what);
                    }
                }
                None => {}
            }
            before.push(*span);
            last = last.max(Some(end));
        }
        self.expected = self.expected.max(last.map_or(1, |last| last + 1));
    }

    /// What was accepted and never arrived, but for what died with a receiver.
    fn missing(&self) -> Vec<Span> {
        let tail = self.sent.accepted.between(self.expected, u64::MAX);
        tail.filter(|span| !self.died_with_receiver(span)).collect()
    }

    /// What a dead run acknowledged, it did before it died; so it was accepted before.
    fn died_with_receiver(&self, span: &Span) -> bool {
        self.died_since.iter().any(|died| span.time <= *died)
    }

    fn violation(&mut self, promise: Promise, time: u64, receiver: &RunFacts, what: &str) {
        let (pid, run) = (self.sender.run.pid, self.sender.run.run);
        let text =
            format!("{:?} {pid} (run {run}) -> {} (run {}): {what}", self.stream, self.recipient, receiver.run.run);
        self.violations.push(Violation { promise, time, text });
    }
}
