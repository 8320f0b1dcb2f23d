//! Handles of event loops: for the thread that runs a loop, and for the threads that reach it from outside.
//!
//! A [`LoopHandle`] has three kinds: a loop with a thread of its own, a loop that the caller turns, and a
//! [`VirtualClock`] in the place of a loop, for `cluster::mock` under virtual time. The kinds differ where a call
//! waits, never where an envelope is pushed or popped.
//!
//! The thread of a loop gives up the mutex of its shard only while it waits in the kernel. An application whose loop
//! sleeps can therefore send from its own thread (`Shard::send_from_outside`).

use std::io;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::failure::{Failure, LoopFailed};
use super::inline::{Inline, Owned};
use super::virtual_clock::VirtualClock;
use super::{IdleStrategy, Step};
use crate::callback::{caught, panic_message};
use crate::driver::{AnyDriver, Entry, LocalTransport};
use crate::link::Undelivered;
use crate::mailbox::{Alarm, Command, Mailbox, Ready};
use crate::roster::LinkKey;
use crate::shard::{Shard, WhenIdle};
use crate::{clock::Clock, time::Time};

/// Most turns of a call that turns the loop beside its reactor.
const TURNS: usize = 4;

/// An event loop over sockets, whose servers also reach each other through memory.
pub(crate) type Loop = Shard<LocalTransport<AnyDriver>>;

/// State of a loop. The loop's thread holds the lock, except while it waits in the kernel. `None` once the loop has
/// ended or failed.
type Shared = Mutex<Option<Loop>>;

/// Result of a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Worked,
    Idle,
    Finished,
}

/// Takes one turn of a loop. While the turn waits in the kernel, other threads can lock the shard.
#[inline]
fn turn(shared: &Shared, idle: WhenIdle) -> io::Result<Turn> {
    let mut guard = shared.lock().map_err(poisoned)?;
    let Some(shard) = guard.as_mut() else { return Ok(Turn::Finished) };
    let mut begun = shard.begin(idle);
    let worked = match begun.entry.take() {
        Some(entry) if begun.waits => {
            drop(guard);
            let entered = entry.enter();
            guard = shared.lock().map_err(poisoned)?;
            let Some(shard) = guard.as_mut() else { return Ok(Turn::Finished) };
            let worked = shard.finish(begun);
            entered.and(worked)?
        }
        Some(entry) => {
            let entered = entry.enter();
            let worked = shard.finish(begun);
            entered.and(worked)?
        }
        None => shard.finish(begun)?,
    };
    let finished = guard.as_ref().is_none_or(Shard::is_finished);
    Ok(match worked {
        _ if finished => Turn::Finished,
        true => Turn::Worked,
        false => Turn::Idle,
    })
}

/// Makes the error for a shard in an unknown state: another thread panicked while it used the shard.
#[cold]
fn poisoned<T>(_: PoisonError<T>) -> io::Error {
    io::Error::other("an application's thread panicked while it used the loop")
}

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Loop>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handle of a server's event loop. It reaches the loop, and turns it if the loop is inline.
#[derive(Clone)]
pub struct LoopHandle {
    mailbox: Arc<Mailbox>,
    shard: Arc<Shared>,
    /// Descriptor for the reactor that turns the loop, if one does.
    reactor: Option<Arc<OwnedFd>>,
    inline: Option<Arc<Inline>>,
    failure: Arc<Failure>,
    idle: IdleStrategy,
    clock: Clock,
}

impl LoopHandle {
    /// Starts a thread named `name` that runs the loop.
    pub(crate) fn start(
        shard: Loop,
        idle: IdleStrategy,
        clock: Clock,
        name: String,
    ) -> io::Result<(LoopHandle, JoinHandle<()>)> {
        let loop_handle = LoopHandle::new(shard, None, idle, clock);
        let of_thread = loop_handle.clone();
        let thread = thread::Builder::new().name(name).spawn(move || of_thread.run())?;
        Ok((loop_handle, thread))
    }

