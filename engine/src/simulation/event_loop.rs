//! Event loop of a process: the real shard, which takes a turn whenever a real loop would wake.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use super::driver::{SimulatedDriver, SimulatedWait};
use super::network::Network;
use super::network::flood;
use super::plan::Plan;
use super::timetable::Happening;
use crate::driver::{ChunkPool, Driver, LocalRegistry, LocalTransport, Wait, take_spent};
use crate::mailbox::{Mailbox, Ready};
use crate::runtime::LoopHandle;
use crate::shard::{BegunTurn, Shard, WhenIdle, chunk_pool};
use crate::testing::one_in;
use crate::{clock::Clock, time::Time};

/// Longest time, in nanoseconds, until a loop that is to take a turn begins with it.
const TURN_NANOS: u64 = 5_000;

/// Event loop of a process.
pub(super) struct EventLoop {
    pub(super) process: usize,
    pub(super) loop_handle: LoopHandle,
    pub(super) shard: Shard<LocalTransport<SimulatedDriver>>,
    /// Registry of the servers of this process that are reached through memory.
    pub(super) registry: Arc<LocalRegistry>,
    /// Index of this loop in the registry.
    pub(super) shard_index: usize,
    /// Time that an operation of a turn takes, in nanoseconds.
    operation_nanos: u64,
    /// Time that a turn takes besides its operations.
    pub(super) turn: Duration,
    /// End of the last turn.
    busy_until: Time,
    /// Chunks of what is sent through memory. They are apart from the receive buffers, so that each pool has its own
    /// bound.
    pub(super) sent: Arc<ChunkPool>,
    network: Rc<RefCell<Network>>,
    mailbox: Arc<Mailbox>,
    state: State,
    waits: u64,
    worked: bool,
    /// Time before which the loop takes no turn, because the process is paused.
    pub(super) paused_until: Time,
    pub(super) turns: u64,
}

enum State {
    /// A turn is on the timetable.
    Due(Option<BegunTurn<SimulatedWait>>),
    Waits(BegunTurn<SimulatedWait>),
}

impl EventLoop {
    /// Starts the event loops of a process on a machine. Their servers connect through memory.
    pub(super) fn start(network: &Rc<RefCell<Network>>, machine: usize, plan: &Plan) -> Vec<EventLoop> {
        let drivers = (0..plan.loops).map(|_| {
            let process = network.borrow_mut().start_process(machine);
            (process, SimulatedDriver::new(network.clone(), process))
        });
        let drivers: Vec<(usize, SimulatedDriver)> = drivers.collect();
        let registry = LocalRegistry::new(drivers.iter().map(|(_, driver)| driver.notifier()));
        let event_loop =
            |(shard_index, (process, driver))| EventLoop::new(network, process, driver, &registry, shard_index, plan);
        drivers.into_iter().enumerate().map(event_loop).collect()
    }

    fn new(
        network: &Rc<RefCell<Network>>,
        process: usize,
        driver: SimulatedDriver,
        registry: &Arc<LocalRegistry>,
        shard_index: usize,
        plan: &Plan,
    ) -> EventLoop {
        let sent = chunk_pool();
        let window = network.borrow().weather.buffer_bytes;
        let mut shard =
            Shard::new(LocalTransport::new(driver, registry.clone(), shard_index, sent.clone(), window), chunk_pool());
        shard.limit_dials(plan.dials);
        if plan.flood {
            shard.limit_strangers(flood::ADMITTED);
        }
        let mailbox = shard.mailbox().clone();
        let mut event_loop = EventLoop {
            process,
            loop_handle: LoopHandle::without_loop(mailbox.clone(), Clock::start(), None),
            shard,
            registry: registry.clone(),
            shard_index,
            sent,
            operation_nanos: plan.operation_nanos,
            turn: Duration::ZERO,
            busy_until: Time::default(),
            network: network.clone(),
            mailbox,
            state: State::Due(None),
            waits: 0,
            worked: false,
            paused_until: Time::default(),
            turns: 0,
        };
        event_loop.turn_soon();
        event_loop
    }

