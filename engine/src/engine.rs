//! The engine: its event loops, and the servers that live on them.

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::driver::{ChunkPool, Entry, Listener, Unavailable, Uring, raise_descriptor_limit};
use crate::events::{Event, EventQueue};
use crate::inbox::{self, Receiver};
use crate::link::{Local, Pid};
use crate::mock::Clockwork;
use crate::outbox::{OutboxShared, Sender};
use crate::roster::Roster;
use crate::shard::{Command, Idle, LinkKey, Mailbox, Ready, Seed, Shard, Undelivered};
use crate::stats::{LinkAccount, PeerStats, StatsTable};
use crate::time::{Clock, Time};

/// What a loop, or an application at its inbox, does when there is nothing to do: first it spins, then it yields its core
/// to others again and again, then it parks. A parked thread uses no CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleStrategy {
    /// How long to spin.
    pub spin: Duration,
    /// How long to yield after that.
    pub yielding: Duration,
    /// Whether to park after that; otherwise it goes on yielding, or spinning if it does not yield.
    pub park: bool,
}

impl IdleStrategy {
    /// Parks at once.
    pub const PARK: IdleStrategy = IdleStrategy { spin: Duration::ZERO, yielding: Duration::ZERO, park: true };
    /// Spins for ever: the lowest latency, for a core of one's own.
    pub const SPIN: IdleStrategy = IdleStrategy { spin: Duration::MAX, yielding: Duration::ZERO, park: false };

    /// What to do after `idle` without work.
    #[inline]
    pub fn after(&self, idle: Duration) -> Step {
        if idle < self.spin {
            Step::Spin
        } else if idle < self.spin.saturating_add(self.yielding) {
            Step::Yield
        } else if self.park {
            Step::Park
        } else if self.yielding.is_zero() {
            Step::Spin
        } else {
            Step::Yield
        }
    }

    /// Whether the first step is to park, so that no clock needs to be read.
    #[inline]
    pub fn parks_at_once(&self) -> bool {
        self.park && self.spin.is_zero() && self.yielding.is_zero()
    }
}

impl Default for IdleStrategy {
    fn default() -> IdleStrategy {
        IdleStrategy::PARK
    }
}

/// What to do next when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again at once.
    Spin,
    /// Let another thread run, then look again.
    Yield,
    /// Sleep until there is something.
    Park,
}

/// Who runs the event loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// Threads of the engine's own, one loop each.
    Dedicated {
        /// How many.
        shards: usize,
    },
    /// The thread that uses the server: each call that finds nothing to do turns the loop.
    Inline,
}

/// What a server brings to an engine.
pub struct Tenant {
    /// What it is and what it allows.
    pub local: Local,
    /// Where its peers reach it.
    pub listener: TcpListener,
    /// Its peers and where they may be. Sorted by pid, each once.
    pub peers: Vec<(Pid, Vec<SocketAddr>)>,
    /// The bytes of each stream's ring.
    pub ring_bytes: usize,
}

/// A server's ends in an engine.
pub struct Attached {
    /// What arrives.
    pub receiver: Receiver,
    /// What is sent.
    pub sender: Sender,
    /// What happens to its peers.
    pub events: Events,
    /// The server itself.
    pub tenancy: Tenancy,
}

/// Event loops. When the last server and the last handle are gone, the threads end.
pub struct Engine {
    loops: Vec<Loop>,
    next: AtomicUsize,
    numbers: AtomicU32,
    idle: IdleStrategy,
}

