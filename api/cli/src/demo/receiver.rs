//! Receiving thread of a server, and its tally.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use cluster::{EnvelopeRef, Inbox};

use super::Plan;
use super::checker::{Checker, Findings};
use super::latencies::Latencies;
use super::news::News;
use super::{payload, resources};
use crate::failure::Failure;

/// Starts the thread. It checks the messages that server `index` receives until the server has stopped.
pub fn spawn(
    index: usize,
    mut inbox: Inbox,
    tallies: Arc<Tallies>,
    news: Sender<News>,
    begun: Instant,
) -> Result<(), Failure> {
    let work = move || {
        loop {
            // The lock is held for a whole batch: the main thread reads the tally only now and then.
            let mut tally: Option<MutexGuard<'_, Tally>> = None;
            let count = inbox.drain_wait(None, |envelope| {
                let tally = tally.get_or_insert_with(|| tallies.lock(index));
                if let Some(told) = tally.arrived(&tallies.plan, envelope, begun) {
                    // The receiver is gone if the main thread has given up.
                    let _ = news.send(told);
                }
            });
            drop(tally);
            if count == 0 && inbox.is_stopped() {
                let _ = news.send(News::Ended);
                return;
            }
        }
    };
    resources::spawn(format!("receiver-{}", index + 1), work)
}

/// Tallies of all servers.
#[derive(Debug)]
pub struct Tallies {
    plan: Plan,
    tallies: Vec<Mutex<Tally>>,
}

/// Makes empty tallies for all servers.
pub fn tallies(plan: &Plan) -> Arc<Tallies> {
    let tallies = (0..plan.servers).map(|index| Mutex::new(Tally::new(plan, index))).collect();
    Arc::new(Tallies { plan: *plan, tallies })
}

impl Tallies {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Returns the findings of all servers together.
    pub fn findings(&self) -> Findings {
        let mut sum = Findings::default();
        for index in 0..self.tallies.len() {
            let tally = self.lock(index);
            tally.checkers.iter().for_each(|checker| sum.add(checker.findings()));
            sum.corrupt += tally.strange;
        }
        sum
    }

    /// Returns the latencies of all servers together.
    pub fn latencies(&self) -> Latencies {
        let mut sum = Latencies::new();
        for index in 0..self.tallies.len() {
            sum.add(&self.lock(index).latencies);
        }
        sum
    }

    /// Time at which the last server was complete, if all are.
    pub fn complete_at(&self) -> Option<Instant> {
        (0..self.tallies.len()).map(|index| self.lock(index).complete_at).max().flatten()
    }

    /// Number of messages that have arrived at server `to` from server `from`, both by index.
    pub fn delivered(&self, to: usize, from: usize) -> u64 {
        self.lock(to).checkers[from].findings().delivered
    }

    fn lock(&self, index: usize) -> MutexGuard<'_, Tally> {
        self.tallies[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tally of one server's received messages.
#[derive(Debug)]
struct Tally {
    index: usize,
    /// Checkers by sender. The one of the server itself expects no messages.
    checkers: Vec<Checker>,
    /// Arrivals from unknown servers.
    strange: u64,
    missing: u64,
    latencies: Latencies,
    complete_at: Option<Instant>,
}

impl Tally {
    fn new(plan: &Plan, index: usize) -> Tally {
        let checkers = (0..plan.servers).map(|from| Checker::new(if from == index { 0 } else { plan.messages }));
        Tally {
            index,
            checkers: checkers.collect(),
            strange: 0,
            missing: plan.expected_by_server(),
            latencies: Latencies::new(),
            complete_at: None,
        }
    }

    fn arrived(&mut self, plan: &Plan, envelope: EnvelopeRef<'_>, begun: Instant) -> Option<News> {
        let Some(from) = plan.index(envelope.pid) else {
            self.strange += 1;
            return None;
        };
        let told = payload::read(envelope.msg, envelope.pid).filter(|_| envelope.msg.len() == plan.size);
        let nanos =
            told.and_then(|told| told.sent_nanos).map(|sent| (begun.elapsed().as_nanos() as u64).saturating_sub(sent));
        if envelope.msg_id < 0 {
            let number = told.map(|told| told.number).filter(|number| -1 - *number as i64 == envelope.msg_id);
            return Some(News::Alone {
                from: envelope.pid,
                at: plan.pid(self.index),
                number,
                nanos: nanos.unwrap_or_default(),
            });
        }
        match told {
            Some(told) if told.number == envelope.msg_id as u64 => {
                if self.checkers[from].arrived(told.number) {
                    if let Some(nanos) = nanos {
                        self.latencies.record(nanos);
                    }
                    self.missing -= 1;
                    if self.missing == 0 {
                        self.complete_at = Some(Instant::now());
                        return Some(News::Complete);
                    }
                }
            }
            _ => self.checkers[from].corrupt(),
        }
        None
    }
}
