//! What the threads of the servers tell the main thread, and for how long it waits for that.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use cluster::Pid;

use crate::failure::Failure;
use crate::output::say;

/// What a server's thread has to tell.
#[derive(Debug)]
pub enum News {
    /// A message that was sent alone has arrived at server `at`, so long after it was sent. Without a number: it is not as
    /// it was sent.
    Alone { from: Pid, at: Pid, number: Option<u64>, nanos: u64 },
    /// A server has received all that it expects.
    Complete,
    /// A server cannot send.
    Failed { pid: Pid, error: String },
    /// A server has stopped, and whether it delivered everything.
    Stopped { pid: Pid, result: Result<(), String> },
    /// The inbox of a stopped server was read to its end.
    Ended,
}

/// Where the news come in.
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

    /// Where to send news.
    pub fn address(&self) -> Sender<News> {
        self.address.clone()
    }

    /// The next news; waits as long as patience lasts.
    pub fn next(&self) -> Option<News> {
        self.next_within(self.patience)
    }

    /// The next news, if some come within `timeout`.
    pub fn next_within(&self, timeout: Duration) -> Option<News> {
        // The desk holds an address itself, so that it is never cut off: only the time can have run out.
        self.news.recv_timeout(timeout).ok()
    }

    /// Whether nothing has been delivered for longer than patience lasts, if it is so much by now.
    pub fn is_stuck_at(&mut self, delivered: u64) -> bool {
        if delivered != self.delivered {
            self.delivered = delivered;
            self.since = Instant::now();
        }
        self.since.elapsed() > self.patience
    }

    /// Waits until `servers` servers have stopped, and what had arrived at them was read.
    pub fn wait_for_the_end(&self, servers: usize) -> Result<(), Failure> {
        let (mut stopped, mut ended) = (0, 0);
        while stopped < servers || ended < servers {
            match self.next() {
                Some(News::Stopped { pid, result }) => {
                    stopped += 1;
                    // The receivers have it all. What got lost is an acknowledgement, with a connection that broke.
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
