//! The outbox: sends envelopes.

mod claim;
mod errors;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use cluster_engine::{DropPolicy, Lane, Pid, PushError, Sender};

pub use claim::Claim;
pub use errors::{FlushError, SendError};

use crate::wait::wait;
use crate::{Draft, Incarnation, Recipients};

/// Message ids that an outbox reserves at once, so that the outboxes of one server do not contend for them.
const IDS: i64 = 1024;

/// Upper bound of random first message ids. Floating-point numbers, the usual numbers of JSON, represent all ids below
/// it exactly.
const FIRST_IDS: u64 = 1 << 52;

/// Returns the first automatic message id of a server: the configured one, or one derived from its random incarnation.
pub(crate) fn first_id(configured: Option<i64>, incarnation: &Incarnation) -> i64 {
    let drawn = u64::from_le_bytes(*incarnation.first_chunk().unwrap_or(&[0; 8])) % FIRST_IDS;
    configured.unwrap_or(drawn.max(1) as i64)
}

/// Outbox of a server: sends envelopes to its peers.
///
/// | call | what happens to the envelope when a recipient has no room |
/// | --- | --- |
/// | [`send`](Outbox::send) | waits for room |
/// | [`send_timeout`](Outbox::send_timeout) | waits until the timeout, then returns it for those without room |
/// | [`try_send`](Outbox::try_send) | returns it for those without room |
/// | [`claim`](Outbox::claim) | waits for room; the message is encoded in place: the fast path |
/// | [`try_claim`](Outbox::try_claim) | returns an error; the message is encoded in place: the fast path |
///
/// ```
/// use cluster::mock::{Cluster, Time};
/// use cluster::{BROADCAST, Envelope, SendError, Server};
///
/// let cluster = Cluster::with_time(1, Time::Virtual);
/// let mut servers = cluster.add_servers([100, 200])?;
/// let outbox = servers[0].outbox();
/// outbox.send(Envelope::to(200).id(7).body("for one server"))?;
/// outbox.send(Envelope::to(BROADCAST).urgent().body("for all of them"))?;
///
/// let error = outbox.send(Envelope::to(999).body("for nobody")).unwrap_err();
/// assert!(matches!(error, SendError::UnknownPid { pid: 999, .. }));
/// assert_eq!(error.into_envelope().message(), b"for nobody");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An envelope that the outbox has taken is delivered once and in order while the recipient and this server live. This
/// holds across any number of disconnects, and for a recipient that has not started yet. If the recipient is restarted,
/// its next incarnation receives the envelopes that the previous one has not acknowledged. An answer to a request
/// should therefore be sent only to the [incarnation](Draft::only_incarnation) that asked.
///
/// The order of envelopes holds within an outbox, for each recipient and lane. A clone is a separate outbox, for
/// another thread. A clone for each request is cheap: a dropped outbox leaves its memory and its unsent envelopes to
/// the next clone. Up to eight dropped outboxes are kept for reuse.
///
/// An inline server sends when its loop turns: in `recv`, `drain`, [`Handle::poll`](crate::Handle::poll), a `send` that
/// waits for room, a [`flush`](Outbox::flush), and after every 128 KiB. A `send` that waits for room on another thread
/// waits until the server's own thread turns the loop.
pub struct Outbox {
    sender: Sender,
    pid: Pid,
    ids: Arc<AtomicI64>,
    next_id: i64,
    last_id: i64,
}

impl Outbox {
    pub(crate) fn new(sender: Sender, pid: Pid, first_id: i64) -> Outbox {
        Outbox { sender, pid, ids: Arc::new(AtomicI64::new(first_id)), next_id: 0, last_id: 0 }
    }

