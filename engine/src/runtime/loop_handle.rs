//! The handle of an event loop: for the thread that runs it, and for those that reach it from outside.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::failure::{Failure, LoopFailed};
use super::inline::{Inline, Owned};
use super::virtual_clock::VirtualClock;
use super::{IdleStrategy, Step};
use crate::callback::caught;
use crate::driver::{Entry, LocalTransport, Uring};
use crate::link::Undelivered;
use crate::mailbox::{Mailbox, Ready};
use crate::roster::LinkKey;
use crate::shard::{Shard, WhenIdle};
use crate::time::{Clock, Time};

/// An event loop over io_uring, whose servers also reach each other through memory.
pub(crate) type Loop = Shard<LocalTransport<Uring>>;

/// A loop's state. Its thread has it, except while it waits in the kernel; it is gone when the thread has ended.
type Shared = Mutex<Option<Loop>>;

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Worked,
    Idle,
    Finished,
}

/// One round of a loop. While it waits in the kernel, others can get at the shard.
#[inline]
fn turn(shared: &Shared, idle: WhenIdle) -> io::Result<Turn> {
    let mut guard = shared.lock().map_err(poisoned)?;
    let Some(shard) = guard.as_mut() else { return Ok(Turn::Finished) };
    let mut round = shard.begin(idle);
    let worked = match round.entry.take() {
        Some(entry) if round.waits => {
            drop(guard);
            let entered = entry.enter();
            guard = shared.lock().map_err(poisoned)?;
            let Some(shard) = guard.as_mut() else { return Ok(Turn::Finished) };
            let worked = shard.finish(round);
            entered.and(worked)?
        }
        Some(entry) => {
            let entered = entry.enter();
            let worked = shard.finish(round);
            entered.and(worked)?
        }
        None => shard.finish(round)?,
    };
    let finished = guard.as_ref().is_none_or(Shard::is_finished);
    Ok(match worked {
        _ if finished => Turn::Finished,
        true => Turn::Worked,
        false => Turn::Idle,
    })
}

/// Error of a shard in an unknown state: another thread panicked while it used the shard.
#[cold]
fn poisoned<T>(_: PoisonError<T>) -> io::Error {
    io::Error::other("an application's thread panicked while it used the loop")
}

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Loop>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How a server's event loop is reached, and, if it is inline, driven.
#[derive(Clone)]
pub struct LoopHandle {
    mailbox: Arc<Mailbox>,
    shard: Arc<Shared>,
    inline: Option<Arc<Inline>>,
    failure: Arc<Failure>,
    idle: IdleStrategy,
    clock: Clock,
}

