//! Check of a server's events: they must be consistent with each other and with the history.

use std::collections::BTreeMap;

use super::history::{History, Life};
use crate::events::Event;
use crate::link::Pid;
use crate::wire::WireIncarnation;

/// Knowledge of one life of a server about its peers.
#[derive(Default)]
pub(super) struct Watch {
    peers: BTreeMap<usize, Peer>,
    /// Set while the last event said that connections cannot be accepted, or (`dial_failed`) that peers cannot be
    /// dialed.
    accept_failed: bool,
    dial_failed: bool,
    /// Set if events were missed since all of them were last read.
    missed: bool,
    /// Set once events were missed: a life of a peer may have come and gone without an event.
    has_missed: bool,
}

#[derive(Default)]
struct Peer {
    up: bool,
    /// Number of events that the peer is up or down.
    changes: u32,
    /// Life of the peer that was up last.
    life: Option<u32>,
    /// Life that was announced as restarted, and has not been up yet.
    announced: Option<u32>,
}

/// Every incarnation of the simulation, with its life.
pub(super) type Incarnations = BTreeMap<WireIncarnation, Life>;

/// Returns the pid of a server.
pub(super) fn pid_of(server: usize) -> Pid {
    100 * (server as Pid + 1)
}

/// Returns the server with a pid.
pub(super) fn server_of(pid: Pid) -> usize {
    (pid / 100) as usize - 1
}

impl Watch {
    /// Checks and records an event of server `me`.
    pub(super) fn told(&mut self, me: Life, event: &Event, incarnations: &Incarnations, history: &mut History) {
        let (missed, has_missed) = (self.missed, self.has_missed);
        match event {
            Event::Up { pid, incarnation } => {
                let peer = self.peer(*pid);
                let life = life_with(*pid, incarnation, incarnations);
                assert!(!peer.up || missed, "{me:?}: {pid} is up, and it was");
                if !has_missed && peer.life.is_some_and(|known| known != life) {
                    assert_eq!(peer.announced, Some(life), "{me:?}: {pid} is another one, and nobody said so");
                }
                (peer.up, peer.life, peer.announced) = (true, Some(life), None);
                peer.changes += 1;
            }
            Event::Down { pid, reason } => {
                let peer = self.peer(*pid);
                assert!(std::mem::take(&mut peer.up) || missed, "{me:?}: {pid} is down, and it was: {reason}");
                assert!(
                    !matches!(reason, crate::link::DownReason::Violation(_)),
                    "{me:?}: {pid} broke the protocol: {reason}"
                );
                peer.changes += 1;
            }
            Event::Restarted { pid, incarnation } => {
                let peer = self.peer(*pid);
                let life = life_with(*pid, incarnation, incarnations);
                assert!(!peer.up || missed, "{me:?}: {pid} was restarted, and is up");
                let is_later = missed || peer.life.map_or(has_missed, |known| known < life);
                assert!(is_later, "{me:?}: {pid} was restarted as {life}");
                peer.announced = Some(life);
            }
            Event::Reset { pid } => panic!("{me:?}: contradicts {pid}, and both are honest"),
            Event::Dropped { pid, count, .. } => {
                assert!(*count > 0, "{me:?}: nothing was dropped");
                history.gave_up(me, server_of(*pid), *count);
            }
            Event::Removed { pid } => self.peer(*pid).up = false,
            Event::Added { .. } | Event::Refused { .. } => {}
            Event::AcceptFailed { .. } => {
                assert!(!std::mem::replace(&mut self.accept_failed, true) || missed, "{me:?}: accepts fail again");
            }
            Event::AcceptResumed => {
                assert!(std::mem::take(&mut self.accept_failed) || missed, "{me:?}: accepts did not fail");
            }
            Event::DialFailed { .. } => {
                assert!(!std::mem::replace(&mut self.dial_failed, true) || missed, "{me:?}: dials fail again");
            }
            Event::DialResumed => {
                assert!(std::mem::take(&mut self.dial_failed) || missed, "{me:?}: dials did not fail");
            }
            Event::Missed { count } => {
                assert!(*count > 0, "{me:?}: no event was missed");
                (self.missed, self.has_missed) = (true, true);
            }
            // Expected: a few wakers and bodies panic, see `server.rs`.
            Event::CallbackPanicked { count, .. } => assert!(*count > 0, "{me:?}: no panic"),
            Event::EngineFailed { .. } | Event::EpollFallback { .. } => panic!("{me:?} is told {event:?}"),
        }
    }

    /// Records that all events were read.
    pub(super) fn has_read_all(&mut self) {
        self.missed = false;
    }

    /// Returns whether accepts and dials succeed, according to the events.
    pub(super) fn is_well(&self) -> bool {
        !self.accept_failed && !self.dial_failed
    }

    /// Returns whether the link to a peer is up, according to the events.
    pub(super) fn is_up(&self, peer: usize) -> bool {
        self.peers.get(&peer).is_some_and(|peer| peer.up)
    }

    /// Number of events that a peer is up or down.
    pub(super) fn changes_of(&self, peer: usize) -> u32 {
        self.peers.get(&peer).map_or(0, |peer| peer.changes)
    }

    /// Number of events that any peer is up or down.
    pub(super) fn changes(&self) -> u32 {
        self.peers.values().map(|peer| peer.changes).sum()
    }

    /// Returns the life of a peer that was up last.
    pub(super) fn life_of(&self, peer: usize) -> Option<u32> {
        self.peers.get(&peer).and_then(|peer| peer.life)
    }

    fn peer(&mut self, pid: Pid) -> &mut Peer {
        self.peers.entry(server_of(pid)).or_default()
    }
}

/// Returns the life of a peer that has this incarnation.
pub(super) fn life_with(pid: Pid, incarnation: &WireIncarnation, incarnations: &Incarnations) -> u32 {
    let (server, life) = incarnations.get(incarnation).copied().expect("somebody has this incarnation");
    assert_eq!(server, server_of(pid), "{pid} with the incarnation of {server}");
    life
}
