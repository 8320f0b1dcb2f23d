//! Removes a peer that lives, and adds it again.

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{Config, Handle, PeerError, Pid};

use crate::clock::now;
use crate::failure::Failure;
use crate::log::{Kind, Log, Record};

/// Who is a peer just now, for the threads that send and receive.
pub struct Roster {
    /// By pid: since when it has certainly not been a peer; 0 if it may be one.
    gone: [AtomicU64; MOST],
    /// By pid: whether a removal has begun, and the addition after it is not over.
    doubtful: [AtomicU64; MOST],
    changes: AtomicU64,
}

/// What the roster said of a peer at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    gone: bool,
    doubtful: bool,
    changes: u64,
}

/// Whether somebody was a peer during a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    Was,
    WasNot,
    Changed,
}

impl Default for Roster {
    fn default() -> Roster {
        let zeros = || std::array::from_fn(|_| AtomicU64::new(0));
        Roster { gone: zeros(), doubtful: zeros(), changes: AtomicU64::new(0) }
    }
}

impl Roster {
    pub fn look(&self, pid: Pid) -> Moment {
        Moment {
            gone: self.gone[index(pid)].load(Ordering::SeqCst) > 0,
            doubtful: self.doubtful[index(pid)].load(Ordering::SeqCst) > 0,
            changes: self.changes.load(Ordering::SeqCst),
        }
    }

    /// What a peer was since `before`.
    pub fn since(&self, pid: Pid, before: Moment) -> Membership {
        match (before, self.look(pid)) {
            (before, after) if before.changes != after.changes => Membership::Changed,
            (Moment { gone: true, .. }, Moment { gone: true, .. }) => Membership::WasNot,
            (Moment { doubtful: false, .. }, Moment { doubtful: false, .. }) => Membership::Was,
            _ => Membership::Changed,
        }
    }

    /// Whether something that this pid has sent at this time can only have come although it is no peer.
    pub fn is_uninvited(&self, pid: Pid, sent_at: u64) -> bool {
        let since = self.gone[index(pid)].load(Ordering::SeqCst);
        since > 0 && sent_at > since
    }

    fn set(&self, flags: &[AtomicU64; MOST], pid: Pid, value: u64) {
        // Before and after: nobody who looks twice misses it.
        self.changes.fetch_add(1, Ordering::SeqCst);
        flags[index(pid)].store(value, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// Removes a peer; one that is none is left alone.
pub fn remove(handle: &mut Handle, pid: Pid, roster: &Roster, log: &mut Log) -> Result<(), Failure> {
    if !handle.peers().contains(&pid) {
        return Ok(());
    }
    log.write(Record::about(Kind::Removing, pid, now()))?;
    roster.set(&roster.doubtful, pid, 1);
    let undelivered = handle.remove_peer(pid).map_err(failure)?;
    let time = now();
    roster.set(&roster.gone, pid, time);
    log.write(Record::about(Kind::Removed, pid, time).with(undelivered.messages, undelivered.bytes))?;
    Ok(())
}

/// Adds a peer that was removed, where the configuration says that it is.
pub fn add(handle: &mut Handle, pid: Pid, config: &Config, roster: &Roster, log: &mut Log) -> Result<(), Failure> {
    let server = config.servers.iter().find(|server| server.pid == pid);
    let Some(server) = server.filter(|_| !handle.peers().contains(&pid)) else { return Ok(()) };
    roster.set(&roster.gone, pid, 0);
    handle.add_peer(pid, &server.address).map_err(failure)?;
    roster.set(&roster.doubtful, pid, 0);
    log.write(Record::about(Kind::Added, pid, now()))?;
    Ok(())
}

fn failure(error: PeerError) -> Failure {
    Failure(error.to_string())
}

fn index(pid: Pid) -> usize {
    pid as usize % MOST
}

/// Pids are counted from 1, and there are fewer.
const MOST: usize = 16;
