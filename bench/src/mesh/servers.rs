//! Servers of the engine with default settings, driven by one thread. Each server broadcasts numbered messages, and
//! checks those that it receives.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use cluster::{
    BROADCAST, Builder, Config, DownReason, Draft, Envelope, EnvelopeRef, Event, Events, Handle, Inbox, Neighbours,
    Outbox, Pid, SendError, Split,
};

use super::Transport;
use super::endpoints::Endpoints;
use super::protocol::{Command, EventCounts, Job, Progress, REPORT_INTERVAL, Reply};
use crate::child::reply;

/// Servers of one process.
pub struct Servers {
    servers: Vec<Server>,
    messages: u64,
}

struct Server {
    inbox: Inbox,
    outbox: Outbox,
    events: Events,
    handle: Handle,
    /// Broadcasts begun.
    sent: u64,
    /// Last broadcast, addressed to the recipients that had no room for it yet.
    unsent: Option<Draft<'static>>,
    checker: Checker,
    counts: EventCounts,
}

/// Next message that a server expects from each sender.
#[derive(Debug)]
struct Checker {
    receiver: Pid,
    messages: u64,
    /// Sequence number of the next message, by the sender's pid less one.
    next: Vec<u64>,
    delivered: u64,
}

impl Endpoints for Servers {
    fn start(job: &Job, listeners: Vec<TcpListener>, addresses: &[SocketAddr]) -> Result<Self, String> {
        let members = addresses.iter().enumerate().map(|(index, address)| (pid_of(index), address.to_string()));
        let neighbours = if job.transport == Transport::Memory { Neighbours::Memory } else { Neighbours::Tcp };
        let config = Config::new(members).map_err(|error| error.to_string())?.with_neighbours(neighbours);
        let mut servers = Vec::with_capacity(job.count);
        let mut reported = Instant::now();
        for (index, listener) in (job.first..).zip(listeners) {
            let pid = pid_of(index);
            let node = Builder::new(pid, &config)
                .listener(listener)
                .start()
                .map_err(|error| format!("server {pid} did not start: {error}"))?;
            let Split { inbox, outbox, events, handle } = node.split();
            let checker = Checker::new(pid, job.servers, job.messages);
            let counts = EventCounts::default();
            servers.push(Server { inbox, outbox, events, handle, sent: 0, unsent: None, checker, counts });
            if reported.elapsed() >= REPORT_INTERVAL {
                reported = Instant::now();
                reply(&Reply::Starting(servers.len()));
            }
        }
        Ok(Self { servers, messages: job.messages })
    }

    fn pass(&mut self, sending: bool) -> Result<bool, String> {
        let mut moved = false;
        for server in &mut self.servers {
            moved |= sending && server.send(self.messages)?;
            moved |= server.receive(None)?;
            server.count_events();
        }
        Ok(moved)
    }

    fn wait(&mut self) -> Result<(), String> {
        if let [only] = &mut self.servers[..] {
            let timeout = if only.unsent.is_some() { PAUSE } else { REPORT_INTERVAL };
            only.receive(Some(timeout))?;
        } else {
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    fn is_exact(&self) -> bool {
        let is_sent = |server: &Server| server.sent == self.messages && server.unsent.is_none();
        self.servers.iter().all(|server| is_sent(server) && server.checker.is_complete())
    }

    fn progress(&mut self) -> Progress {
        let mut sum = Progress::default();
        for server in &mut self.servers {
            server.count_events();
            let complete = usize::from(server.checker.is_complete());
            sum += Progress { delivered: server.checker.delivered, complete, events: server.counts };
        }
        sum
    }

    fn idle(&mut self, commands: &Receiver<Command>) -> Result<Command, String> {
        commands.recv().map_err(|_| "standard input has ended".to_owned())
    }

    fn stop(self) {
        for mut server in self.servers {
            // All messages were delivered before.
            let _ = server.handle.stop_within(STOP_PATIENCE);
        }
    }
}

impl Server {
    /// Sends at most one broadcast. Returns whether any recipient took it.
    fn send(&mut self, messages: u64) -> Result<bool, String> {
        let draft = match self.unsent.take() {
            Some(draft) => draft,
            None if self.sent < messages => {
                self.sent += 1;
                Envelope::to(BROADCAST).body((self.sent - 1).to_le_bytes().to_vec())
            }
            None => return Ok(false),
        };
        let before = draft.recipients().clone();
        match self.outbox.try_send(draft) {
            Ok(()) => Ok(true),
            Err(SendError::Full { envelope }) => {
                let moved = *envelope.recipients() != before;
                self.unsent = Some(*envelope);
                Ok(moved)
            }
            Err(error) => Err(format!("server {}: {error}", self.checker.receiver)),
        }
    }

    /// Checks the envelopes in the inbox, and waits for one if there is a `timeout`. Returns whether there was one.
    fn receive(&mut self, timeout: Option<Duration>) -> Result<bool, String> {
        let (inbox, checker) = (&mut self.inbox, &mut self.checker);
        let mut result = Ok(());
        let each = |envelope: EnvelopeRef<'_>| {
            if result.is_ok() {
                result = checker.take(envelope.pid, envelope.msg);
            }
        };
        let taken = match timeout {
            None => inbox.drain(each),
            Some(_) => inbox.drain_wait(timeout, each),
        };
        result.map(|()| taken > 0)
    }

    fn count_events(&mut self) {
        while let Some(event) = self.events.try_next() {
            match event {
                Event::Up { .. } => self.counts.up += 1,
                Event::Down { reason, .. } => {
                    self.counts.down += 1;
                    self.counts.down_silent += u64::from(reason == DownReason::Silent);
                }
                Event::Refused { .. } => self.counts.refused += 1,
                Event::AcceptFailed { .. } => self.counts.accept_failed += 1,
                Event::Dropped { count, .. } => self.counts.dropped += count,
                _ => self.counts.other += 1,
            }
        }
        self.counts.missed = self.events.missed();
    }
}

impl Checker {
    fn new(receiver: Pid, servers: usize, messages: u64) -> Self {
        Self { receiver, messages, next: vec![0; servers], delivered: 0 }
    }

