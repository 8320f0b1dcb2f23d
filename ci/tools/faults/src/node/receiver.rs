//! Takes all envelopes out of the inbox, and logs them.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use cluster::{EnvelopeRef, Inbox, Pid};
use hdrhistogram::Histogram;

use super::Switches;
use crate::clock::{SECOND, now};
use crate::failure::{Context, Failure};
use crate::log::{Kind, Log, Record};
use crate::payload::{self, Stream};

/// Receives until the server has stopped and the inbox is empty.
pub fn receive(mut inbox: Inbox, log: Log, switches: &Switches) -> Result<(), Failure> {
    let mut receiver = Receiver { log, switches, runs: HashMap::new(), latencies: HashMap::new() };
    let mut latencies_due = now() + SECOND;
    while !inbox.is_stopped() {
        if switches.paused.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
            continue;
        }
        inbox.drain_wait(Some(A_WHILE), |envelope| receiver.take(&envelope));
        receiver.close_runs();
        if now() >= latencies_due {
            receiver.log_latencies();
            latencies_due = now() + SECOND;
        }
        receiver.log.flush()?;
    }
    receiver.log.write(Record::at(Kind::Drained, now())).context(|| "cannot write the log".to_owned())
}

struct Receiver<'s> {
    log: Log,
    switches: &'s Switches,
    /// Consecutive messages of a stream that are not in the log yet: the first, the last, and the time of the last.
    runs: HashMap<(Pid, u32, Stream), (u64, u64, u64)>,
    latencies: HashMap<Pid, Histogram<u64>>,
}

impl Receiver<'_> {
    fn take(&mut self, envelope: &EnvelopeRef<'_>) {
        let time = now();
        let sent = payload::read(envelope.msg);
        let Some(header) = sent.filter(|sent| sent.pid == envelope.pid && sent.sequence as i64 == envelope.msg_id)
        else {
            self.log.add(Record::about(Kind::Corrupt, envelope.pid, time).with(envelope.msg.len() as u64, 0));
            return;
        };
        let sequence = header.sequence;
        if self.switches.roster.is_uninvited(header.pid, header.sent_at) {
            let record = Record::about(Kind::Uninvited, header.pid, time).with(sequence, 0);
            self.log.add(Record { run: header.run, stream: header.stream, ..record });
        }
        let latencies = self.latencies.entry(header.pid).or_insert_with(histogram);
        latencies.saturating_record(time.saturating_sub(header.sent_at));
        let key = (header.pid, header.run, header.stream);
        match self.runs.get_mut(&key) {
            Some((_, last, at)) if *last + 1 == sequence => (*last, *at) = (sequence, time),
            Some(run) => {
                let before = std::mem::replace(run, (sequence, sequence, time));
                self.log.add(received(key, before));
            }
            None => drop(self.runs.insert(key, (sequence, sequence, time))),
        }
    }

    fn close_runs(&mut self) {
        for (key, run) in self.runs.drain() {
            self.log.add(received(key, run));
        }
    }

    fn log_latencies(&mut self) {
        let time = now();
        for (peer, latencies) in &mut self.latencies {
            for each in latencies.iter_recorded() {
                let (value, count) = (each.value_iterated_to(), each.count_at_value());
                self.log.add(Record::about(Kind::Latency, *peer, time).with(value, count));
            }
            latencies.reset();
        }
    }
}

fn received((peer, run, stream): (Pid, u32, Stream), (first, last, time): (u64, u64, u64)) -> Record {
    Record { run, stream, ..Record::about(Kind::Received, peer, time).with(first, last) }
}

/// Returns a histogram with a precision of one per cent, up to a minute.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(60 * SECOND, 2).unwrap_or_else(|_| unreachable!("two digits are among the allowed ones"))
}

const A_WHILE: Duration = Duration::from_millis(100);
