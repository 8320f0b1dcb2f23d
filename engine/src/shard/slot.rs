//! A link in its server's table, with what its shard knows of it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::pinned::Pinned;
use super::timers::Entry;
use crate::driver::SocketId;
use crate::events::UntoldDrops;
use crate::link::{Link, Local, Pid, Undelivered};
use crate::stream::SendWindow;

/// A link with what the shard knows of it. The fields that are read of an idle one stand first and together, as in
/// [`Link`].
#[repr(C)]
pub(super) struct LinkSlot {
    /// The part of the shard's [sleep](super::Shard::slept) that the link knows of.
    slept: Duration,
    pub(super) dirty: bool,
    pub(super) polled: bool,
    /// Up, and whoever writes to one of its streams signals: nothing is to be sent but heartbeats.
    pub(super) asleep: bool,
    /// The last heartbeat was postponed, for the peer has not read those before.
    pub(super) postponed: bool,
    /// Nothing crosses: what is sent is lost, and what comes is not heard.
    pub(super) blocked: bool,
    /// The link is to be dialed when another dial has ended.
    pub(super) waits_to_dial: bool,
    /// Its peer was dialed before.
    pub(super) dialed: bool,
    /// Its last dial got no socket, for lack of descriptors or memory.
    pub(super) starved: bool,
    /// The connection that the link has, or is making.
    pub(super) socket: Option<SocketId>,
    /// The link's entry among the shard's timers.
    pub(super) timer: Option<Entry>,
    pub(super) link: Link,
    addresses: Vec<SocketAddr>,
    next_address: usize,
    pub(super) drops: UntoldDrops,
    pub(super) pinned: Pinned,
}

impl LinkSlot {
    /// A link that is new when the shard has [slept](super::Shard::slept) for so long.
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
            drops: UntoldDrops::default(),
            pinned: Pinned::default(),
            blocked: false,
        }
    }

    /// Tells the link how long this process did not run since it was last looked at.
    pub(super) fn shift_times(&mut self, slept: Duration) {
        if self.slept != slept {
            self.link.slept(slept - self.slept);
            self.slept = slept;
        }
    }

    /// The peer is to be found there.
    pub(super) fn move_to(&mut self, addresses: Vec<SocketAddr>) {
        (self.addresses, self.next_address) = (addresses, 0);
    }

    /// What is neither acknowledged nor dropped.
    pub(super) fn undelivered(&mut self) -> Undelivered {
        let streams = self.link.outgoing().iter_mut().map(SendWindow::unacknowledged);
        let (messages, bytes) = streams.fold((0, 0), |sum, stream| (sum.0 + stream.0, sum.1 + stream.1));
        Undelivered { pid: self.link.peer(), messages, bytes }
    }

    /// Returns whether the peer is to be found at this address, on whichever port.
    pub(super) fn is_at(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|each| each.ip().to_canonical() == address)
    }

    /// Where to dial next: a name may stand for several addresses, and each has its turn.
    pub(super) fn next_address(&mut self) -> Option<SocketAddr> {
        let address = *self.addresses.get(self.next_address % self.addresses.len().max(1))?;
        self.next_address += 1;
        Some(address)
    }
}
