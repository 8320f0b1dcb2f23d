//! Members of a mock cluster, and the state of their links.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_engine::mock::Switchboard;
use cluster_engine::{Event, Pid, Time};
use fastrand::Rng;

use super::cuts::Cuts;
use crate::{DownReason, Incarnation};

/// Members of a mock cluster, running or not.
pub(super) struct Members {
    /// Time of silence after which a peer counts as down.
    pub(super) peer_timeout: Duration,
    members: BTreeMap<Pid, Member>,
    /// Number of starts of all servers together.
    starts: u32,
    /// Pairs of servers that cannot reach each other, or that have not been told yet that they can again. The lower pid
    /// is first.
    apart: BTreeMap<(Pid, Pid), Apart>,
}

#[derive(Default)]
struct Member {
    /// Number of the server's last start, counted over all servers.
    start: u32,
    incarnation: Incarnation,
    /// Start number that each peer had at the last link with it.
    met: BTreeMap<Pid, u32>,
}

#[derive(Clone, Copy)]
struct Apart {
    since: Duration,
    /// Tells if both servers know that the link is down, or if they never had one.
    is_down: bool,
}

impl Members {
    pub(super) fn new(peer_timeout: Duration) -> Members {
        Members { peer_timeout, members: BTreeMap::new(), starts: 0, apart: BTreeMap::new() }
    }

    /// Adds a server. Returns `true` if it was not a member.
    pub(super) fn add(&mut self, pid: Pid) -> bool {
        let before = self.members.len();
        self.members.entry(pid).or_default();
        self.members.len() > before
    }

    /// Removes a server.
    pub(super) fn remove(&mut self, pid: Pid) {
        self.members.remove(&pid);
        self.apart.retain(|(one, other), _| *one != pid && *other != pid);
    }

    pub(super) fn contains(&self, pid: Pid) -> bool {
        self.members.contains_key(&pid)
    }

