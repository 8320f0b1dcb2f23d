//! One server of a run: its number, what it sends, what it receives.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::measure::{Arrivals, Checker, Load, Receipts, Traffic};
use crate::rendezvous::{Left, Rendezvous};

/// What a contender is given for each of its servers.
pub struct Participant {
    rendezvous: Rendezvous,
    traffic: Traffic,
    receipts: Receipts,
    engine: Option<EngineCounts>,
    /// No other server is in this process.
    alone: bool,
}

/// What the engine counted at a server, from its `stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCounts {
    /// Envelopes that were taken for all peers.
    pub messages: u64,
    /// Segments that went out.
    pub segments: u64,
    /// How often segments were handed to the kernel, several at a time.
    pub sends: u64,
    /// How often its event loop was woken; loops that servers share count at the first of them.
    pub wake_ups: u64,
}

impl EngineCounts {
    /// Two servers together.
    pub fn and(self, other: Self) -> Self {
        Self {
            messages: self.messages + other.messages,
            segments: self.segments + other.segments,
            sends: self.sends + other.sends,
            wake_ups: self.wake_ups + other.wake_ups,
        }
    }
}

impl Participant {
    /// The place at `rendezvous` of a server of `traffic`.
    pub fn new(rendezvous: Rendezvous, traffic: Traffic) -> Self {
        let receipts = Receipts::of(&traffic, rendezvous.index());
        Self { rendezvous, traffic, receipts, engine: None, alone: false }
    }

    /// The same, in a process of its own.
    pub fn alone(rendezvous: Rendezvous, traffic: Traffic) -> Self {
        Self { alone: true, ..Self::new(rendezvous, traffic) }
    }

    /// The server's number, from 0.
    pub fn index(&self) -> usize {
        self.rendezvous.index()
    }

    /// Who sends what to whom.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// What is sent to each recipient.
    pub fn load(&self) -> Load {
        self.traffic.load
    }

    /// To whom this server sends.
    pub fn recipients(&self) -> Vec<usize> {
        self.traffic.recipients(self.index())
    }

    /// Whether servers of this process share their loops.
    pub fn shares_loops(&self) -> bool {
        !self.alone && (self.traffic.loops.is_some() || self.traffic.servers() > 2)
    }

    /// Whether this is the server that hardly reads.
    pub fn is_slow(&self) -> bool {
        self.traffic.slow() == Some(self.index())
    }

    /// Where servers meet.
    pub fn rendezvous(&mut self) -> &mut Rendezvous {
        &mut self.rendezvous
    }

    /// Tells the others where this server is, and answers where everyone is.
    pub fn meet(&mut self, own: String) -> Result<Vec<String>, Left> {
        self.rendezvous.exchange(own)
    }

    /// What arrives here.
    pub fn receipts(&mut self) -> &mut Receipts {
        &mut self.receipts
    }

    /// What arrives here from the only sender.
    pub fn checker(&mut self) -> Result<&mut Checker, Box<dyn Error + Send + Sync>> {
        self.receipts.only().ok_or_else(|| "this server has not just one sender".into())
    }

    /// What arrived here in each stream; an error says what did not.
    pub fn arrivals(&self) -> Result<Vec<Arrivals>, String> {
        self.receipts.arrivals()
    }

    /// Keeps what the engine counted.
    pub fn note(&mut self, counts: EngineCounts) {
        self.engine = Some(counts);
    }

    /// What the engine counted, if this was one.
    pub fn engine(&self) -> Option<EngineCounts> {
        self.engine
    }
}
