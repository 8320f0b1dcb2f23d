//! Slot of a link in its server's table, with the state that the shard keeps of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::pinned::Pinned;
use super::timers::Entry;
use crate::driver::SocketId;
use crate::events::UnreportedDrops;
use crate::link::{Link, Local, Pid, Undelivered};
use crate::stream::SendWindow;

/// Link with the state that the shard keeps of it. The fields that are read of an idle link come first, as in [`Link`].
#[repr(C)]
pub(super) struct LinkSlot {
    /// Part of the shard's [stopped time](super::Shard::slept) that the link has been told of.
    slept: Duration,
    pub(super) dirty: bool,
    pub(super) polled: bool,
    /// Set if the link is up, and the writers of its streams signal: only heartbeats are to be sent.
    pub(super) asleep: bool,
    /// Set if the last heartbeat was postponed because the peer had not read the previous ones.
    pub(super) postponed: bool,
    /// Set in a simulated partition: sent bytes are lost, and received bytes are ignored.
    pub(super) blocked: bool,
    /// Set if the link is to be dialed when another dial has ended.
    pub(super) waits_to_dial: bool,
    /// Set once the peer has been dialed.
    pub(super) dialed: bool,
    /// Set if the last dial got no socket, for lack of descriptors or memory.
    pub(super) starved: bool,
    /// Connection of the link, or the one being made.
    pub(super) socket: Option<SocketId>,
    /// Entry of the link in the shard's timers.
    pub(super) timer: Option<Entry>,
    pub(super) link: Link,
    addresses: Vec<SocketAddr>,
    next_address: usize,
    pub(super) drops: UnreportedDrops,
    pub(super) pinned: Pinned,
}

impl LinkSlot {
    /// Makes the slot of a new link. `slept`: the shard's present total of [stopped time](super::Shard::slept), which
    /// came before the link.
    pub(super) fn new(local: &Arc<Local>, pid: Pid, addresses: Vec<SocketAddr>, slept: Duration) -> LinkSlot {
        LinkSlot {
            link: Link::new(local.clone(), pid),
            addresses,
            next_address: 0,
            socket: None,
            timer: None,
            waits_to_dial: false,
            slept,
            dirty: false,
            polled: false,
            asleep: false,
            postponed: false,
            dialed: false,
            starved: false,
            drops: UnreportedDrops::default(),
            pinned: Pinned::default(),
            blocked: false,
        }
    }

    /// Tells the link how long this process did not run since the link was last used.
    pub(super) fn shift_times(&mut self, slept: Duration) {
        if self.slept != slept {
            self.link.slept(slept - self.slept);
            self.slept = slept;
        }
    }

    /// Replaces the addresses of the peer.
    pub(super) fn move_to(&mut self, addresses: Vec<SocketAddr>) {
        (self.addresses, self.next_address) = (addresses, 0);
    }

    /// Returns the envelopes that are neither acknowledged nor dropped.
    pub(super) fn undelivered(&mut self) -> Undelivered {
        let streams = self.link.outgoing().iter_mut().map(SendWindow::unacknowledged);
        let (messages, bytes) = streams.fold((0, 0), |sum, stream| (sum.0 + stream.0, sum.1 + stream.1));
        Undelivered { pid: self.link.peer(), messages, bytes }
    }

    /// Returns whether the peer has this address, on any port.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|each| each.ip().to_canonical() == address)
    }

    /// Returns the address to dial next. The peer's name may stand for several addresses, and each has its turn.
    pub(super) fn next_address(&mut self) -> Option<SocketAddr> {
        let address = *self.addresses.get(self.next_address % self.addresses.len().max(1))?;
        self.next_address += 1;
        Some(address)
    }
}