    /// Runs a loop on its own thread, until it finishes or fails.
    fn run(&self) {
        let mut backoff = super::Backoff::new(self.idle);
        loop {
            let step = backoff.step();
            let how = if step == Step::Park { WhenIdle::Park(None) } else { WhenIdle::Return };
            match self.try_turn(how) {
                Some(Turn::Worked) => backoff.worked(),
                Some(Turn::Idle) => backoff.rest(step),
                Some(Turn::Finished) => break,
                None => return,
            }
        }
        // The shard is dropped here, because its ring belongs to this thread.
        self.end();
    }

    /// Takes a turn. Returns `None` if the loop has failed.
    #[inline]
    fn try_turn(&self, idle: WhenIdle) -> Option<Turn> {
        match catch_unwind(AssertUnwindSafe(|| turn(&self.shard, idle))) {
            Ok(Ok(turn)) => Some(turn),
            Ok(Err(error)) => {
                self.fail(&error.to_string());
                None
            }
            Err(panic) => {
                self.fail(&format!("a panic: {}", panic_message(panic)));
                None
            }
        }
    }

    /// Ends the loop and its servers, with this reason.
    #[cold]
    fn fail(&self, message: &str) {
        if !self.failure.set(message) {
            return;
        }
        let mut shard = lock(&self.shard).take();
        let undelivered = caught(|| shard.as_mut().map(|shard| shard.fail(message, self.time_in(Duration::ZERO))));
        self.failure.account(undelivered.ok().flatten().unwrap_or_default());
        // The streams and inboxes end with the shard, and all threads that wait for them are woken.
        let _ = caught(|| drop(shard));
        self.mailbox.close();
    }

    /// Makes the handle of a loop that a reactor turns. `descriptor` is that of the loop's driver.
    pub(crate) fn for_reactor(shard: Loop, descriptor: OwnedFd, idle: IdleStrategy, clock: Clock) -> LoopHandle {
        LoopHandle { reactor: Some(Arc::new(descriptor)), ..LoopHandle::new(shard, None, idle, clock) }
    }

    /// Descriptor for the reactor that turns the loop, if one does.
    pub(super) fn reactor_descriptor(&self) -> Option<&Arc<OwnedFd>> {
        self.reactor.as_ref()
    }

    /// Takes a turn for a reactor. Returns whether there may be more to do at once, and the time of the next timer;
    /// `None` once the loop has finished.
    ///
    /// # Errors
    /// When the loop has failed.
    pub(super) fn poll_shard(&self) -> Result<Option<(bool, Option<Instant>)>, LoopFailed> {
        let polled = catch_unwind(AssertUnwindSafe(|| {
            let mut guard = self.shard.lock().map_err(poisoned)?;
            let Some(shard) = guard.as_mut().filter(|shard| !shard.is_finished()) else { return Ok(None) };
            let worked = shard.poll()?;
            let start = self.clock.start_instant();
            let next_timer = shard.next_timer().map(|time| start + Duration::from_nanos(time.as_nanos()));
            Ok((!shard.is_finished()).then_some((worked, next_timer)))
        }));
        match polled {
            Ok(Ok(Some(polled))) => return Ok(Some(polled)),
            Ok(Ok(None)) => self.end(),
            Ok(Err(error)) => self.fail(&io::Error::to_string(&error)),
            Err(panic) => self.fail(&format!("a panic: {}", panic_message(panic))),
        }
        self.failure().map_or(Ok(None), Err)
    }

    /// Returns whether a reactor turns the loop.
    pub(crate) fn has_reactor(&self) -> bool {
        self.reactor.is_some()
    }

    /// Ends a loop that has finished.
    fn end(&self) {
        let shard = lock(&self.shard).take();
        let _ = caught(|| drop(shard));
        self.mailbox.close();
    }

