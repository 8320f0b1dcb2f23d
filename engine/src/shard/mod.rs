//! One event loop: it moves batches between streams and connections, and calls the links when their time has come.
//!
//! A shard owns its servers' links and connections and a driver, and is used by one thread: its own (`Dedicated`), or
//! whichever thread drives the server (`Inline`). Applications reach it through its [`Mailbox`].

#[cfg(any(test, feature = "simulation"))]
mod checks;
mod commands;
mod connection;
mod deadlines;
mod dials;
mod failing;
mod links;
mod membership;
mod node;
mod pinned;
mod shortages;
mod slot;
mod stopping;
mod strangers;
mod timers;
mod wiring;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use self::connection::Connection;
use self::dials::Dials;
use self::node::Node;
use self::timers::Timers;
use crate::batch::Batch;
use crate::driver::{Budget, ChunkPool, Completion, Driver, SocketId, Wait};
use crate::link::{Link, State};
use crate::mailbox::{Mailbox, Ready};
use crate::roster::LinkKey;
use crate::time::Time;
use crate::wire::{MAX_HELLO_BYTES, MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES};

/// The size of a receive buffer: that of four of the longest segments. Each begins with a segment, so where these are
/// long nothing is left over at its end that would have to be copied into the next.
const CHUNK_BYTES: usize = 4 * (MAX_SEGMENT_PAYLOAD + SEGMENT_HEADER_BYTES);
/// Receive buffers kept for later use.
const SPARE_CHUNKS: usize = 64;
/// The size of the buffer of a connection that has not greeted: that of the longest greeting, in whole pages.
const GREETING_BYTES: usize = (SEGMENT_HEADER_BYTES + MAX_HELLO_BYTES).next_multiple_of(4096);
/// Such buffers kept for later use.
const SPARE_GREETINGS: usize = 16;
/// A link that sends this much at once is polled rather than waiting to be signalled.
const POLLING_BYTES: usize = 8 * 1024;
/// A batch longer than this is left to the kernel: while it works on it, this thread goes on.
const DIRECT_BYTES: usize = 16 * 1024;
/// When a turn comes so late after the one before, our own process did not run, and silence of others proves nothing.
const OVERSLEPT: Duration = Duration::from_millis(100);

/// The receive buffers of a shard.
pub(crate) fn chunk_pool() -> Arc<ChunkPool> {
    ChunkPool::new(CHUNK_BYTES, SPARE_CHUNKS)
}

/// The end of a turn that finds nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenIdle {
    /// It returns: the caller spins, or has other work.
    Return,
    /// It waits in the kernel until there is something to do, at most until this time.
    Park(Option<Time>),
}

/// A round that has begun.
pub(crate) struct Round<E> {
    /// To be entered, if there is one.
    pub(crate) entry: Option<E>,
    /// Whether entering may wait.
    pub(crate) waits: bool,
    worked: bool,
    began: Time,
}

/// One event loop over a driver.
pub(crate) struct Shard<D: Driver> {
    driver: D,
    mailbox: Arc<Mailbox>,
    nodes: BTreeMap<u32, Node>,
    connections: Vec<Option<Connection>>,
    timers: Timers,
    pool: Arc<ChunkPool>,
    /// Buffers of connections that have not greeted.
    greetings: Arc<ChunkPool>,
    /// The most connections of a server that have not greeted.
    most_strangers: usize,
    /// Links that may have something to send.
    dirty: VecDeque<LinkKey>,
    /// Links whose streams are in polling mode.
    polled: Vec<LinkKey>,
    #[expect(clippy::vec_box, reason = "the driver takes and gives back boxes, so that a batch does not move")]
    spare: Vec<Box<Batch>>,
    /// Batches of which a socket has taken only so many bytes when they were sent from outside.
    unsent: Vec<(SocketId, Box<Batch>, usize)>,
    completions: VecDeque<Completion>,
    /// Servers whose inbox was given something in this round.
    touched: Vec<u32>,
    last_turn: Time,
    /// The loop waited until then by its own wish: so late it may wake.
    woken_by: Time,
    /// Time for which this process did not run, in all: links are told when they are next looked at.
    slept: Duration,
    /// Everything that had arrived by then has been handed to its link.
    caught_up: Time,
    /// Links that had something to send then were looked at.
    flushed: Time,
    /// Timers were looked at then.
    expired: Time,
    /// Dials under way, and links that wait for one to end.
    dials: Dials,
    shutdown: bool,
}

