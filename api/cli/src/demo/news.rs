//! Reports of the servers' threads to the main thread, with its timeouts.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cluster::Pid;

use crate::failure::Failure;
use crate::output::say;

/// Report of a server's thread.
#[derive(Debug)]
pub enum News {
    /// A single message has arrived at server `at`, `nanos` nanoseconds after it was sent. `number` is `None` if the
    /// message is corrupt.
    Alone { from: Pid, at: Pid, number: Option<u64>, nanos: u64 },
    /// A server has received all expected messages.
    Complete,
    /// A server cannot send.
    Failed { pid: Pid, error: String },
    /// A server has stopped; `result` tells if it delivered all messages.
    Stopped { pid: Pid, result: Result<(), String> },
    /// The inbox of a stopped server was read to its end.
    Ended,
}

/// Receiver of the reports, with the timeout for progress.
#[derive(Debug)]
pub struct Desk {
    news: Receiver<News>,
    address: Sender<News>,
    patience: Duration,
    delivered: u64,
    since: Instant,
}

impl Desk {
    pub fn new(patience: Duration) -> Desk {
        let (address, news) = channel();
        Desk { news, address, patience, delivered: 0, since: Instant::now() }
    }

    /// Returns a sender for reports.
    pub fn address(&self) -> Sender<News> {
        self.address.clone()
    }

    /// Returns the next report, or `None` if none comes within the patience.
    pub fn next(&self) -> Option<News> {
        self.next_within(self.patience)
    }

    /// Returns the next report, or `None` if none comes within `timeout`.
    pub fn next_within(&self, timeout: Duration) -> Option<News> {
        // The desk holds a sender itself, so the channel never closes: an error is always a timeout.
        self.news.recv_timeout(timeout).ok()
    }

    /// Returns whether the count of delivered messages has not changed for longer than the patience. `delivered` is the
    /// present count.
    pub fn is_stuck_at(&mut self, delivered: u64) -> bool {
        if delivered != self.delivered {
            self.delivered = delivered;
            self.since = Instant::now();
        }
        self.since.elapsed() > self.patience
    }

    /// Waits until `servers` servers have stopped and their inboxes were read to the end.
    pub fn wait_for_the_end(&self, servers: usize) -> Result<(), Failure> {
        let (mut stopped, mut ended) = (0, 0);
        while stopped < servers || ended < servers {
            match self.next() {
                Some(News::Stopped { pid, result }) => {
                    stopped += 1;
                    // The receivers have all messages. Only an acknowledgement was lost, with a broken connection.
                    if let Err(error) = result {
                        say(format_args!("note: server {pid} {error}"));
                    }
                }
                Some(News::Ended) => ended += 1,
                Some(News::Failed { pid, error }) => {
                    return Err(Failure::Other(format!("server {pid} could not send: {error}")));
                }
                Some(News::Alone { .. } | News::Complete) => {}
                None => {
                    return Err(Failure::Other(format!(
                        "everything arrived, but of {servers} servers only {stopped} have stopped, and the inboxes of \
                         {ended} have ended, and nothing has happened for {} s; --patience waits longer",
                        self.patience.as_secs()
                    )));
                }
            }
        }
        Ok(())
    }
}