struct Loop {
    drive: Drive,
    pool: Arc<ChunkPool>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts an engine.
    pub fn start(threading: Threading, idle: IdleStrategy) -> Result<Arc<Engine>, Unavailable> {
        raise_descriptor_limit();
        let clock = Clock::start();
        let mut loops = Vec::new();
        let count = match threading {
            Threading::Dedicated { shards } => shards.max(1),
            Threading::Inline => 1,
        };
        for number in 0..count {
            let shard = Shard::new(Uring::new(clock)?);
            let (mailbox, pool) = (shard.mailbox().clone(), shard.pool().clone());
            let shard = Arc::new(Mutex::new(Some(shard)));
            let failed = Arc::new(Failure::default());
            if threading == Threading::Inline {
                let inline = Some(Arc::new(Inline { owner: AtomicUsize::new(0), stand_in: None }));
                let drive = Drive { mailbox, shard, inline, failed, idle, clock };
                loops.push(Loop { drive, pool, thread: None });
                continue;
            }
            let drive = Drive { mailbox, shard: shard.clone(), inline: None, failed: failed.clone(), idle, clock };
            let thread = thread::Builder::new()
                .name(format!("cluster-{number}"))
                .spawn(move || run(&shard, idle, &failed))
                .map_err(|error| Unavailable::thread(&error))?;
            loops.push(Loop { drive, pool, thread: Some(thread) });
        }
        Ok(Arc::new(Engine { loops, next: AtomicUsize::new(0), numbers: AtomicU32::new(0), idle }))
    }

    /// Lets a server live on this engine.
    pub fn attach(self: &Arc<Engine>, tenant: Tenant) -> Attached {
        let index = self.next.fetch_add(1, Ordering::Relaxed) % self.loops.len();
        let drive = self.loops[index].drive.clone();
        let node = self.numbers.fetch_add(1, Ordering::Relaxed);
        let Tenant { local, listener, peers, ring_bytes } = tenant;
        let listener = Listener::Socket(listener);
        let Seated { receiver, sender, events, outboxes } = seat(&drive, node, local, listener, peers, ring_bytes);
        let tenancy = Tenancy { node, drive, outboxes, _engine: self.clone() };
        Attached { receiver, sender, events, tenancy }
    }

    /// The bytes of the receive buffers in use, of all servers: 256 KiB for each connection and for what arrives faster than it
    /// is read. A page of them is memory once it was written to.
    pub fn receive_bytes(&self) -> usize {
        self.loops.iter().map(|each| each.pool.bytes_in_use()).sum()
    }

    /// How the engine's loops idle.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }
}

/// A server's ends, and what its outboxes share.
pub(crate) struct Seated {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    pub(crate) events: Events,
    pub(crate) outboxes: Arc<OutboxShared>,
}

/// Makes a server's ends, and hands their other halves to the loop behind `drive`, where the server is number `node`.
pub(crate) fn seat(
    drive: &Drive,
    node: u32,
    local: Local,
    listener: Listener,
    peers: Vec<(Pid, Vec<SocketAddr>)>,
    ring_bytes: usize,
) -> Seated {
    let roster = Roster::new(peers.iter().map(|(pid, _)| *pid));
    let stats = StatsTable::new();
    peers.iter().for_each(|(pid, _)| stats.add(*pid));
    let events = EventQueue::new();
    let (inbox, receiver) = inbox::inbox(node, drive.mailbox.clone());
    let outboxes = Arc::new(OutboxShared {
        node,
        roster,
        ring_bytes,
        max_envelope_bytes: local.max_envelope_bytes,
        numbers: AtomicU32::new(0),
        outboxes: AtomicU32::new(0),
        stats: stats.clone(),
        stopped: AtomicBool::new(false),
        grace: Arc::default(),
    });
    let seed = Seed { node, local: Arc::new(local), peers, inbox, events: events.clone(), stats };
    drive.mailbox.command(Command::Start { seed: Box::new(seed), listener });
    let sender = Sender::new(outboxes.clone(), drive.clone());
    Seated { receiver, sender, events: Events::new(events, drive.clone()), outboxes }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for each in &self.loops {
            each.drive.mailbox.command(Command::Shutdown);
        }
        for each in &mut self.loops {
            if let Some(thread) = each.thread.take() {
                // A loop that panicked has said so already.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("loops", &self.loops.len()).field("idle", &self.idle).finish_non_exhaustive()
    }
}

/// A loop's state. Its thread has it, except while it waits in the kernel; it is gone when the thread has ended.
type Shared = Mutex<Option<Shard<Uring>>>;

/// The life of a dedicated loop.
fn run(shared: &Shared, idle: IdleStrategy, failed: &Failure) {
    let mut idle_since: Option<Instant> = None;
    loop {
        let step = match idle_since {
            _ if idle.parks_at_once() => Step::Park,
            Some(since) => idle.after(since.elapsed()),
            None => Step::Spin,
        };
        let how = if step == Step::Park { Idle::Park(None) } else { Idle::Return };
        match turn(shared, how) {
            Ok(Turn::Worked) => idle_since = None,
            Ok(Turn::Idle) => {
                idle_since.get_or_insert_with(Instant::now);
                match step {
                    Step::Spin => std::hint::spin_loop(),
                    Step::Yield => thread::yield_now(),
                    Step::Park => {}
                }
            }
            Ok(Turn::Finished) => break,
            Err(error) => {
                failed.set(&error);
                break;
            }
        }
    }
    // Dropped here: its ring belongs to this thread.
    drop(lock(shared).take());
}

/// What a turn came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Worked,
    Idle,
    Finished,
}