impl<D: Driver> Shard<D> {
    /// A loop over `driver` whose receive buffers are of `pool`.
    pub(crate) fn new(driver: D, pool: Arc<ChunkPool>) -> Shard<D> {
        let now = driver.now();
        let mailbox = Arc::new(Mailbox::new(driver.notifier()));
        Shard {
            driver,
            mailbox,
            nodes: BTreeMap::new(),
            connections: Vec::new(),
            timers: Timers::default(),
            pool,
            greetings: ChunkPool::new(GREETING_BYTES, SPARE_GREETINGS),
            most_strangers: strangers::MOST,
            dirty: VecDeque::new(),
            polled: Vec::new(),
            spare: Vec::new(),
            unsent: Vec::new(),
            completions: VecDeque::new(),
            touched: Vec::new(),
            last_turn: now,
            woken_by: now,
            slept: Duration::ZERO,
            caught_up: now,
            flushed: now,
            expired: now,
            dials: Dials::default(),
            shutdown: false,
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Whether the engine has ended and every server of this shard with it.
    pub(crate) fn is_finished(&self) -> bool {
        self.shutdown && self.nodes.is_empty()
    }

    /// The first half of a bounded round: take the mail, send what there is, and say how to enter the kernel.
    ///
    /// Each kind of work (commands, signals, links that have something to send, completions, timers) has a [`Budget`]
    /// of its own in a round: what exceeds it waits for the next round, which begins at once. So no kind keeps the
    /// others waiting, and every queue is looked at in every round.
    ///
    /// Who calls this enters (it may let others at the shard while it waits there), and then calls
    /// [`finish`](Shard::finish).
    pub(crate) fn begin(&mut self, idle: WhenIdle) -> Round<D::Entry> {
        let now = self.driver.now();
        self.notice_gap(now);
        let awaited = self.read_mail(now);
        for index in 0..self.polled.len() {
            let key = self.polled[index];
            if self.has_unsent(key) {
                self.mark(key);
            }
        }
        if self.dials.is_due() {
            self.let_dial();
        }
        let flushed = self.flush(now);
        self.resume_sends();
        // What was sent needs no look at its outcome before the wait; but what came by mail may be what somebody waits
        // for.
        let wait = if awaited { Wait::No } else { self.prepare_to_wait(idle) };
        Round { entry: self.driver.begin(wait), worked: awaited || flushed, waits: wait != Wait::No, began: now }
    }

    /// The second half: handle what has completed, look at the time, wake the applications.
    ///
    /// Returns whether the round did anything but listen to heartbeats, and send some, or left something to read. An
    /// error means that the driver is broken.
    pub(crate) fn finish(&mut self, round: Round<D::Entry>) -> io::Result<bool> {
        let now = if round.waits {
            self.mailbox.wake_up();
            let now = self.driver.now();
            self.last_turn = now.min(self.woken_by);
            // Before the time is looked at: if we were stopped while we waited, it is not the peers that were silent.
            self.notice_gap(now);
            now
        } else {
            round.began
        };
        let reaped = self.driver.reap(&mut self.completions, now);
        let mut worked = round.worked;
        while let Some(completion) = self.completions.pop_front() {
            worked |= self.complete(completion, now);
        }
        if let Ok(reaped) = &reaped {
            self.caught_up = reaped.until;
            worked |= reaped.is_left;
        }
        self.expire(now);
        while let Some(node) = self.touched.pop() {
            if let Some(node) = self.nodes.get_mut(&node) {
                node.inbox.wake();
            }
        }
        reaped.map(|_| worked)
    }

    /// Sends from the application's own thread, while the shard's waits in the kernel: one thread fewer has to be
    /// woken.
    ///
    /// Only for an exchange of questions and answers: when everything sent before is acknowledged. A stream of messages
    /// is better left to the shard, which sends many at once. Returns whether the shard need not be told.
    pub(crate) fn send_from_outside(&mut self, key: LinkKey) -> bool {
        let Some(slot) = self.slot(key) else { return false };
        if slot.dirty
            || !slot.link.outgoing().iter().all(|stream| stream.sent() == stream.acked())
            || self.is_sending(key)
        {
            return false;
        }
        let now = self.driver.now();
        if self.transmit(key, now) == 0 {
            return false;
        }
        if !self.slot(key).is_some_and(|slot| slot.polled) {
            self.settle(key);
        }
        self.unsent.is_empty() && self.dirty.is_empty() && self.polled.is_empty()
    }

    /// Goes on with what the socket did not take at once.
    fn resume_sends(&mut self) {
        for (socket, batch, sent) in self.unsent.drain(..) {
            self.driver.send(socket, batch, sent);
        }
    }

    /// Our own process may have been stopped, or starved: then the peers' silence is ours.
    fn notice_gap(&mut self, now: Time) {
        let gap = now.since(self.last_turn);
        self.last_turn = now;
        if gap > OVERSLEPT {
            self.slept += gap;
        }
    }

    /// How to wait: not at all if something turns out to be there once this side has published that it sleeps.
    fn prepare_to_wait(&mut self, idle: WhenIdle) -> Wait {
        let WhenIdle::Park(until) = idle else { return Wait::No };
        while let Some(key) = self.polled.pop() {
            self.settle(key);
        }
        let next = match (self.timers.next(), until) {
            (Some(timer), Some(until)) => Some(timer.min(until)),
            (timer, until) => timer.or(until),
        };
        let is_due = next.is_some_and(|next| next <= self.last_turn);
        if is_due || self.dials.is_due() || !self.dirty.is_empty() || !self.mailbox.fall_asleep() {
            return Wait::No;
        }
        match next {
            Some(next) => {
                self.woken_by = next;
                Wait::Until(next)
            }
            None => {
                self.woken_by = Time::from_nanos(u64::MAX);
                Wait::Forever
            }
        }
    }

    /// Returns whether somebody may wait for what was done.
    fn read_mail(&mut self, now: Time) -> bool {
        let mut awaited = false;
        let mut budget = Budget::default();
        while budget.is_left()
            && let Some(command) = self.mailbox.next_command()
        {
            awaited = true;
            budget.spend(0);
            self.handle_command(command, now);
        }
        let mut budget = Budget::default();
        while budget.is_left()
            && let Some(ready) = self.mailbox.next_ready()
        {
            budget.spend(0);
            match ready {
                Ready::Link(key) => self.mark(key),
                Ready::RequestAck(key) => self.request_ack(key),
                Ready::Consumed(key) => {
                    if let Some(slot) = self.slot(key) {
                        slot.link.consumed();
                    }
                    self.mark(key);
                }
                Ready::Nothing => {}
            }
        }
        awaited
    }

    /// The link may have something to send.
    pub(crate) fn mark(&mut self, key: LinkKey) {
        if let Some(slot) = self.slot(key)
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push_back(key);
        }
    }

    /// Sends what the dirty links have.
    fn flush(&mut self, now: Time) -> bool {
        let mut worked = false;
        let mut budget = Budget::default();
        // What is marked on the way is looked at in the next round.
        for _ in 0..self.dirty.len() {
            if !budget.is_left() {
                return worked;
            }
            if let Some(key) = self.dirty.pop_front() {
                worked |= self.flush_link(key, true, now, &mut budget);
            }
        }
        self.flushed = now;
        worked
    }

    /// Sends what a link has. `marked`: its mark has just left the queue.
    fn flush_link(&mut self, key: LinkKey, marked: bool, now: Time, budget: &mut Budget) -> bool {
        budget.spend(0);
        let Some(slot) = self.slot(key) else { return false };
        slot.dirty &= !marked;
        slot.asleep = false;
        let mut worked = false;
        // To hang up may be followed by a dial.
        while self.follow_wants(key, now) {
            worked = true;
        }
        if self.is_sending(key) {
            // The end of that send marks the link again. If the peer is gone there is no end, but silence.
            self.schedule(key, now);
            return worked;
        }
        let sent = self.transmit(key, now);
        budget.spend(sent);
        worked |= sent > 0;
        let Some(slot) = self.slot(key) else { return worked };
        let (polled, news) = (slot.polled, slot.link.has_notices());
        if !polled {
            self.settle(key);
        }
        if news {
            self.tell(key, now);
        }
        self.schedule(key, now);
        worked
    }

    /// Sends what the link has, at once, as far as the socket takes it; the kernel sends the rest when it can. Returns
    /// how many bytes that are.
    fn transmit(&mut self, key: LinkKey, now: Time) -> usize {
        self.send_with(key, |link, batch| link.transmit(now, batch))
    }

    /// Sends what `fill` makes the link say.
    ///
    /// A direct call is cheaper than a submission with its completion when the socket has room, as it nearly always
    /// has: see `ARCHITECTURE.md`.
    fn send_with(&mut self, key: LinkKey, fill: impl FnOnce(&mut Link, &mut Batch)) -> usize {
        let Some(slot) = self.nodes.get_mut(&key.node).and_then(|node| node.links.get_mut(key.link)) else {
            return 0;
        };
        let Some(socket) = slot.socket else { return 0 };
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return 0 };
        if connection.role != connection::Role::Link(key) {
            return 0;
        }
        let mut batch = self.spare.pop().unwrap_or_default();
        fill(&mut slot.link, &mut batch);
        if slot.blocked {
            // Lost on its way.
            batch.clear();
        }
        if batch.is_empty() {
            self.spare.push(batch);
            return 0;
        }
        let bytes = batch.bytes();
        if bytes >= POLLING_BYTES && !slot.polled {
            slot.polled = true;
            slot.link.outgoing().iter_mut().for_each(crate::stream::SendWindow::poll);
            self.polled.push(key);
        }
        if bytes > DIRECT_BYTES {
            connection.sending = true;
            self.unsent.push((socket, batch, 0));
            return bytes;
        }
        match self.driver.send_now(socket, &batch) {
            Ok(sent) if sent == bytes => {
                batch.clear();
                self.spare.push(batch);
            }
            // A full socket, or a broken one: its error comes with the completion.
            sent => {
                connection.sending = true;
                self.unsent.push((socket, batch, sent.unwrap_or(0)));
            }
        }
        bytes
    }