    /// Sends an envelope. Waits until every recipient has room for it.
    ///
    /// A recipient that is absent has room until `outbox_bytes` are queued for it.
    ///
    /// # Errors
    /// - `UnknownPid`, `TooLarge`: no recipient gets the envelope. If a recipient is removed while the envelope waits
    ///   for room, all others still get it.
    /// - `Stopped`: the server has stopped. The envelope is returned, addressed to the recipients that did not get it.
    /// - `Restarted`, `NotOneRecipient`: see [`only_incarnation`](Draft::only_incarnation).
    /// - `TooManyOutboxes`, `NoMemory`: see [`SendError`]. The envelope is returned, addressed to the recipients that
    ///   did not get it.
    #[inline(always)]
    pub fn send(&mut self, draft: Draft<'_>) -> Result<(), SendError> {
        self.send_until(draft, None, true)
    }

    /// Sends an envelope. Waits at most `timeout` until every recipient has room for it.
    ///
    /// # Errors
    /// `Full` returns the envelope, addressed to the recipients that had no room in time. All other errors are those of
    /// [`send`](Outbox::send).
    pub fn send_timeout(&mut self, draft: Draft<'_>, timeout: Duration) -> Result<(), SendError> {
        self.send_until(draft, self.sender.loop_handle().now().checked_add(timeout), true)
    }

    /// Sends an envelope to every recipient that has room for it now.
    ///
    /// # Errors
    /// `Full` returns the envelope, addressed to the recipients that had no room. All other errors are those of
    /// [`send`](Outbox::send).
    #[inline(always)]
    pub fn try_send(&mut self, draft: Draft<'_>) -> Result<(), SendError> {
        self.send_until(draft, None, false)
    }

