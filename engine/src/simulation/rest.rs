//! End of a simulation: everything comes to rest after the last fault, and every promise is checked.

use std::time::Duration;

use super::event_loop::EventLoop;
use super::network::replays::CALM_PAUSE_MS;
use super::timetable::Happening;
use super::trace::Action;
use super::watch::pid_of;
use super::world::World;

/// Time within which everything arrives after the last fault.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time within which an envelope over a link that is up arrives and is acknowledged.
const PROMPT: Duration = Duration::from_millis(400);
/// Most turns of idle loops in a second, for each link.
const IDLE_TURNS: u64 = 40;

impl World {
    /// Runs the simulation: first with faults, then without, then at rest.
    pub(super) fn run(&mut self) {
        let pause = Duration::from_millis(self.random.u64(..self.plan.fault_pause_ms * 2));
        self.after(pause, Happening::Fault);
        self.run_for(self.plan.chaos);
        self.become_calm();
        let patience = self.network.borrow().now() + PATIENCE;
        while !self.is_quiet() {
            let goes_on = self.step(patience);
            assert!(goes_on, "not everything is delivered and acknowledged: {}", self.describe());
        }
        self.record(&Action::AllHasArrived);
        self.network.borrow_mut().end_flood();
        // Time in which late connections, and dead ones that were not noticed yet, come to their end.
        self.run_for(Duration::from_secs(8));
        self.check_replays();
        self.check_idleness();
        self.check_promptness();
        self.check_accounts();
    }

    fn run_for(&mut self, time: Duration) {
        let end = self.network.borrow().now() + time;
        while self.step(end) {}
    }

    fn become_calm(&mut self) {
        self.record(&Action::FaultsEnd);
        self.calm = true;
        self.plan.pace_nanos = self.plan.pace_nanos.min(1_000_000);
        self.network.borrow_mut().calm();
        self.network.borrow_mut().end_replays();
        for event_loop in self.loops.iter_mut().flatten() {
            event_loop.paused_until = crate::time::Time::default();
        }
        for server in 0..self.plan.servers {
            self.start(server);
            for peer in (0..self.plan.servers).filter(|peer| *peer != server) {
                self.add_peer(server, peer);
            }
        }
        self.look_around();
    }

    fn is_quiet(&mut self) -> bool {
        self.servers.iter_mut().all(|server| {
            server.as_mut().is_some_and(|server| {
                server.stopping.is_none()
                    && server.removing.is_empty()
                    && server.has_written_all()
                    && !server.wants_to_read()
                    && server.is_flushed()
            })
        }) && self.pairs().all(|(from, to)| self.outstanding(from, to) == 0)
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let servers = self.plan.servers;
        (0..servers).flat_map(move |from| (0..servers).map(move |to| (from, to))).filter(|(from, to)| from != to)
    }

    /// Returns the number of envelopes that are still to arrive on the present link, without those that may be dropped.
    fn outstanding(&self, from: usize, to: usize) -> u64 {
        let Some(server) = &self.servers[from] else { return 1 };
        let link = server.outboxes.roster.link_of(pid_of(to));
        self.history.missing(server.me, to, link, false)
    }

    fn changes(&self) -> u32 {
        self.servers.iter().flatten().map(|server| server.watch.changes()).sum()
    }

    /// Replays all recordings to connected servers, and asserts that links which are up stay up. A link that is down
    /// may take a replay for its peer. It dials that peer afterwards, and stays up.
    fn check_replays(&mut self) {
        if self.plan.replay_pause_ms == 0 {
            return;
        }
        // Of each pair: whether its link is up, and the number of events so far.
        let links = |world: &World| -> Vec<((usize, usize), bool, u32)> {
            let link = |(from, to): (usize, usize)| {
                let watch = &world.servers[from].as_ref()?.watch;
                Some(((from, to), watch.is_up(to), watch.changes_of(to)))
            };
            world.pairs().filter_map(link).collect()
        };
        let before = links(self);
        self.record(&Action::ReplaysBegin);
        self.network.borrow_mut().begin_replays(CALM_PAUSE_MS);
        self.run_for(Duration::from_secs(3));
        self.network.borrow_mut().end_replays();
        self.run_for(Duration::from_secs(3));
        for ((pair, was_up, changes), (same, is_up, now)) in before.into_iter().zip(links(self)) {
            let most = match (was_up, is_up) {
                (true, true) | (false, false) => 0,
                (false, true) => 1,
                (true, false) => panic!("a replay ends the link of {pair:?}: {}", self.describe()),
            };
            assert!(
                same == pair && (now - changes <= most || self.plan.misses_events()),
                "replays are noticed: the link of {pair:?} has changed {} times, at most {most} times expected: {}",
                now - changes,
                self.describe()
            );
        }
    }

