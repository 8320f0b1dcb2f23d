//! Peers of a server on the switchboard, and what it is told of them.

use super::Switchboard;
use crate::events::{Event, LinkState, PeerState};
use crate::link::Pid;
use crate::time::Time;

impl Switchboard {
    /// Wakes the applications whose inboxes have received something since the last call.
    pub fn wake(&mut self) {
        for place in self.touched.drain(..) {
            if let Some(Some(server)) = self.servers.get_mut(place as usize) {
                server.inbox.wake();
            }
        }
    }

    /// Reports an event to a server.
    pub fn tell(&mut self, pid: Pid, event: Event, now: Time) {
        let Some(server) = self.server(pid) else { return };
        if let Event::Up { pid, .. } | Event::Down { pid, .. } | Event::Restarted { pid, .. } = &event {
            server.counts.entry(*pid).or_default().unreported.begin_anew();
        }
        if let Event::Up { pid, incarnation } = &event
            && let Some(link) = server.outboxes.roster.link_of(*pid)
        {
            server.outboxes.roster.set_incarnation(link, *incarnation);
        }
        server.events.push(event, now);
    }

    /// Adds a peer to a running server.
    pub fn meet(&mut self, pid: Pid, peer: Pid, now: Time) {
        if let Some(server) = self.server(pid) {
            server.events.meet(peer, now);
        }
    }

    /// Removes a peer from a running server.
    pub fn part(&mut self, pid: Pid, peer: Pid) {
        if let Some(server) = self.server(pid) {
            server.events.part(peer);
        }
    }

    /// Returns the state of the link from a server to a peer. `None` if the server does not run.
    pub fn peer_state(&mut self, pid: Pid, peer: Pid, now: Time) -> Option<PeerState> {
        let events = &self.server(pid)?.events;
        events.meet(peer, now);
        let mut state = events.peer_state(peer, now)?;
        if state.link == LinkState::Idle {
            // An idle peer is one that cannot be reached: the mock links all others at once, and reports `Event::Up`.
            state.link = LinkState::Connecting;
        }
        Some(state)
    }
}
