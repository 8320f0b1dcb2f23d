//! State that all outboxes of a server share.

use std::mem;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::PushError;
use super::streams::Streams;
use crate::callback::Callbacks;
use crate::grace::Grace;
use crate::link::Pid;
use crate::roster::{LinkId, Roster};
use crate::stats::StatsTable;

/// Most dropped outboxes that leave their streams to later clones.
const SPARES: usize = 8;

/// State that all outboxes of a server share.
pub(crate) struct OutboxShared {
    pub(crate) node: u32,
    pub(crate) roster: Arc<Roster>,
    pub(crate) ring_bytes: usize,
    pub(crate) max_envelope_bytes: u64,
    pub(crate) numbers: AtomicU32,
    /// Number of outboxes.
    pub(crate) outboxes: AtomicU32,
    pub(crate) stats: Arc<StatsTable>,
    /// Grace periods. Every write is a section, from its check of the roster to its end.
    pub(crate) grace: Arc<Grace>,
    /// Streams of outboxes that were dropped.
    ///
    /// A program that clones an outbox for each request would otherwise open and end streams all the time.
    pub(crate) spares: Mutex<Vec<Streams>>,
    pub(crate) callbacks: Callbacks,
}

impl OutboxShared {
    /// Closes the outboxes of the server. When this returns, no envelope is accepted any more, and the accepted ones
    /// are in their streams. Returns `false` if the outboxes were closed before.
    pub(crate) fn close(&self) -> bool {
        let first = self.roster.close();
        self.grace.wait();
        self.take_spares();
        first
    }

    /// Removes a peer. When this returns, no envelope to the peer is accepted any more, and the accepted ones are in
    /// their streams. Returns the peer's link. The caller must [release](Roster::release) the link when the loop has
    /// let go of it. `None`: `pid` is no peer.
    pub(crate) fn remove_peer(&self, pid: Pid) -> Option<LinkId> {
        let link = self.roster.remove(pid)?;
        self.grace.wait();
        self.spares().iter_mut().for_each(|streams| streams.remove(link));
        Some(link)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.roster.is_closed()
    }

    /// Checks that an outbox may still write on `link`, which it found when the roster had this version. Returns the
    /// link.
    ///
    /// # Errors
    /// `Stopped` if the server has stopped; `UnknownPid` if there is no link, or the peer was removed.
    #[cold]
    pub(super) fn allows(&self, link: Option<LinkId>, version: u64) -> Result<LinkId, PushError> {
        match link {
            _ if self.is_stopped() => Err(PushError::Stopped),
            Some(link) if self.roster.is_still(version) || self.roster.has(link) => Ok(link),
            _ => Err(PushError::UnknownPid),
        }
    }

    /// Takes the streams of a dropped outbox for a new one. Returns empty ones if there are none.
    pub(super) fn take_streams(&self) -> Streams {
        self.spares().pop().unwrap_or_default()
    }

    /// Keeps the streams of a dropped outbox, which knows the roster as of `version`.
    ///
    /// # Errors
    /// The streams, if the caller is to end them: [`SPARES`] are kept already, or the roster has changed.
    pub(super) fn keep_streams(&self, streams: Streams, version: u64) -> Result<(), Streams> {
        let mut spares = self.spares();
        // The roster is checked under the lock: a thread that stops the server or removes a peer changes the roster
        // first, and then takes this lock.
        if spares.len() == SPARES || !self.roster.is_still(version) {
            return Err(streams);
        }
        spares.push(streams);
        Ok(())
    }

    /// Takes all kept streams. They end when they are dropped. A link that stays up must be signalled then.
    pub(crate) fn take_spares(&self) -> Vec<Streams> {
        mem::take(&mut *self.spares())
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Streams>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
