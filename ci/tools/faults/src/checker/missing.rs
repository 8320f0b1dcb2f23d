//! Accounts of missing messages. The sender must have counted each of them: as expired, as best effort, as dropped with
//! a removed peer, or as undelivered at the stop.

use cluster::Pid;

use super::facts::{Facts, Losses, RunFacts};
use super::report::Account;
use super::spans::Span;
use super::violation::{Promise, Violation};
use crate::journal::End;
use crate::payload::Stream;

/// Messages of one run to one peer that never arrived, without those that died with a receiver.
#[derive(Debug, Default)]
pub struct Missing {
    /// Messages after the last one that arrived, which must not be dropped.
    pub tail: Vec<Span>,
    /// Messages after the last one that arrived, but sent before the recipient was removed.
    pub tail_of_removed: u64,
    /// Messages sent before the recipient was removed, and followed by one that arrived.
    pub gaps_of_removed: u64,
    /// Messages with a time to live.
    pub timed: u64,
    /// Best-effort messages.
    pub once: u64,
}

impl Missing {
    /// Adds `count` messages that may be dropped.
    pub fn perishable(&mut self, stream: Stream, count: u64) {
        match stream {
            Stream::Timed => self.timed += count,
            _ => self.once += count,
        }
    }
}

/// Compares the missing messages with the counts of the sender.
pub fn check(
    facts: &Facts,
    sender: &RunFacts,
    recipient: Pid,
    missing: &Missing,
    account: &mut Account,
    violations: &mut Vec<Violation>,
) {
    let tail: u64 = missing.tail.iter().map(Span::count).sum();
    let of_removed = missing.tail_of_removed + missing.gaps_of_removed;
    if sender.died() {
        // The counts of a sender that died are not known.
        account.died_with_sender += tail + missing.tail_of_removed;
        account.removed += missing.gaps_of_removed;
        account.perished += missing.timed + missing.once;
        return;
    }
    let losses = sender.losses.get(&recipient).copied().unwrap_or_default();
    let removed: u64 = sender.removals_of(recipient).map(|removal| removal.messages).sum();
    let undelivered = sender.undelivered.get(&recipient).copied().unwrap_or_default();
    // Messages that may be dropped can also be counted by a removal or by the stop.
    let counted = missing.timed.min(losses.expired) + missing.once.min(losses.best_effort);
    let uncounted = missing.timed + missing.once - counted;
    account.perished += counted;
    account.undelivered += tail.min(undelivered);
    account.removed += (of_removed + uncounted).min(removed + undelivered - tail.min(undelivered));
    let (pid, run) = (sender.run.pid, sender.run.run);
    if tail > undelivered {
        let text = format!(
            "{tail} messages from {pid} (run {run}) to {recipient} never arrived, its stop reported {undelivered} as \
             undelivered; the first are {}",
            missing
                .tail
                .iter()
                .take(3)
                .map(|span| format!("{}..={}", span.first, span.last))
                .collect::<Vec<_>>()
                .join(", ")
        );
        violations.push(Violation { promise: Promise::NoLoss, time: missing.tail[0].time, text });
    } else if tail + of_removed + uncounted > undelivered + removed {
        let text = format!(
            "to {recipient}, {tail} messages of {pid} (run {run}) never arrived, {of_removed} sent before a removal, \
             {uncounted} more that may be given up than were counted so; its stop reported {undelivered}, its removals \
             {removed}"
        );
        violations.push(Violation { promise: Promise::NoLoss, time: sender.run.ended, text });
    }
    if removed + undelivered == 0 && is_exact(facts, sender, recipient) {
        let Losses { expired, best_effort, .. } = losses;
        for (what, is, says) in [("stale", missing.timed, expired), ("best effort", missing.once, best_effort)] {
            if says > is {
                let text =
                    format!("{pid} (run {run}) gave up {says} messages to {recipient} as {what}, and {is} are missing");
                violations.push(Violation { promise: Promise::Perished, time: sender.run.ended, text });
            }
        }
    }
}

/// Returns whether the missing messages are exactly those that the sender has dropped. That holds if one run of the
/// recipient lived all the time and read all messages, if neither has removed the other, and if they have not reset
/// their streams. Otherwise best-effort messages may have arrived although their sender could not know.
fn is_exact(facts: &Facts, sender: &RunFacts, recipient: Pid) -> bool {
    let overlaps = |run: &&RunFacts| run.run.spawned <= sender.run.ended && run.run.ended >= sender.run.spawned;
    let mut receivers = facts.runs_of(recipient).filter(overlaps);
    let (Some(receiver), None) = (receivers.next(), receivers.next()) else { return false };
    let stayed = receiver.run.ended >= sender.run.ended || receiver.run.ended >= facts.journal.quiet_at;
    let anew = sender.resets_of(recipient).chain(receiver.resets_of(sender.run.pid)).next().is_some();
    receiver.run.end == End::Stopped && stayed && !anew && receiver.removals_of(sender.run.pid).next().is_none()
}