    /// Claims room for a message of `length` bytes to `pid`, to encode the message in place. Waits until there is room.
    ///
    /// ```no_run
    /// # let config = cluster::Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")]).unwrap();
    /// # use cluster::Server;
    /// # let mut alice = cluster::start(100, &config).unwrap();
    /// alice.outbox().claim(200, 8)?.write(|buffer| buffer.copy_from_slice(&7u64.to_le_bytes()))?;
    /// # Ok::<(), cluster::SendError>(())
    /// ```
    ///
    /// # Errors
    /// Errors are those of [`send`](Outbox::send). The envelope in the error is empty, because no message was written
    /// yet.
    #[inline(always)]
    pub fn claim(&mut self, pid: Pid, length: usize) -> Result<Claim<'_>, SendError> {
        self.claim_on(pid, length, Lane::Normal, true)
    }

    /// Claims room for a message of `length` bytes to `pid`, to encode the message in place, if there is room now.
    ///
    /// # Errors
    /// Errors are those of [`try_send`](Outbox::try_send). The envelope in the error is empty, because no message was
    /// written yet.
    #[inline(always)]
    pub fn try_claim(&mut self, pid: Pid, length: usize) -> Result<Claim<'_>, SendError> {
        self.claim_on(pid, length, Lane::Normal, false)
    }

    /// Waits until every recipient has acknowledged all that this outbox has sent to it, at most `timeout`.
    ///
    /// An acknowledged envelope is in the recipient's inbox. The call does not wait for envelopes that were dropped
    /// because their time to live was over or because they were best effort. It does not cover other outboxes of this
    /// server. A clone that took over the streams of a dropped outbox also waits for the envelopes that the dropped
    /// outbox left.
    ///
    /// # Errors
    /// - `Timeout` names the peers that have not acknowledged everything.
    /// - `Stopped`: the server stopped first.
    /// - `WrongThread`: the server is inline and belongs to another thread.
    pub fn flush(&mut self, timeout: Duration) -> Result<(), FlushError> {
        let loop_handle = self.sender.loop_handle().clone();
        if !self.sender.is_stopped() && loop_handle.is_elsewhere() {
            return Err(FlushError::WrongThread);
        }
        let deadline = loop_handle.now().checked_add(timeout);
        self.sender.request_ack();
        let flushed = wait(
            &loop_handle,
            deadline,
            &mut self.sender,
            |sender| match sender.unflushed_peers() {
                _ if sender.is_stopped() => Some(Err(FlushError::Stopped)),
                pids if pids.is_empty() => Some(Ok(())),
                _ => None,
            },
            |sender, waker| {
                // The next call of the closure above checks whether anything is left.
                let _ = sender.wait_for_flush(waker);
            },
        );
        flushed.unwrap_or_else(|| Err(FlushError::Timeout { pids: self.sender.unflushed_peers() }))
    }

    #[inline(always)]
    fn claim_on(&mut self, pid: Pid, length: usize, lane: Lane, patient: bool) -> Result<Claim<'_>, SendError> {
        let id = self.take_id();
        let index = match self.sender.ready(pid, lane, length) {
            Some(index) => index,
            None => self.make_ready(pid, length, lane, patient)?,
        };
        Ok(Claim { outbox: self, pid, index, lane, id, length })
    }

    /// Waits for room for `length` bytes to the peer `pid`, if `patient`. Returns the peer's index.
    #[inline(never)]
    fn make_ready(&mut self, pid: Pid, length: usize, lane: Lane, patient: bool) -> Result<usize, SendError> {
        let ready = self.sender.index_of(pid).and_then(|index| match self.sender.has_room(index, lane, length)? {
            true => Ok(index),
            false if patient => self.wait_for_room(index, lane, length, None).map(|()| index),
            false => Err(PushError::Full),
        });
        ready.map_err(|error| self.error(error, Draft::new(Recipients::One(pid), lane), vec![pid]))
    }

    #[inline(always)]
    fn send_until(&mut self, draft: Draft<'_>, deadline: Option<Instant>, patient: bool) -> Result<(), SendError> {
        let id = match draft.id {
            Some(id) => id,
            None => self.take_id(),
        };
        // The usual case, without a list of recipients. On any obstacle the general case decides.
        if let Recipients::One(pid) = draft.to
            && !draft.is_droppable()
            && let Ok(index) = self.sender.index_of(pid)
            && self.sender.push_at_once(index, draft.lane, id, &draft.body, true)
        {
            return Ok(());
        }
        self.send_to_each(draft, id, deadline, patient)
    }

    #[cold]
    fn send_to_each(
        &mut self,
        mut draft: Draft<'_>,
        id: i64,
        deadline: Option<Instant>,
        patient: bool,
    ) -> Result<(), SendError> {
        let everyone;
        let recipients: &[Pid] = match &draft.to {
            Recipients::One(pid) if *pid == cluster_engine::BROADCAST => {
                everyone = self.sender.peers().to_vec();
                &everyone
            }
            Recipients::One(pid) => std::slice::from_ref(pid),
            Recipients::Several(pids) => pids,
        };
        if draft.only.is_some() && !draft.has_one_recipient() {
            return Err(SendError::NotOneRecipient { envelope: Box::new(draft.into_owned()) });
        }
        // The check precedes all writes: an envelope with an unknown recipient, or too long for one of them, is sent to
        // no recipient.
        let length = draft.body.len();
        if length as u64 > self.sender.max_envelope_bytes() {
            let limit = self.sender.max_envelope_bytes();
            return Err(self.error(PushError::TooLarge { limit }, draft, Vec::new()));
        }
        let all_accept = self.sender.all_accept(length);
        let refused = recipients.iter().find_map(|pid| {
            let checked = match self.sender.index_of(*pid) {
                Ok(index) if !all_accept => self.sender.check_length(index, length),
                found => found.map(drop),
            };
            checked.err().map(|error| (*pid, error))
        });
        if let Some((pid, error)) = refused {
            return Err(self.error(error, draft, vec![pid]));
        }
        let expires = draft.ttl.map(|ttl| self.sender.loop_handle().time_in(ttl));
        let policy = DropPolicy { expires, best_effort: draft.best_effort, only: draft.only };
        let alone = recipients.len() == 1;
        let mut failed = Vec::new();
        let mut failure = PushError::Full;
        for &pid in recipients {
            let sent = self.sender.index_of(pid).and_then(|index| {
                loop {
                    let droppable = policy.is_droppable();
                    if !droppable && self.sender.push_at_once(index, draft.lane, id, &draft.body, alone) {
                        return Ok(());
                    }
                    let pushed = if droppable {
                        self.sender.push_droppable(index, draft.lane, id, &draft.body, policy)
                    } else {
                        self.sender.push(index, draft.lane, id, &draft.body, alone)
                    };
                    match pushed {
                        Err(PushError::Full) if patient => {
                            self.wait_for_room(index, draft.lane, draft.body.len(), deadline)?;
                        }
                        pushed => return pushed,
                    }
                }
            });
            if let Err(error) = sent {
                failed.push(pid);
                failure = error;
            }
        }
        if failed.is_empty() {
            return Ok(());
        }
        if let (PushError::UnknownPid, Some(pid)) = (failure, failed.last().copied()) {
            // The peer was removed while the envelope waited for room: that peer alone does not get the envelope.
            let envelope = Box::new(draft.id(id).readdressed(failed).into_owned());
            return Err(SendError::UnknownPid { envelope, pid, this: self.pid });
        }
        if failed.len() < recipients.len() {
            // A repeated send to the others must use the same id.
            draft.id = Some(id);
        }
        Err(self.error(failure, draft, failed))
    }

    #[cold]
    fn wait_for_room(
        &mut self,
        index: usize,
        lane: Lane,
        length: usize,
        deadline: Option<Instant>,
    ) -> Result<(), PushError> {
        let loop_handle = self.sender.loop_handle().clone();
        let room = wait(
            &loop_handle,
            deadline,
            &mut self.sender,
            |sender| match sender.has_room(index, lane, length) {
                Ok(false) if !loop_handle.is_stopped() => None,
                Ok(room) => Some(if room { Ok(()) } else { Err(PushError::Stopped) }),
                Err(error) => Some(Err(error)),
            },
            |sender, waker| {
                // The next call of the closure above checks whether there is room, or an end to the wait.
                let _ = sender.wait_for_room(index, lane, length, waker);
            },
        );
        room.unwrap_or(Err(PushError::Full))
    }

    #[inline(always)]
    fn take_id(&mut self) -> i64 {
        if self.next_id == self.last_id {
            self.next_id = self.ids.fetch_add(IDS, Ordering::Relaxed);
            self.last_id = self.next_id.wrapping_add(IDS);
        }
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        id
    }

    #[cold]
    fn lost(&self, pid: Pid, lane: Lane, id: i64, error: PushError, message: Vec<u8>) -> SendError {
        self.error(error, Draft::new(Recipients::One(pid), lane).id(id).body(message), vec![pid])
    }

    #[cold]
    fn error(&self, error: PushError, draft: Draft<'_>, pids: Vec<Pid>) -> SendError {
        match error {
            PushError::UnknownPid => {
                let pid = pids.first().copied().unwrap_or_default();
                SendError::UnknownPid { envelope: Box::new(draft.into_owned()), pid, this: self.pid }
            }
            PushError::TooLarge { limit } => {
                let pid = pids.first().copied().filter(|_| limit < self.sender.max_envelope_bytes());
                SendError::TooLarge { envelope: Box::new(draft.into_owned()), limit, pid }
            }
            PushError::Stopped => SendError::Stopped { envelope: Box::new(draft.readdressed(pids).into_owned()) },
            PushError::TooManyOutboxes => {
                SendError::TooManyOutboxes { envelope: Box::new(draft.readdressed(pids).into_owned()) }
            }
            PushError::Restarted => {
                let pid = pids.first().copied().unwrap_or_default();
                SendError::Restarted { envelope: Box::new(draft.into_owned()), pid }
            }
            PushError::NoMemory => {
                let (envelope, bytes) = (Box::new(draft.readdressed(pids).into_owned()), self.sender.ring_bytes());
                SendError::NoMemory { envelope, bytes }
            }
            _ => SendError::Full { envelope: Box::new(draft.readdressed(pids).into_owned()) },
        }
    }
}

impl Clone for Outbox {
    /// Makes a separate outbox of the same server, with its own order of envelopes and its own `outbox_bytes` for each
    /// peer and lane.
    fn clone(&self) -> Outbox {
        Outbox { sender: self.sender.clone(), pid: self.pid, ids: self.ids.clone(), next_id: 0, last_id: 0 }
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("pid", &self.pid).finish_non_exhaustive()
    }
}