    /// Makes the handle of a loop that the threads of the application turn.
    pub(crate) fn inline(shard: Loop, idle: IdleStrategy, clock: Clock) -> LoopHandle {
        LoopHandle::new(shard, Some(Arc::new(Inline::new(None))), idle, clock)
    }

    fn new(shard: Loop, inline: Option<Arc<Inline>>, idle: IdleStrategy, clock: Clock) -> LoopHandle {
        let mailbox = shard.mailbox().clone();
        let shard = Arc::new(Mutex::new(Some(shard)));
        LoopHandle { mailbox, shard, reactor: None, inline, failure: Arc::default(), idle, clock }
    }

    /// Calls `look` with the shard, between its turns. Returns `None` if the loop has ended.
    pub(crate) fn with_shard<T>(&self, look: impl FnOnce(&mut Loop) -> T) -> Option<T> {
        lock(&self.shard).as_mut().map(look)
    }

    /// Calls `look` with the shard, for a loop that may hang: waits at most `patience` for the present turn to end.
    /// Returns `None` after that time, or if the loop has ended or panicked.
    pub(crate) fn with_shard_within<T>(&self, patience: Duration, look: impl FnOnce(&mut Loop) -> T) -> Option<T> {
        let deadline = Instant::now() + patience;
        loop {
            match self.shard.try_lock() {
                Ok(mut shard) => return shard.as_mut().map(look),
                Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) if Instant::now() > deadline => return None,
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_micros(50)),
            }
        }
    }

    /// Makes the handle of a network without sockets. The network has a thread of its own, unless there is a
    /// `virtual_clock`, which the waiting threads turn.
    pub(crate) fn without_loop(
        mailbox: Arc<Mailbox>,
        clock: Clock,
        virtual_clock: Option<Arc<dyn VirtualClock>>,
    ) -> LoopHandle {
        LoopHandle {
            mailbox,
            shard: Arc::new(Mutex::new(None)),
            reactor: None,
            inline: virtual_clock.map(|virtual_clock| Arc::new(Inline::new(Some(virtual_clock)))),
            failure: Arc::default(),
            idle: IdleStrategy::PARK,
            clock,
        }
    }

    /// Returns the present time of this server's loop, from which deadlines are counted.
    #[inline]
    pub fn now(&self) -> Instant {
        match self.virtual_clock() {
            Some(virtual_clock) => virtual_clock.now(),
            None => Instant::now(),
        }
    }

    /// Returns the time `ahead` from now on the loop's clock.
    pub fn time_in(&self, ahead: Duration) -> Time {
        self.clock.at(self.now()) + ahead
    }

    /// Wakes `waker` at `time` on the loop's clock, once, unless the loop ends before.
    pub fn wake_at(&self, time: Time, waker: Waker) {
        self.mailbox.command(Command::WakeAt { at: time, alarm: Alarm::new(waker) });
    }

    /// Prepares the next poll of a pending future: advances the virtual clock, if there is one. Returns whether the
    /// future must be polled again at once. For an inline loop of this thread that is always so, because no other
    /// thread turns the loop.
    pub fn turn_for_future(&self) -> bool {
        match self.virtual_clock() {
            Some(virtual_clock) => virtual_clock.step(None),
            None => self.is_mine(),
        }
    }

    /// Returns whether the loop is inline and belongs to another thread, so that this thread cannot turn it. A loop
    /// that belongs to no thread yet belongs to this one from now on.
    pub fn is_elsewhere(&self) -> bool {
        self.is_inline() && !self.is_mine()
    }

    #[inline]
    fn virtual_clock(&self) -> Option<&Arc<dyn VirtualClock>> {
        self.inline.as_ref().and_then(|inline| inline.virtual_clock.as_ref())
    }

    #[inline]
    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Returns whether the loop has no thread of its own.
    #[inline]
    pub fn is_inline(&self) -> bool {
        self.inline.is_some()
    }

    /// Idle strategy of this server.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }

    /// Returns whether the loop has failed.
    pub fn is_stopped(&self) -> bool {
        self.failure.is_set()
    }

    /// Returns the failure of the loop, if it has failed.
    pub fn failure(&self) -> Option<LoopFailed> {
        self.failure.get()
    }

    /// Returns the undelivered envelopes of a server at the failure of its loop. Waits at most `patience` for their
    /// count; `None` if they could not be counted.
    pub(crate) fn undelivered_at_failure(&self, node: u32, patience: Duration) -> Option<Vec<Undelivered>> {
        self.failure.undelivered(node, patience)
    }

    /// Returns whether this thread turns the loop: the loop is inline, and belongs to this thread or, until now, to
    /// none.
    pub fn is_mine(&self) -> bool {
        self.inline.as_ref().is_some_and(|inline| inline.is_mine(|| self.owned()))
    }

    /// Turns an inline loop, or one that a reactor turns, without waiting. Returns whether anything was done.
    #[inline]
    pub fn poll(&self) -> bool {
        if self.has_reactor() { self.turn_beside() } else { self.turn(WhenIdle::Return) }
    }

    /// Turns the loop of a reactor while there is work, at most a few times.
    #[cold]
    fn turn_beside(&self) -> bool {
        (0..TURNS).take_while(|_| matches!(self.poll_shard(), Ok(Some((true, _))))).count() > 0
    }

    /// Turns an inline loop once. If there is nothing to do, waits for work, at most until `deadline`. Returns whether
    /// anything was done.
    #[inline]
    pub fn poll_until(&self, deadline: Option<Instant>) -> bool {
        if let Some(virtual_clock) = self.virtual_clock() {
            return virtual_clock.wait(deadline);
        }
        self.turn(WhenIdle::Park(deadline.map(|deadline| self.clock.at(deadline))))
    }

    fn turn(&self, idle: WhenIdle) -> bool {
        if !self.is_mine() {
            return false;
        }
        if let Some(virtual_clock) = self.virtual_clock() {
            return virtual_clock.turn();
        }
        !self.is_stopped() && self.try_turn(idle) == Some(Turn::Worked)
    }

    /// Makes the entry of the loop in the list of the thread that the loop belongs to.
    #[cold]
    fn owned(&self) -> Owned {
        let LoopHandle { mailbox, shard, failure, idle, clock, .. } = self;
        let (shard, of_loop) = (Arc::downgrade(shard), Arc::downgrade(shard));
        let (mailbox, failure, idle, clock) = (mailbox.clone(), failure.clone(), *idle, *clock);
        Owned {
            is_alive: Box::new(move || of_loop.strong_count() > 0),
            fail: Box::new(move |message| {
                if let Some(shard) = shard.upgrade() {
                    let (mailbox, failure) = (mailbox.clone(), failure.clone());
                    LoopHandle { mailbox, shard, reactor: None, inline: None, failure, idle, clock }.fail(message);
                }
            }),
        }
    }

    /// Signals a write to a stream whose loop waits for a signal. `alone` is set if no other write follows at once.
    pub(crate) fn written(&self, key: LinkKey, alone: bool) {
        if self.inline.as_ref().is_some_and(|inline| inline.is_driven_here()) {
            if let Ok(mut shard) = self.shard.try_lock()
                && let Some(shard) = shard.as_mut()
            {
                return shard.mark(key);
            }
        } else if alone && self.inline.is_none() && self.mailbox.is_asleep() {
            // If this panics, the loop finds its mutex poisoned when it is woken, and fails.
            let sent = caught(|| {
                let mut shard = self.shard.try_lock().ok()?;
                shard.as_mut().map(|shard| shard.send_from_outside(key))
            });
            if sent == Ok(Some(true)) {
                return;
            }
        }
        self.mailbox.ready(Ready::Link(key));
    }
}