impl LoopHandle {
    /// Starts a thread with this name that runs the loop.
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
        let shard = lock(&self.shard).take();
        let _ = caught(|| drop(shard));
        self.mailbox.close();
    }

    /// Takes a turn. `None` if the loop has failed.
    #[inline]
    fn try_turn(&self, idle: WhenIdle) -> Option<Turn> {
        match caught(|| turn(&self.shard, idle)) {
            Ok(Ok(turn)) => Some(turn),
            Ok(Err(error)) => {
                self.fail(&error.to_string());
                None
            }
            Err(message) => {
                self.fail(&format!("a panic: {message}"));
                None
            }
        }
    }

    /// Ends the loop and its servers.
    #[cold]
    fn fail(&self, message: &str) {
        if !self.failure.set(message) {
            return;
        }
        let mut shard = lock(&self.shard).take();
        let undelivered = caught(|| shard.as_mut().map(|shard| shard.fail(message, self.time_in(Duration::ZERO))));
        self.failure.account(undelivered.ok().flatten().unwrap_or_default());
        // The streams and inboxes end with the shard, and whoever waits for them is woken.
        let _ = caught(|| drop(shard));
        self.mailbox.close();
    }

    /// A loop that is run by whoever uses it.
    pub(crate) fn inline(shard: Loop, idle: IdleStrategy, clock: Clock) -> LoopHandle {
        LoopHandle::new(shard, Some(Arc::new(Inline::new(None))), idle, clock)
    }

    fn new(shard: Loop, inline: Option<Arc<Inline>>, idle: IdleStrategy, clock: Clock) -> LoopHandle {
        let mailbox = shard.mailbox().clone();
        LoopHandle { mailbox, shard: Arc::new(Mutex::new(Some(shard))), inline, failure: Arc::default(), idle, clock }
    }

    /// Looks at the shard from outside, between its turns; `None` when the loop has ended.
    pub(crate) fn with_shard<T>(&self, look: impl FnOnce(&mut Loop) -> T) -> Option<T> {
        lock(&self.shard).as_mut().map(look)
    }

    /// Like [`with_shard`](LoopHandle::with_shard), for a loop that may hang: waits at most `patience` for its turn to end.
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

    /// The way to a network without sockets. It has a thread of its own, unless `virtual_clock` is to be turned by whoever waits.
    pub(crate) fn without_loop(
        mailbox: Arc<Mailbox>,
        clock: Clock,
        virtual_clock: Option<Arc<dyn VirtualClock>>,
    ) -> LoopHandle {
        LoopHandle {
            mailbox,
            shard: Arc::new(Mutex::new(None)),
            inline: virtual_clock.map(|virtual_clock| Arc::new(Inline::new(Some(virtual_clock)))),
            failure: Arc::default(),
            idle: IdleStrategy::PARK,
            clock,
        }
    }

    /// The present moment as this server's loop sees it: what deadlines are counted from.
    #[inline]
    pub fn now(&self) -> Instant {
        match self.virtual_clock() {
            Some(virtual_clock) => virtual_clock.now(),
            None => Instant::now(),
        }
    }

    /// The moment `ahead` from now on the loop's clock.
    pub fn time_in(&self, ahead: Duration) -> Time {
        self.clock.at(self.now()) + ahead
    }

    /// Turns the loop for a future that is pending. `true`: it is to be polled again at once, for nobody else turns it.
    pub fn turn_for_future(&self) -> bool {
        match self.virtual_clock() {
            Some(virtual_clock) => virtual_clock.step(None),
            None => self.is_mine(),
        }
    }

    /// Returns whether the loop is inline and belongs to another thread, so that this one cannot turn it. If it belongs
    /// to none yet, it belongs to this one from now on.
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

    /// Whether the loop has no thread of its own.
    #[inline]
    pub fn is_inline(&self) -> bool {
        self.inline.is_some()
    }

    /// How this server idles.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }

    /// Returns whether the loop has failed.
    pub fn is_stopped(&self) -> bool {
        self.failure.is_set()
    }

    /// The failure of the loop, if it has failed.
    pub fn failure(&self) -> Option<LoopFailed> {
        self.failure.get()
    }

    /// Undelivered envelopes of a server at the failure of its loop. `None` if nobody could count them.
    pub(crate) fn undelivered_at_failure(&self, node: u32, patience: Duration) -> Option<Vec<Undelivered>> {
        self.failure.undelivered(node, patience)
    }

    /// Returns whether this thread is to turn the loop: the loop is inline, and belongs to this thread or to none yet.
    pub fn is_mine(&self) -> bool {
        self.inline.as_ref().is_some_and(|inline| inline.is_mine(|| self.owned()))
    }

    /// Turns an inline loop once without waiting. Returns whether anything was done.
    #[inline]
    pub fn poll(&self) -> bool {
        self.turn(WhenIdle::Return)
    }

    /// Turns an inline loop once; if there is nothing to do, waits for something, at most until `deadline`.
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

    /// The loop, for the thread that it belongs to.
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
                    LoopHandle { mailbox, shard, inline: None, failure, idle, clock }.fail(message);
                }
            }),
        }
    }

    /// Something was written to a stream whose loop waits to be told. `alone`: nothing else is written with it.
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
