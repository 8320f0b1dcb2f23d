//! Traffic between servers: pattern and load.

use serde::{Deserialize, Serialize};

use super::Load;

/// Traffic between the servers of a run, which are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Pattern of senders and recipients.
    pub pattern: Pattern,
    /// Load that each sender sends to each of its recipients.
    pub load: Load,
    /// Event loops, or threads of a library, that the servers of one process share; `None` leaves the number to the
    /// contender.
    pub loops: Option<usize>,
}

/// Pattern of senders and recipients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pattern {
    /// Server 0 sends to server 1.
    OneWay,
    /// Server 0 sends to all others.
    Broadcast {
        /// Number of receivers.
        receivers: usize,
    },
    /// Each server sends to all others.
    AllToAll {
        /// Number of servers.
        servers: usize,
    },
    /// Server 0 sends to all others, of which the last hardly reads. Messages for which the last one has no room are
    /// not sent to it.
    SlowConsumer {
        /// Number of receivers, at least two.
        receivers: usize,
    },
}

impl Traffic {
    /// Returns traffic from server 0 to server 1.
    pub fn one_way(load: Load) -> Self {
        Self { pattern: Pattern::OneWay, load, loops: None }
    }

    /// Returns the number of servers.
    pub fn servers(&self) -> usize {
        match self.pattern {
            Pattern::OneWay => 2,
            Pattern::Broadcast { receivers } | Pattern::SlowConsumer { receivers } => 1 + receivers,
            Pattern::AllToAll { servers } => servers,
        }
    }

    /// Returns the servers to which `server` sends.
    pub fn recipients(&self, server: usize) -> Vec<usize> {
        match self.pattern {
            Pattern::AllToAll { servers } => (0..servers).filter(|&other| other != server).collect(),
            _ if server == 0 => (1..self.servers()).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the servers all of whose messages `server` receives; none for the slow consumer.
    pub fn senders(&self, server: usize) -> Vec<usize> {
        let mut senders: Vec<usize> =
            (0..self.servers()).filter(|&other| self.recipients(other).contains(&server)).collect();
        senders.retain(|_| self.slow() != Some(server));
        senders
    }

    /// Returns the slow consumer, if the pattern has one.
    pub fn slow(&self) -> Option<usize> {
        matches!(self.pattern, Pattern::SlowConsumer { .. }).then(|| self.servers() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic(pattern: Pattern) -> Traffic {
        Traffic { pattern, ..Traffic::one_way(Load::new(64, 2)) }
    }

    #[test]
    fn each_pattern_has_its_senders_and_recipients() {
        let broadcast = traffic(Pattern::Broadcast { receivers: 3 });
        assert_eq!((broadcast.servers(), broadcast.recipients(0)), (4, vec![1, 2, 3]));
        assert_eq!((broadcast.recipients(2), broadcast.senders(2)), (vec![], vec![0]));
        let all = traffic(Pattern::AllToAll { servers: 3 });
        assert_eq!((all.recipients(1), all.senders(1)), (vec![0, 2], vec![0, 2]));
    }

    #[test]
    fn nothing_is_expected_of_the_slow_one() {
        let slow = traffic(Pattern::SlowConsumer { receivers: 3 });
        assert_eq!((slow.slow(), slow.recipients(0)), (Some(3), vec![1, 2, 3]));
        assert_eq!((slow.senders(2), slow.senders(3)), (vec![0], vec![]));
    }
}
