//! What all outboxes of a server share.

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

/// So many outboxes that were dropped leave their streams to the clones that come.
const SPARES: usize = 8;

/// What all outboxes of a server share.
pub(crate) struct OutboxShared {
    pub(crate) node: u32,
    pub(crate) roster: Arc<Roster>,
    pub(crate) ring_bytes: usize,
    pub(crate) max_envelope_bytes: u64,
    pub(crate) numbers: AtomicU32,
    /// How many there are.
    pub(crate) outboxes: AtomicU32,
    pub(crate) stats: Arc<StatsTable>,
    /// Every write, from its look at the roster to its end, is a section of this.
    pub(crate) grace: Arc<Grace>,
    /// The streams of outboxes that were dropped.
    ///
    /// A program that clones an outbox for each request would otherwise open and end streams all the time.
    pub(crate) spares: Mutex<Vec<Streams>>,
    pub(crate) callbacks: Callbacks,
}

impl OutboxShared {
    /// From now on nothing more is taken, and what was taken stands in its stream. `false`: that was so before.
    pub(crate) fn close(&self) -> bool {
        let first = self.roster.close();
        self.grace.wait();
        self.take_spares();
        first
    }

    /// From now on nothing more is taken for this peer, and what was taken stands in its stream. Returns its link,
    /// which is to be [released](Roster::release) when the loop has let go of it.
    pub(crate) fn remove_peer(&self, pid: Pid) -> Option<LinkId> {
        let link = self.roster.remove(pid)?;
        self.grace.wait();
        self.spares().iter_mut().for_each(|streams| streams.remove(link));
        Some(link)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.roster.is_closed()
    }

    /// Returns whether something may still be written on the link that stood somewhere when the roster had this
    /// version.
    #[cold]
    pub(super) fn allows(&self, link: Option<LinkId>, version: u64) -> Result<LinkId, PushError> {
        match link {
            _ if self.is_stopped() => Err(PushError::Stopped),
            Some(link) if self.roster.is_still(version) || self.roster.has(link) => Ok(link),
            _ => Err(PushError::UnknownPid),
        }
    }

    /// Streams for an outbox that begins: those of one that is gone, if there are any.
    pub(super) fn take_streams(&self) -> Streams {
        self.spares().pop().unwrap_or_default()
    }

    /// Keeps the streams of an outbox that is gone, whose links it knows as of this version. They come back if they are
    /// to end.
    pub(super) fn keep_streams(&self, streams: Streams, version: u64) -> Result<(), Streams> {
        let mut spares = self.spares();
        // Looked at under the lock: whoever stops the server or removes a peer changes the roster first, then looks
        // here.
        if spares.len() == SPARES || !self.roster.is_still(version) {
            return Err(streams);
        }
        spares.push(streams);
        Ok(())
    }

    /// The streams that wait for a clone. They end when they are dropped; their links must be told where they go on.
    pub(crate) fn take_spares(&self) -> Vec<Streams> {
        mem::take(&mut *self.spares())
    }

    fn spares(&self) -> MutexGuard<'_, Vec<Streams>> {
        self.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