    /// Pids of all servers, ascending.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.members.keys().copied()
    }

    /// Pids of all servers but this one, ascending.
    pub(super) fn peers_of(&self, pid: Pid) -> Vec<Pid> {
        self.pids().filter(|peer| *peer != pid).collect()
    }

    /// Number of the server's last start; 0 if it was never started.
    pub(super) fn start_of(&self, pid: Pid) -> u32 {
        self.members.get(&pid).map_or(0, |member| member.start)
    }

    /// Draws the incarnation of a server that starts.
    pub(super) fn draw_incarnation(&mut self, pid: Pid, rng: &mut Rng) -> Incarnation {
        let member = self.members.entry(pid).or_default();
        self.starts += 1;
        member.start = self.starts;
        rng.fill(&mut member.incarnation);
        member.met.clear();
        member.incarnation
    }

    /// Incarnation of the server's present run, or of its last one.
    pub(super) fn incarnation_of(&self, pid: Pid) -> Incarnation {
        self.members.get(&pid).map_or([0; 16], |member| member.incarnation)
    }

    /// Brings up the links of a server that has started to all servers that it can reach.
    pub(super) fn started(&mut self, pid: Pid, now: Duration, switchboard: &mut Switchboard, cuts: &Cuts) {
        for peer in switchboard.running().filter(|peer| *peer != pid).collect::<Vec<_>>() {
            if cuts.apart(pid, peer) {
                self.apart.entry(pair(pid, peer)).or_insert(Apart { since: now, is_down: true });
            } else {
                self.apart.remove(&pair(pid, peer));
                self.up(pid, peer, now, switchboard);
            }
        }
    }

    /// Reports the end of a server to its peers: at once to those that it can reach. The others detect its silence.
    pub(super) fn stopped(
        &mut self,
        pid: Pid,
        reason: DownReason,
        now: Duration,
        switchboard: &mut Switchboard,
        cuts: &Cuts,
    ) {
        for peer in switchboard.running().collect::<Vec<_>>() {
            if !cuts.apart(pid, peer) {
                switchboard.tell(peer, Event::Down { pid, reason: reason.clone() }, at(now));
            }
        }
    }

    /// Follows a change of reachability. Returns `true` if some pairs are newly apart: they will notice when
    /// `peer_timeout` is over.
    pub(super) fn cuts_changed(&mut self, now: Duration, switchboard: &mut Switchboard, cuts: &Cuts) -> bool {
        let mut new = false;
        let running: Vec<Pid> = switchboard.running().collect();
        if !cuts.is_empty() {
            for (index, &one) in running.iter().enumerate() {
                for &other in running[index + 1..].iter().filter(|other| cuts.apart(one, **other)) {
                    self.apart.entry((one, other)).or_insert_with(|| {
                        new = true;
                        Apart { since: now, is_down: false }
                    });
                }
            }
        }
        let together: Vec<(Pid, Pid)> =
            self.apart.keys().filter(|(one, other)| !cuts.apart(*one, *other)).copied().collect();
        for (one, other) in together {
            let was_down = self.apart.remove(&(one, other)).is_some_and(|apart| apart.is_down);
            let new_incarnation = self.is_news(one, other) || self.is_news(other, one);
            if (was_down || new_incarnation) && switchboard.is_running(one) && switchboard.is_running(other) {
                self.up(one, other, now, switchboard);
            }
        }
        new
    }

    /// Reports links as down that have been cut for `peer_timeout`. A server that hears nothing reports silence. A
    /// server that still hears its peer sees the peer close the connection.
    pub(super) fn notice(&mut self, now: Duration, switchboard: &mut Switchboard, cuts: &Cuts) {
        let timeout = self.peer_timeout;
        for ((one, other), apart) in &mut self.apart {
            if apart.is_down || now.saturating_sub(apart.since) < timeout {
                continue;
            }
            apart.is_down = true;
            for (pid, peer) in [(*one, *other), (*other, *one)] {
                let silent = cuts.between(peer, pid) || !switchboard.is_running(peer);
                let reason = if silent { DownReason::Silent } else { DownReason::Closed };
                switchboard.tell(pid, Event::Down { pid: peer, reason }, at(now));
            }
        }
    }

    /// Tells both servers that their link is up.
    fn up(&mut self, one: Pid, other: Pid, now: Duration, switchboard: &mut Switchboard) {
        for (pid, peer) in [(one, other), (other, one)] {
            self.tell_up(pid, peer, now, switchboard);
        }
    }

    /// Links a server to a peer that it had removed and has added again, if it can reach the peer.
    pub(super) fn meets_again(
        &mut self,
        pid: Pid,
        peer: Pid,
        now: Duration,
        switchboard: &mut Switchboard,
        cuts: &Cuts,
    ) {
        if switchboard.is_running(peer) && !cuts.apart(pid, peer) {
            self.tell_up(pid, peer, now, switchboard);
        }
    }

    fn tell_up(&mut self, pid: Pid, peer: Pid, now: Duration, switchboard: &mut Switchboard) {
        let Some(Member { start, incarnation, .. }) = self.members.get(&peer) else { return };
        let (start, incarnation) = (*start, *incarnation);
        let Some(member) = self.members.get_mut(&pid) else { return };
        if member.met.insert(peer, start).is_some_and(|before| before != start) {
            switchboard.tell(pid, Event::Restarted { pid: peer, incarnation }, at(now));
        }
        switchboard.tell(pid, Event::Up { pid: peer, incarnation }, at(now));
    }

    /// Returns whether the peer has been restarted since its last link with the server, or never had one.
    fn is_news(&self, pid: Pid, peer: Pid) -> bool {
        self.members.get(&pid).is_some_and(|member| member.met.get(&peer) != Some(&self.start_of(peer)))
    }
}

/// Converts a time of the mock cluster to the engine's clock.
pub(super) fn at(now: Duration) -> Time {
    Time::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

fn pair(one: Pid, other: Pid) -> (Pid, Pid) {
    (one.min(other), one.max(other))
}