    fn turn_soon(&mut self) {
        let mut network = self.network.borrow_mut();
        let lag = Duration::from_nanos(network.random.u64(1..=TURN_NANOS));
        let at = (network.now() + lag).max(self.busy_until).max(self.paused_until);
        network.timetable.at(at, Happening::Turns { process: self.process });
    }

    /// Ends the wait if there is something to do.
    pub(super) fn look(&mut self) {
        if matches!(self.state, State::Waits(_))
            && (!self.mailbox.is_asleep() || self.network.borrow().has_done(self.process))
        {
            self.wake();
        }
    }

    /// Ends wait number `wait` because its time is over. Does nothing if that wait has ended already.
    pub(super) fn alarm(&mut self, wait: u64) {
        if matches!(self.state, State::Waits(_)) && wait == self.waits {
            self.wake();
        }
    }

    fn wake(&mut self) {
        self.state = match std::mem::replace(&mut self.state, State::Due(None)) {
            State::Waits(begun) => State::Due(Some(begun)),
            due => due,
        };
        self.turn_soon();
    }

    /// Runs one turn of the loop, in the order of `runtime/loop_handle.rs`.
    pub(super) fn turn(&mut self, random: &mut Rng) {
        if self.network.borrow().now() < self.paused_until {
            return self.turn_soon();
        }
        take_spent();
        if let State::Due(begun) = &mut self.state
            && let Some(begun) = begun.take()
        {
            self.worked = self.shard.finish(begun).expect("a driver that does not break");
            self.shard.check_bounds();
            self.shard.check_progress();
            self.shard.check_memory();
        }
        self.turns += 1;
        // At random, a loop that has worked spins instead of waiting.
        let idle = if self.worked && one_in(random, 4) { WhenIdle::Return } else { WhenIdle::Park(None) };
        let mut begun = self.shard.begin(idle);
        let operations = Duration::from_nanos(take_spent() * self.operation_nanos);
        self.busy_until = self.network.borrow().now() + self.turn + operations;
        let wait = begun.entry.take().map_or(Wait::No, |entry| entry.0);
        if !begun.waits || wait == Wait::No {
            self.state = State::Due(Some(begun));
            return self.turn_soon();
        }
        assert!(!self.shard.polls(), "a loop sleeps whose streams are written to without a signal");
        self.state = State::Waits(begun);
        self.waits += 1;
        if let Wait::Until(until) = wait {
            let mut network = self.network.borrow_mut();
            // The wait may end a little early.
            let early = if one_in(random, 8) { random.u64(..2000) } else { 0 };
            let at = Time::from_nanos(until.as_nanos() - early).max(network.now() + Duration::from_nanos(1));
            network.timetable.at(at, Happening::Alarm { process: self.process, wait: self.waits });
        }
    }

    /// Returns whether the loop waits, and was not notified since.
    pub(super) fn is_asleep(&self) -> bool {
        matches!(self.state, State::Waits(_)) && self.mailbox.is_asleep()
    }

    /// Does what [`LoopHandle`] does after a write to a sleeping loop that has to be signalled: the writer's thread
    /// sends, if it can, and the loop sleeps on.
    pub(super) fn try_from_outside(&mut self) {
        let mut ready: Vec<Ready> = std::iter::from_fn(|| self.mailbox.next_ready()).collect();
        if let [Ready::Link(key)] = ready[..]
            && self.shard.send_from_outside(key)
        {
            ready.clear();
        }
        match ready.is_empty() {
            true => drop(self.mailbox.fall_asleep()),
            false => ready.into_iter().for_each(|each| self.mailbox.ready(each)),
        }
    }

    /// Returns the number of envelopes that each peer of a server has acknowledged, as far as the loop knows.
    pub(super) fn acknowledged(&mut self, node: u32) -> Vec<(crate::link::Pid, u64)> {
        self.shard.account(node).into_iter().map(|account| (account.pid, account.acknowledged)).collect()
    }

    pub(super) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }
}