    /// Takes a message, which must be the next one of its sender.
    fn take(&mut self, sender: Pid, payload: &[u8]) -> Result<(), String> {
        let receiver = self.receiver;
        let index = usize::try_from(sender).ok().and_then(|pid| pid.checked_sub(1));
        let next = index.filter(|_| sender != receiver).and_then(|index| self.next.get_mut(index));
        let Some(next) = next else {
            return Err(format!("server {receiver}: received a message of {sender}, which is no peer"));
        };
        let expected = if *next < self.messages { format!("message {next}") } else { "no more messages".to_owned() };
        let found = <[u8; 8]>::try_from(payload).map(u64::from_le_bytes);
        match found {
            Ok(found) if found == *next && found < self.messages => {
                *next += 1;
                self.delivered += 1;
                Ok(())
            }
            Ok(found) => Err(format!("server {receiver}, sender {sender}: expected {expected}, found message {found}")),
            Err(_) => {
                let bytes = payload.len();
                Err(format!(
                    "server {receiver}, sender {sender}: expected {expected}, found a payload of {bytes} bytes"
                ))
            }
        }
    }

    /// Returns whether every message of every sender was taken.
    fn is_complete(&self) -> bool {
        self.delivered == (self.next.len() as u64 - 1) * self.messages
    }
}

fn pid_of(index: usize) -> Pid {
    index as Pid + 1
}

/// Pause of a thread with several servers when none of them had work.
const PAUSE: Duration = Duration::from_millis(1);
/// Time to wait for peers that have not acknowledged all messages; all of them have.
const STOP_PATIENCE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_is_taken_once_and_in_order() {
        let mut checker = Checker::new(2, 3, 2);
        for (sender, number) in [(1, 0_u64), (3, 0), (3, 1)] {
            checker.take(sender, &number.to_le_bytes()).unwrap();
        }
        assert!(!checker.is_complete());
        checker.take(1, &1_u64.to_le_bytes()).unwrap();
        assert!(checker.is_complete());
    }

    #[test]
    fn a_wrong_message_is_named() {
        let mut checker = Checker::new(2, 3, 1);
        let mut refuse = |sender, payload: &[u8]| checker.take(sender, payload).unwrap_err();
        assert_eq!(refuse(3, &7_u64.to_le_bytes()), "server 2, sender 3: expected message 0, found message 7");
        assert_eq!(refuse(3, b"abc"), "server 2, sender 3: expected message 0, found a payload of 3 bytes");
        assert_eq!(refuse(2, &[0; 8]), "server 2: received a message of 2, which is no peer");
        assert_eq!(refuse(4, &[0; 8]), "server 2: received a message of 4, which is no peer");
        checker.take(3, &[0; 8]).unwrap();
        let again = checker.take(3, &[0; 8]).unwrap_err();
        assert_eq!(again, "server 2, sender 3: expected no more messages, found message 0");
    }
}
