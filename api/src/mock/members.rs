//! Who belongs to the cluster, and which links are up.

use std::collections::BTreeMap;
use std::time::Duration;

use cluster_engine::mock::Switchboard;
use cluster_engine::{Event, Pid, Time};

use super::cuts::Cuts;
use super::rng::Rng;
use crate::{DownReason, Incarnation};

/// The servers of a mock cluster, running or not.
pub(super) struct Members {
    /// How long silence lasts before a peer counts as down.
    pub(super) peer_timeout: Duration,
    members: BTreeMap<Pid, Member>,
    /// How many times a server was started.
    starts: u32,
    /// Pairs that do not reach each other, or have not yet been told that they do again. The lower pid stands first.
    apart: BTreeMap<(Pid, Pid), Apart>,
}

#[derive(Default)]
struct Member {
    /// The number of its last start among all.
    start: u32,
    incarnation: Incarnation,
    /// The incarnation of each peer with which it had its last link.
    met: BTreeMap<Pid, u32>,
}

#[derive(Clone, Copy)]
struct Apart {
    since: Duration,
    /// Whether they have been told, or never had a link.
    is_down: bool,
}

impl Members {
    pub(super) fn new(peer_timeout: Duration) -> Members {
        Members { peer_timeout, members: BTreeMap::new(), starts: 0, apart: BTreeMap::new() }
    }

    /// Adds a server. `true`: it is new.
    pub(super) fn add(&mut self, pid: Pid) -> bool {
        let before = self.members.len();
        self.members.entry(pid).or_default();
        self.members.len() > before
    }

    /// Takes a server out.
    pub(super) fn remove(&mut self, pid: Pid) {
        self.members.remove(&pid);
        self.apart.retain(|(one, other), _| *one != pid && *other != pid);
    }

    pub(super) fn contains(&self, pid: Pid) -> bool {
        self.members.contains_key(&pid)
    }

    /// All servers, ascending.
    pub(super) fn pids(&self) -> impl Iterator<Item = Pid> {
        self.members.keys().copied()
    }

    /// All servers but this one, ascending.
    pub(super) fn peers_of(&self, pid: Pid) -> Vec<Pid> {
        self.pids().filter(|peer| *peer != pid).collect()
    }

    /// The number of the server's last start; none has 0.
    pub(super) fn start_of(&self, pid: Pid) -> u32 {
        self.members.get(&pid).map_or(0, |member| member.start)
    }

    /// Draws the incarnation of a server that starts.
    pub(super) fn draw_incarnation(&mut self, pid: Pid, rng: &mut Rng) -> Incarnation {
        let member = self.members.entry(pid).or_default();
        self.starts += 1;
        member.start = self.starts;
        member.incarnation[..8].copy_from_slice(&rng.next().to_le_bytes());
        member.incarnation[8..].copy_from_slice(&rng.next().to_le_bytes());
        member.met.clear();
        member.incarnation
    }

    /// The server's present incarnation, or its last one.
    pub(super) fn incarnation_of(&self, pid: Pid) -> Incarnation {
        self.members.get(&pid).map_or([0; 16], |member| member.incarnation)
    }

    /// A server runs from now on; it has links to whom it reaches.
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

    /// A server does not run any more. Whom it reaches learns it at once, the others by its silence.
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

    /// Who reaches whom has changed. `true`: some pairs are apart now, and will notice when `peer_timeout` is over.
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

    /// Who has been apart for long enough learns it: by silence if it hears nothing, else by the end of the connection that the
    /// other one, who hears nothing, has closed.
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

    /// Both are told that their link is up.
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

    /// Whether the peer has been restarted since the server had a link with it, or they never had one.
    fn is_news(&self, pid: Pid, peer: Pid) -> bool {
        self.members.get(&pid).is_some_and(|member| member.met.get(&peer) != Some(&self.start_of(peer)))
    }
}

/// The moment on the engine's clock.
pub(super) fn at(now: Duration) -> Time {
    Time::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}

fn pair(one: Pid, other: Pid) -> (Pid, Pid) {
    (one.min(other), one.max(other))
}