    fn is_sending(&mut self, key: LinkKey) -> bool {
        let socket = self.slot(key).and_then(|slot| slot.socket);
        socket.and_then(|socket| self.connection(socket)).is_some_and(|connection| connection.sending)
    }

    /// Waits for the link's streams to be written to; marks the link if one was meanwhile and it can be sent.
    fn settle(&mut self, key: LinkKey) {
        let Some(slot) = self.slot(key) else { return };
        slot.polled = false;
        let up = slot.link.state() == State::Up;
        let proven = slot.link.is_proven();
        let (mut written, mut asleep) = (false, up);
        for stream in slot.link.outgoing() {
            let waits = stream.wait();
            asleep &= waits;
            // What waits for credit, for a connection, or for the peer's first word, is sent when those come; it needs
            // no signal.
            written |= !(waits || (up && (stream.is_starved() || !proven)));
        }
        slot.asleep = asleep;
        let waits_for_dial = slot.link.waits_for_dial();
        let sending = self.is_sending(key);
        if written && !sending && !waits_for_dial {
            self.mark(key);
        }
    }

    fn has_unsent(&mut self, key: LinkKey) -> bool {
        self.slot(key).is_some_and(|slot| slot.link.outgoing().iter_mut().any(|stream| stream.has_unsent()))
    }

    /// The link, which learns how long this process has slept since it was last looked at.
    fn slot(&mut self, key: LinkKey) -> Option<&mut slot::LinkSlot> {
        let slot = self.nodes.get_mut(&key.node)?.links.get_mut(key.link)?;
        slot.shift_times(self.slept);
        Some(slot)
    }

    fn connection(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.connections.get_mut(socket.0 as usize)?.as_mut()
    }
}
