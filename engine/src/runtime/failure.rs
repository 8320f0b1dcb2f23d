//! Failure of an event loop: a panic of the engine, an error of its ring, or a mutex that another thread has poisoned.
//!
//! A failed loop takes no further turn. Its servers accept nothing more, their undelivered envelopes are counted
//! (`Shard::fail`), and each server gets an event. The drop of the shard then ends the streams and inboxes, which wakes
//! all threads that wait for them. The mailbox of the loop and its queue in the local registry are closed, so that
//! nothing piles up there.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::WrongThread;
use crate::link::Undelivered;

/// Failure of a loop, shared by all users of the loop.
#[derive(Debug, Default)]
pub(super) struct Failure {
    set: AtomicBool,
    state: Mutex<State>,
    accounted: Condvar,
}

#[derive(Debug, Default)]
struct State {
    message: String,
    /// Undelivered envelopes of each server; `None` until they are counted.
    undelivered: Option<BTreeMap<u32, Vec<Undelivered>>>,
}

impl Failure {
    /// Records the failure. The loop takes no further turn. Returns `false` if the loop had failed before.
    pub(super) fn set(&self, message: &str) -> bool {
        let mut state = self.lock();
        if self.is_set() {
            return false;
        }
        message.clone_into(&mut state.message);
        self.set.store(true, Ordering::Release);
        true
    }

    /// Stores the undelivered envelopes of the loop's servers.
    pub(super) fn account(&self, undelivered: BTreeMap<u32, Vec<Undelivered>>) {
        self.lock().undelivered = Some(undelivered);
        self.accounted.notify_all();
    }

    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.set.load(Ordering::Acquire)
    }

    /// Returns the failure, if the loop has failed.
    pub(super) fn get(&self) -> Option<LoopFailed> {
        self.is_set().then(|| LoopFailed { message: self.lock().message.clone() })
    }

    /// Returns the undelivered envelopes of a server. Waits at most `patience` until they are counted. Returns `None`
    /// if they were not counted in time, or if the loop did not have this server.
    pub(super) fn undelivered(&self, node: u32, patience: Duration) -> Option<Vec<Undelivered>> {
        let deadline = Instant::now() + patience;
        let mut state = self.lock();
        loop {
            if let Some(undelivered) = &state.undelivered {
                return undelivered.get(&node).cloned();
            }
            let left = deadline.checked_duration_since(Instant::now())?;
            state = self.accounted.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Error: the event loop of a server has failed, and the server with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopFailed {
    /// Description of the failure.
    pub message: String,
}

impl fmt::Display for LoopFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the event loop has failed: {}; stop the server and start it again", self.message)
    }
}

impl std::error::Error for LoopFailed {}

/// Reason for a call on a loop to do nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoopUnavailable {
    /// The loop has failed.
    Failed(LoopFailed),
    /// The loop belongs to another thread.
    WrongThread(WrongThread),
}
