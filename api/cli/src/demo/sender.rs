//! Sending thread of a server.

use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cluster::{BROADCAST, Envelope, Handle, Outbox, Pid, SendError};

use super::news::News;
use super::{Plan, payload, resources};
use crate::failure::Failure;

/// Sending half of a server. It also stops the server at the end.
pub struct Sender {
    pub plan: Plan,
    pub pid: Pid,
    pub outbox: Outbox,
    pub handle: Handle,
    /// Start of the demonstration; times in messages count from it.
    pub begun: Instant,
}

impl Sender {
    /// Sends one message to one server. Its negative id (-1, -2 …) distinguishes it from the messages of the broadcast.
    pub fn send_alone(&mut self, to: Pid, number: u64) -> Result<(), Failure> {
        let envelope = Envelope::to(to).id(-1 - number as i64).body(self.message(number));
        self.outbox
            .send_timeout(envelope, self.plan.patience)
            .map_err(|error| Failure::Other(format!("server {} could not send: {error}", self.pid)))
    }

    /// Starts the thread. It broadcasts all messages after `start`, and stops the server after `stop`.
    pub fn spawn(mut self, start: Arc<Barrier>, stop: Arc<Barrier>, news: mpsc::Sender<News>) -> Result<(), Failure> {
        let pid = self.pid;
        let work = move || {
            start.wait();
            // The receiver is gone if the main thread has given up.
            if let Err(error) = self.broadcast() {
                let _ = news.send(News::Failed { pid, error: error.to_string() });
            }
            stop.wait();
            let result = self.handle.stop_within(STOP_PATIENCE).map_err(|error| error.to_string());
            let _ = news.send(News::Stopped { pid, result });
        };
        resources::spawn(format!("sender-{pid}"), work)
    }

    fn broadcast(&mut self) -> Result<(), SendError> {
        for number in 0..self.plan.messages {
            let message = self.message(number);
            self.outbox.send(Envelope::to(BROADCAST).id(number as i64).body(message))?;
        }
        Ok(())
    }

    fn message(&self, number: u64) -> Vec<u8> {
        let mut message = vec![0; self.plan.size];
        payload::write(&mut message, self.pid, number, self.begun.elapsed().as_nanos() as u64);
        message
    }
}

/// Time that the stop waits for acknowledgements. All messages were delivered before.
const STOP_PATIENCE: Duration = Duration::from_secs(10);
