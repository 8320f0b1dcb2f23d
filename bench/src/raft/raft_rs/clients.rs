//! Clients of the leader, as its thread sees them: each proposes its next write when the last one was applied.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::raft::content::Write;
use crate::raft::protocol::Load;
use crate::raft::recorder::Recorder;

/// Clients of a node that leads.
pub struct Clients {
    size: usize,
    recorder: Arc<Recorder>,
    /// Last write of each client, and when it was proposed.
    last: Vec<(u64, Instant)>,
    /// Clients that wait for nothing.
    ready: Vec<u32>,
    /// Told of the first answer, and when all clients have ended.
    events: Sender<Event>,
    has_answered: bool,
}

/// Event among the clients of a node.
#[derive(Debug, PartialEq, Eq)]
pub enum Event {
    /// The first write was answered.
    Answered,
    /// All clients have ended.
    Ended,
}

impl Clients {
    /// Makes clients that have written nothing.
    pub fn new(load: Load, recorder: Arc<Recorder>, events: Sender<Event>) -> Self {
        let last = vec![(0, Instant::now()); load.clients as usize];
        let ready = (0..load.clients).collect();
        Self { size: load.size, recorder, last, ready, events, has_answered: false }
    }

    /// Takes the next write of a client that waits for nothing, if the clients are to go on.
    pub fn next(&mut self) -> Option<Write> {
        if self.ready.is_empty() || self.recorder.is_resting() {
            return None;
        }
        let client = self.ready.pop()?;
        let last = &mut self.last[client as usize];
        *last = (last.0 + 1, Instant::now());
        Some(Write::new(client, last.0, self.size))
    }

    /// Answers a write that was applied.
    pub fn answer(&mut self, client: u32, sequence: u64) {
        let Some((last, begin)) = self.last.get(client as usize) else { return };
        if *last != sequence {
            return;
        }
        self.recorder.answered(begin.elapsed());
        self.ready.push(client);
        if !self.has_answered {
            self.has_answered = true;
            // Nobody waits any more if the process ends.
            let _ = self.events.send(Event::Answered);
        }
    }

    /// Returns whether all clients have ended, and says so.
    pub fn have_ended(&self) -> bool {
        let have_ended = self.recorder.is_resting() && self.ready.len() == self.last.len();
        if have_ended {
            let _ = self.events.send(Event::Ended);
        }
        have_ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_client_writes_when_it_was_answered_until_it_shall_rest() {
        let (give, events) = channel();
        let recorder = Arc::new(Recorder::default());
        let mut clients = Clients::new(Load { clients: 2, size: 8 }, recorder.clone(), give);
        let (one, two) = (clients.next().unwrap(), clients.next().unwrap());
        assert_eq!((one.sequence, two.sequence), (1, 1));
        assert_eq!(clients.next(), None, "both wait");
        clients.answer(one.client, 2);
        assert_eq!(clients.next(), None, "another write than the last one");
        clients.answer(one.client, 1);
        assert_eq!(clients.next().map(|write| (write.client, write.sequence)), Some((one.client, 2)));
        assert_eq!(events.try_iter().collect::<Vec<_>>(), [Event::Answered]);

        recorder.rest();
        clients.answer(one.client, 2);
        assert!(!clients.have_ended());
        clients.answer(two.client, 1);
        assert_eq!(clients.next(), None);
        assert!(clients.have_ended());
        assert_eq!((events.try_recv(), recorder.writes()), (Ok(Event::Ended), 3));
    }
}