/// One round of a loop. While it waits in the kernel, others can get at the shard.
#[inline]
fn turn(shared: &Shared, idle: Idle) -> io::Result<Turn> {
    let mut guard = lock(shared);
    let Some(shard) = guard.as_mut() else { return Ok(Turn::Finished) };
    let mut round = shard.begin(idle);
    let worked = match round.entry.take() {
        Some(entry) if round.waits => {
            drop(guard);
            let entered = entry.enter();
            guard = lock(shared);
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

fn lock(shared: &Shared) -> MutexGuard<'_, Option<Shard<Uring>>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a loop ended before its time.
#[derive(Debug, Default)]
pub(crate) struct Failure {
    set: AtomicBool,
    message: Mutex<String>,
}

impl Failure {
    fn set(&self, error: &io::Error) {
        *self.message.lock().unwrap_or_else(PoisonError::into_inner) = format!("the event loop has failed: {error}");
        self.set.store(true, Ordering::Release);
    }
}

/// What there is to know of a loop that has no thread of its own.
struct Inline {
    /// The thread that drives it: the first one that did; 0 before. io_uring takes submissions from one thread only.
    owner: AtomicUsize,
    /// What is turned in the place of a loop: a network without sockets. Any thread may do so.
    stand_in: Option<Arc<dyn Clockwork>>,
}

thread_local! {
    /// Its address tells threads apart, and is cheaper to have than a thread's id.
    static HERE: u8 = const { 0 };
}

#[inline]
fn here() -> usize {
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Inline {
    /// Whether this thread drives the loop already.
    #[inline]
    fn is_driven_here(&self) -> bool {
        self.owner.load(Ordering::Relaxed) == here()
    }

    /// Whether this thread drives the loop, from now on if there was none that did.
    #[inline]
    fn is_mine(&self) -> bool {
        if self.stand_in.is_some() {
            return true;
        }
        let mine = here();
        match self.owner.load(Ordering::Relaxed) {
            0 => match self.owner.compare_exchange(0, mine, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => true,
                Err(owner) => owner == mine,
            },
            owner => owner == mine,
        }
    }
}

/// How a server's event loop is reached, and, if it is inline, driven.
#[derive(Clone)]
pub struct Drive {
    mailbox: Arc<Mailbox>,
    shard: Arc<Shared>,
    inline: Option<Arc<Inline>>,
    failed: Arc<Failure>,
    idle: IdleStrategy,
    clock: Clock,
}

impl Drive {
    /// The way to a network without sockets. It has a thread of its own, unless `clockwork` is to be turned by whoever waits.
    pub(crate) fn without_loop(mailbox: Arc<Mailbox>, clock: Clock, clockwork: Option<Arc<dyn Clockwork>>) -> Drive {
        let inline = |stand_in| Arc::new(Inline { owner: AtomicUsize::new(0), stand_in: Some(stand_in) });
        Drive {
            mailbox,
            shard: Arc::new(Mutex::new(None)),
            inline: clockwork.map(inline),
            failed: Arc::new(Failure::default()),
            idle: IdleStrategy::PARK,
            clock,
        }
    }

    /// The present moment as this server's loop sees it: what deadlines are counted from.
    #[inline]
    pub fn now(&self) -> Instant {
        match self.stand_in() {
            Some(clockwork) => clockwork.now(),
            None => Instant::now(),
        }
    }

    /// The moment `ahead` from now on the loop's clock.
    pub fn time_in(&self, ahead: Duration) -> Time {
        self.clock.at(self.now()) + ahead
    }

    /// Turns the loop for a future that is pending. `true`: it is to be polled again at once, for nobody else turns it.
    pub fn turn_for_future(&self) -> bool {
        match self.stand_in() {
            Some(clockwork) => clockwork.step(None),
            None => self.is_mine(),
        }
    }

    #[inline]
    fn stand_in(&self) -> Option<&Arc<dyn Clockwork>> {
        self.inline.as_ref().and_then(|inline| inline.stand_in.as_ref())
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

    /// Whether the loop is gone.
    pub fn is_stopped(&self) -> bool {
        self.failed.set.load(Ordering::Acquire)
    }

    /// Whether this thread is to drive the loop: it is inline, and this is its thread (or it has none yet).
    pub fn is_mine(&self) -> bool {
        self.inline.as_ref().is_some_and(|inline| inline.is_mine())
    }

    /// Turns an inline loop once without waiting. Returns whether anything was done.
    #[inline]
    pub fn poll(&self) -> bool {
        self.turn(Idle::Return)
    }

    /// Turns an inline loop once; if there is nothing to do, waits for something, at most until `deadline`.
    #[inline]
    pub fn poll_until(&self, deadline: Option<Instant>) -> bool {
        if let Some(clockwork) = self.stand_in() {
            return clockwork.wait(deadline);
        }
        self.turn(Idle::Park(deadline.map(|deadline| self.clock.at(deadline))))
    }

    fn turn(&self, idle: Idle) -> bool {
        if !self.is_mine() {
            return false;
        }
        if let Some(clockwork) = self.stand_in() {
            return clockwork.turn();
        }
        match turn(&self.shard, idle) {
            Ok(turn) => turn == Turn::Worked,
            Err(error) => {
                self.failed.set(&error);
                false
            }
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
        } else if alone
            && self.inline.is_none()
            && self.mailbox.is_asleep()
            && let Ok(mut shard) = self.shard.try_lock()
            && shard.as_mut().is_some_and(|shard| shard.send_from_outside(key))
        {
            return;
        }
        self.mailbox.ready(Ready::Link(key));
    }
}

/// What happens to a server's peers.
pub struct Events {
    queue: Arc<EventQueue>,
    drive: Drive,
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>, drive: Drive) -> Events {
        Events { queue, drive }
    }

    /// The next event, if there is one.
    pub fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    /// Registers a waker for the next event. Look once more after this.
    pub fn register(&self, waker: &std::task::Waker) {
        self.queue.waker().register(waker);
    }

    /// How many events were dropped because nobody read them.
    pub fn missed(&self) -> u64 {
        self.queue.missed()
    }

    /// How the server's loop is reached.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }
}

/// A server on an engine.
pub struct Tenancy {
    node: u32,
    drive: Drive,
    outboxes: Arc<OutboxShared>,
    /// Keeps the loops running.
    _engine: Arc<Engine>,
}

impl Tenancy {
    /// How the server's loop is reached.
    pub fn drive(&self) -> &Drive {
        &self.drive
    }

    /// What went and came, by peer.
    ///
    /// It looks at what is not acknowledged yet, while the loop stands still: some microseconds for each peer.
    pub fn stats(&self) -> Vec<PeerStats> {
        // Asked first: what is counted afterwards is in flight.
        let accounts = self.accounts();
        let mut rows = self.outboxes.stats.read();
        for row in &mut rows {
            // Several links, if the peer was removed and added again.
            let links = accounts.iter().filter(|account| account.pid == row.pid).copied();
            // A loop that has not turned yet knows no peers.
            let none_yet = (!self.outboxes.is_stopped()).then(LinkAccount::default);
            let account = links.reduce(LinkAccount::and).or(none_yet);
            row.settle(account.map(|account| account.acknowledged));
            let LinkAccount { bytes_held, bytes_unread, .. } = account.unwrap_or_default();
            (row.bytes_held, row.bytes_unread) = (bytes_held, bytes_unread);
        }
        rows
    }

    fn accounts(&self) -> Vec<LinkAccount> {
        if self.drive.is_inline() {
            return lock(&self.drive.shard).as_mut().map(|shard| shard.account(self.node)).unwrap_or_default();
        }
        // Asked for, not taken: who asks again and again would keep the loop from its mutex.
        self.ask(|report| Command::Account { node: self.node, report }).unwrap_or_default()
    }

    /// Has a command obeyed by the loop, and waits for what it reports; `None` when the loop is gone.
    fn ask<T>(&self, command: impl FnOnce(mpsc::Sender<T>) -> Command) -> Option<T> {
        let (report, reported) = mpsc::channel();
        self.drive.mailbox.command(command(report));
        loop {
            if self.drive.is_mine() {
                self.drive.poll();
            }
            match reported.recv_timeout(Duration::from_millis(50)) {
                Ok(value) => return Some(value),
                Err(mpsc::RecvTimeoutError::Timeout) if !self.drive.is_stopped() => {}
                Err(_) => return None,
            }
        }
    }

    /// Makes `pid` a peer that is to be found at `addresses`, or says that it is to be found there from now on; its streams
    /// stay as they are. Returns whether it is new.
    pub fn set_peer(&self, pid: Pid, addresses: Vec<SocketAddr>) -> bool {
        let node = self.node;
        if let Some(link) = self.outboxes.roster.link_of(pid) {
            self.drive.mailbox.command(Command::Move { link: LinkKey { node, link }, addresses });
            return false;
        }
        self.outboxes.roster.add(pid, |link| {
            self.outboxes.stats.add(pid);
            self.drive.mailbox.command(Command::Add { link: LinkKey { node, link }, pid, addresses });
        })
    }

    /// Ends the link to a peer for good. Returns what it has not acknowledged; `None` if it is no peer.
    pub fn remove_peer(&self, pid: Pid) -> Option<Undelivered> {
        let link = LinkKey { node: self.node, link: self.outboxes.remove_peer(pid)? };
        let nothing = Undelivered { pid, messages: 0, bytes: 0 };
        Some(self.ask(|report| Command::Remove { link, report }).unwrap_or(nothing))
    }

    /// Cuts the traffic with a peer, in both directions, or lets it flow again. Returns whether it is a peer.
    pub fn set_blocked(&self, pid: Pid, blocked: bool) -> bool {
        let Some(link) = self.outboxes.roster.link_of(pid) else { return false };
        let link = LinkKey { node: self.node, link };
        self.ask(|report| Command::Block { link, blocked, report });
        true
    }

    /// Delivers what was sent, until everything is acknowledged by the peers that are there, or `patience` is over;
    /// then says goodbye and closes. Returns what was not acknowledged. The second call does nothing.
    pub fn stop(&mut self, patience: Duration) -> Vec<Undelivered> {
        if !self.outboxes.close() {
            return Vec::new();
        }
        let (report, reported) = mpsc::channel();
        // `Time` counts from the loop's own clock; a duration is all that both sides share.
        self.drive.mailbox.command(Command::Stop { node: self.node, patience, report });
        let give_up = Instant::now() + patience + Duration::from_secs(2);
        loop {
            let got = if self.drive.is_mine() {
                self.drive.poll_until(Some(Instant::now() + Duration::from_millis(10)));
                reported.try_recv().map_err(|error| error == mpsc::TryRecvError::Disconnected)
            } else {
                let wait = Duration::from_millis(50);
                reported.recv_timeout(wait).map_err(|error| error == mpsc::RecvTimeoutError::Disconnected)
            };
            match got {
                Ok(undelivered) => return undelivered,
                Err(disconnected) if disconnected || self.drive.is_stopped() || Instant::now() > give_up => {
                    return Vec::new();
                }
                Err(_) => {}
            }
        }
    }
}

impl Drop for Tenancy {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