    /// Asserts that links keep their states, and that loops do no more than keep the links up.
    fn check_idleness(&mut self) {
        let seconds = 4;
        let (changes, turns) = (self.changes(), self.turns());
        self.run_for(Duration::from_secs(seconds));
        assert_eq!(self.changes(), changes, "idle links do not stay as they are: {}", self.describe());
        let most = IDLE_TURNS * seconds * self.pairs().count() as u64;
        let turned = self.turns() - turns;
        assert!(turned <= most, "idle loops turned {turned} times, at most {most} were to be expected");
        for server in self.servers.iter().flatten() {
            assert!(server.watch.is_well(), "{:?} was not told that accepts and dials go well again", server.me);
        }
        for (from, to) in self.pairs() {
            let up =
                |one: usize, other: usize| self.servers[one].as_ref().is_some_and(|server| server.watch.is_up(other));
            assert_eq!(up(from, to), up(to, from), "{from} and {to} do not agree whether they are connected");
            assert!(!self.plan.eager || up(from, to), "{from} and {to} are not connected: {}", self.describe());
            let met = self.servers[from].as_ref().and_then(|server| server.watch.life_of(to));
            assert!(!up(from, to) || met == Some(self.lives[to]), "{from} believes in life {met:?} of {to}");
        }
    }

    fn turns(&self) -> u64 {
        self.loops.iter().flatten().map(|event_loop: &EventLoop| event_loop.turns).sum()
    }

    /// Asserts that new envelopes arrive and are acknowledged soon.
    fn check_promptness(&mut self) {
        let all_up =
            self.pairs().all(|(from, to)| self.servers[from].as_ref().is_some_and(|server| server.watch.is_up(to)));
        for server in self.servers.iter_mut().flatten() {
            server.owe(2);
        }
        self.look_around();
        self.run_for(Duration::from_millis(20));
        self.servers.iter_mut().flatten().for_each(super::server::Server::request_ack);
        // Links that are down have to connect first.
        self.run_for(if all_up { PROMPT } else { PROMPT * 8 });
        assert!(self.is_quiet(), "slow: {}", self.describe());
    }

    fn check_accounts(&mut self) {
        for (from, to) in self.pairs() {
            let Some(server) = &self.servers[from] else { continue };
            let (me, node) = (server.me, server.node);
            let parted = self.parted.contains(&(from, to)) || self.parted.contains(&(to, from));
            let exactly = !parted && self.lives[to] == 1;
            self.history.check_account(me, to, pid_of(to), exactly);
            let place = self.loop_of(from);
            let Some(event_loop) = &mut self.loops[place] else { continue };
            let links = event_loop.acknowledged(node).into_iter().filter(|(pid, _)| *pid == pid_of(to));
            let acknowledged: u64 = links.map(|(_, acknowledged)| acknowledged).sum();
            let (written, given_up) = (self.history.written(me, to), self.history.given_up(me, to));
            assert_eq!(
                written,
                acknowledged + given_up,
                "{me:?} to {to}: acknowledged {acknowledged}, gave up {given_up}"
            );
        }
        for me in std::mem::take(&mut self.stopped) {
            for to in (0..self.plan.servers).filter(|to| *to != me.0) {
                self.history.check_account(me, to, pid_of(to), false);
            }
        }
    }

    pub(super) fn describe(&mut self) -> String {
        let mut text = String::new();
        for index in 0..self.servers.len() {
            let place = self.loop_of(index);
            let Some(server) = &mut self.servers[index] else { continue };
            text += &server.describe();
            text += &self.loops[place].as_mut().map_or_else(String::new, |each| each.shard.describe(server.node));
        }
        text
    }
}
