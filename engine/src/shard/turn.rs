//! Turn of a loop: mail, sends, the wait, received segments, timers.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::node::Node;
use super::pinned::pinned_limit;
use super::sessions::NodeLinks;
use crate::delivery::{Arrived, ArrivedBody};
use crate::driver::{Budget, ChunkPool, Completion, Driver, Entry, ReceiveBuffer, Slice, SocketId, Wait};
use crate::link::{Arrival, Delivery, DownReason};
use crate::mailbox::Ready;
use crate::roster::LinkKey;
use crate::session::SessionEvent;
use crate::time::Time;

/// Gap between two turns above which this process counts as stopped. The silence of peers in such a gap proves nothing.
const OVERSLEPT: Duration = Duration::from_millis(100);

/// Behaviour of a turn that finds nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhenIdle {
    /// The turn returns: the caller spins, or has other work.
    Return,
    /// The turn waits in the kernel until there is something to do, at most until this time.
    Park(Option<Time>),
}

/// Turn that has begun. [`Shard::finish`] completes it.
pub(crate) struct BegunTurn<E> {
    /// System call to be made, if one is needed.
    pub(crate) entry: Option<E>,
    /// Set if the system call may wait.
    pub(crate) waits: bool,
    worked: bool,
    began: Time,
}

impl<D: Driver> Shard<D> {
    /// Begins a bounded turn: reads the mailbox, sends what can be sent, and prepares the system call.
    ///
    /// Each kind of work (commands, signals, links with something to send, completions, timers) has its own [`Budget`]
    /// in a turn. Work beyond it is left for the next turn, which begins at once. So no kind of work delays the
    /// others, and every queue is served in every turn.
    ///
    /// The caller makes the system call, and may let other threads use the shard while the call waits. It then calls
    /// [`finish`](Shard::finish).
    pub(crate) fn begin(&mut self, idle: WhenIdle) -> BegunTurn<D::Entry> {
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
        // The outcome of the sends need not be known before the wait. But an application may wait for the outcome of a
        // command.
        let wait = if awaited { Wait::No } else { self.prepare_to_wait(idle) };
        BegunTurn { entry: self.driver.begin(wait), worked: awaited || flushed, waits: wait != Wait::No, began: now }
    }

    /// Completes a turn: handles completions, processes timers, wakes the applications.
    ///
    /// Returns whether the turn did any work other than receiving and sending heartbeats, or left something to read.
    ///
    /// # Errors
    ///
    /// When the driver has failed. It is unusable then.
    pub(crate) fn finish(&mut self, turn: BegunTurn<D::Entry>) -> io::Result<bool> {
        let now = if turn.waits {
            self.mailbox.wake_up();
            let now = self.driver.now();
            self.last_turn = now.min(self.woken_by);
            // Precedes the look at the deadlines: if this process was stopped during the wait, the peers were not
            // silent.
            self.notice_gap(now);
            now
        } else {
            turn.began
        };
        let reaped = self.driver.reap(&mut self.completions, now);
        let mut worked = turn.worked;
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

    /// Takes a turn without waiting, for a reactor that waits for the driver's descriptor. Returns whether there may be
    /// more to do at once. If not, the shard is marked as asleep, and the driver's descriptor becomes readable when
    /// there is.
    ///
    /// # Errors
    /// When the driver has failed. It is unusable then.
    pub(crate) fn poll(&mut self) -> io::Result<bool> {
        // The wait that the last call has prepared is over.
        let begun = match self.prepared.take() {
            Some(begun) => begun,
            None => self.begin(WhenIdle::Park(None)),
        };
        self.enter()?;
        self.finish(begun)?;
        let next = self.begin(WhenIdle::Park(None));
        if next.waits && next.entry.as_ref().is_some_and(Entry::waits) {
            self.prepared = Some(next);
            return Ok(false);
        }
        self.enter()?;
        self.finish(next)?;
        Ok(true)
    }

    fn enter(&mut self) -> io::Result<()> {
        self.driver.begin(Wait::No).map_or(Ok(()), Entry::enter)
    }

    /// Time of the next timer, while the shard is asleep. `None` if there is none.
    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.prepared.as_ref()?;
        (self.woken_by < Time::from_nanos(u64::MAX)).then_some(self.woken_by)
    }

    /// Notices a gap in which this process was stopped or starved. The peers' silence in it does not count.
    fn notice_gap(&mut self, now: Time) {
        let gap = now.since(self.last_turn);
        self.last_turn = now;
        if gap > OVERSLEPT {
            self.slept += gap;
        }
    }

    /// Returns how the loop is to wait. It does not wait if work is left, or arrives before the shard is marked as
    /// asleep.
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

    /// Processes commands and signals. Returns whether an application may wait for the outcome of a command.
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

    /// Handles a completion. Returns `false` if it brought only heartbeats.
    pub(super) fn complete(&mut self, completion: Completion, now: Time) -> bool {
        match completion {
            Completion::Received { socket, result: Ok(1..), buffer } => return self.received(socket, buffer, now),
            Completion::Handed { socket, bytes } => return self.handed(socket, &bytes, now),
            other => self.happens(other, now),
        }
        true
    }

