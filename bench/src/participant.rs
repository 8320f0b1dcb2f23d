//! One server of a run: its number, what it sends, and what it receives.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::measure::{Arrivals, Checker, Load, Receipts, Traffic};
use crate::rendezvous::{Left, Rendezvous};

/// Context that a contender is given for each of its servers.
pub struct Participant {
    rendezvous: Rendezvous,
    traffic: Traffic,
    receipts: Receipts,
    engine: Option<EngineCounts>,
    /// True if no other server is in this process.
    alone: bool,
}

/// Counts of the engine at one server, from its `stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCounts {
    /// Envelopes that the engine has taken for all peers.
    pub messages: u64,
    /// Segments sent.
    pub segments: u64,
    /// Sends to the kernel, each of which may carry several segments.
    pub sends: u64,
    /// Wake-ups of the event loop. Servers that share a loop count its wake-ups at the first of them.
    pub wake_ups: u64,
}

impl EngineCounts {
    /// Returns the sum of the counts of two servers.
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
    /// Returns the participant for one server of `traffic` at `rendezvous`.
    pub fn new(rendezvous: Rendezvous, traffic: Traffic) -> Self {
        let receipts = Receipts::of(&traffic, rendezvous.index());
        Self { rendezvous, traffic, receipts, engine: None, alone: false }
    }

    /// Returns the participant for a server that is alone in its process.
    pub fn alone(rendezvous: Rendezvous, traffic: Traffic) -> Self {
        Self { alone: true, ..Self::new(rendezvous, traffic) }
    }

    /// Number of the server, from 0.
    pub fn index(&self) -> usize {
        self.rendezvous.index()
    }

    /// Traffic of the run.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Load that is sent to each recipient.
    pub fn load(&self) -> Load {
        self.traffic.load
    }

    /// Numbers of the servers to which this server sends.
    pub fn recipients(&self) -> Vec<usize> {
        self.traffic.recipients(self.index())
    }

    /// Returns whether servers of this process share their loops.
    pub fn shares_loops(&self) -> bool {
        !self.alone && (self.traffic.loops.is_some() || self.traffic.servers() > 2)
    }

    /// Returns whether this is the slow consumer, which reads at most one message per millisecond.
    pub fn is_slow(&self) -> bool {
        self.traffic.slow() == Some(self.index())
    }

    /// Rendezvous at which the servers exchange their addresses.
    pub fn rendezvous(&mut self) -> &mut Rendezvous {
        &mut self.rendezvous
    }

    /// Tells the others the address of this server, and returns the addresses of all servers.
    pub fn meet(&mut self, own: String) -> Result<Vec<String>, Left> {
        self.rendezvous.exchange(own)
    }

    /// Receipts of this server.
    pub fn receipts(&mut self) -> &mut Receipts {
        &mut self.receipts
    }

    /// Returns the checker of the only sender, or an error if there is not exactly one sender.
    pub fn checker(&mut self) -> Result<&mut Checker, Box<dyn Error + Send + Sync>> {
        self.receipts.only().ok_or_else(|| "this server has not just one sender".into())
    }

    /// Returns the arrivals of each stream, or an error that names what did not arrive.
    pub fn arrivals(&self) -> Result<Vec<Arrivals>, String> {
        self.receipts.arrivals()
    }

    /// Stores the engine's counts.
    pub fn note(&mut self, counts: EngineCounts) {
        self.engine = Some(counts);
    }

    /// Counts of the engine, if the contender is one.
    pub fn engine(&self) -> Option<EngineCounts> {
        self.engine
    }
}