    /// Handles bytes that were received over TCP. Returns `false` if they were only heartbeats.
    fn received(&mut self, socket: SocketId, buffer: ReceiveBuffer, now: Time) -> bool {
        let Some(connection) = self.connection(socket) else { return true };
        let (key, is_ended) = (connection.session.key(), connection.session.is_ended());
        if is_ended || key.is_some_and(|key| self.is_blocked(key)) {
            let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
            match connection.discard(buffer, &self.pool) {
                Ok((buffer, pinned)) => self.receive_next(socket, buffer, pinned),
                Err(_) => self.lose(socket, DownReason::NoMemory, now),
            }
            return true;
        }
        if !self.receive_segments(socket, buffer.bytes(), |payload| buffer.share(payload), now) {
            return true;
        }
        let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return true };
        let buffer = match connection.is_counted {
            true => connection.make_room(buffer, &self.pool),
            false => self.make_first_room(socket, buffer),
        };
        let needs_look = self.look_at_link(socket, now);
        match buffer {
            Ok((buffer, pinned)) if self.connection(socket).is_some() => self.receive_next(socket, buffer, pinned),
            Ok(_) => {}
            Err(error) => {
                let accepted = self.connection(socket).filter(|connection| connection.has_small_buffer);
                let accepted_by = accepted.map(|connection| connection.node);
                self.lose(socket, DownReason::NoMemory, now);
                if let Some(node) = accepted_by {
                    self.accept_failed(node, &error, now);
                }
            }
        }
        needs_look
    }

    /// Handles segments of a peer on the same engine, which are in the peer's memory. Returns `false` if they were only
    /// heartbeats.
    fn handed(&mut self, socket: SocketId, bytes: &Slice, now: Time) -> bool {
        let Some(connection) = self.connection(socket) else { return true };
        connection.session.rebase();
        if let Some(key) = connection.session.key()
            && self.is_blocked(key)
        {
            return true;
        }
        !self.receive_segments(socket, bytes, |payload| bytes.part(payload), now) || self.look_at_link(socket, now)
    }

    /// Handles the segments in `bytes` that the session has not parsed. `share` makes a payload the inbox's. Returns
    /// whether the session goes on.
    fn receive_segments(
        &mut self,
        socket: SocketId,
        bytes: &[u8],
        share: impl Fn(Range<usize>) -> Slice,
        now: Time,
    ) -> bool {
        loop {
            let Some(Some(connection)) = self.connections.get_mut(socket.0 as usize) else { return false };
            let id = connection.node;
            let Some(node) = self.nodes.get_mut(&id) else {
                self.driver.close(socket);
                return false;
            };
            let mut links = NodeLinks { node, id, slept: self.slept };
            match connection.session.receive(bytes, &mut links, now) {
                None => return true,
                Some(SessionEvent::Delivery { key, delivery, payload }) => {
                    links.node.deliver(key, delivery, (&bytes[payload.clone()], || share(payload)), &self.pool);
                    if self.touched.last() != Some(&id) {
                        self.touched.push(id);
                    }
                }
                Some(SessionEvent::Control) => {}
                Some(event) => {
                    if !self.handle_event(socket, event, now) {
                        return false;
                    }
                }
            }
        }
    }

    /// Looks at the link after received segments were handled. Returns `false` if they were only heartbeats.
    fn look_at_link(&mut self, socket: SocketId, now: Time) -> bool {
        let Some(key) = self.connection(socket).and_then(|connection| connection.session.up()) else { return true };
        let needs_look = self.slot(key).is_some_and(|slot| slot.link.take_needs_look());
        if needs_look {
            self.mark(key);
            self.poll_shutdown(key.node, now);
        } else {
            self.send_heartbeat(key, now, true);
        }
        needs_look
    }
}

impl Node {
    /// Pushes the content of a data segment into the inbox. For whole frames that is the payload, copied, or shared by
    /// `share`.
    fn deliver(
        &mut self,
        key: LinkKey,
        delivery: Delivery,
        (payload, share): (&[u8], impl FnOnce() -> Slice),
        pool: &Arc<ChunkPool>,
    ) {
        let Some(slot) = self.links.get_mut(key.link) else { return };
        let body = match delivery.arrival {
            Arrival::Frames if slot.pinned.is_copying() => {
                let copy = slot.pinned.copy(payload, pinned_limit(slot.link.inbox_bytes()), pool);
                ArrivedBody::Frames(copy.unwrap_or_else(share))
            }
            Arrival::Frames => ArrivedBody::Frames(share()),
            Arrival::Whole { id, payload } => ArrivedBody::Whole { id, payload },
            Arrival::Part => return,
        };
        for opened in slot.link.take_opened() {
            self.stats.receives(slot.link.peer(), opened);
        }
        let link = &slot.link;
        self.inbox.push(Arrived {
            pid: link.peer(),
            link: key,
            session: link.session(),
            incarnation: link.incarnation(),
            stream: delivery.stream,
            room: delivery.room,
            body,
        });
    }
}
