//! Removal of a live peer, and its addition afterwards.

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::{Config, Handle, PeerError, Pid};

use crate::clock::now;
use crate::failure::Failure;
use crate::log::{Kind, Log, Record};

/// Current peers, for the threads that send and receive.
pub struct Roster {
    /// Time since which a pid has certainly not been a peer, by pid; 0 if it may be one.
    gone: [AtomicU64; MOST],
    /// 1 from the beginning of a removal until the end of the next addition, by pid.
    doubtful: [AtomicU64; MOST],
    changes: AtomicU64,
}

/// State of a peer in the roster at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    gone: bool,
    doubtful: bool,
    changes: u64,
}

/// Membership of a server during a call.
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

    /// Returns the membership of a peer since `before`.
    pub fn since(&self, pid: Pid, before: Moment) -> Membership {
        match (before, self.look(pid)) {
            (before, after) if before.changes != after.changes => Membership::Changed,
            (Moment { gone: true, .. }, Moment { gone: true, .. }) => Membership::WasNot,
            (Moment { doubtful: false, .. }, Moment { doubtful: false, .. }) => Membership::Was,
            _ => Membership::Changed,
        }
    }

    /// Returns whether a message that `pid` has sent at `sent_at` can only have arrived although `pid` is no peer.
    pub fn is_uninvited(&self, pid: Pid, sent_at: u64) -> bool {
        let since = self.gone[index(pid)].load(Ordering::SeqCst);
        since > 0 && sent_at > since
    }

    fn set(&self, flags: &[AtomicU64; MOST], pid: Pid, value: u64) {
        // Counted before and after the store: a reader that looks twice cannot miss the change.
        self.changes.fetch_add(1, Ordering::SeqCst);
        flags[index(pid)].store(value, Ordering::SeqCst);
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// Removes a peer. Does nothing if `pid` is not a peer.
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

/// Adds a peer that was removed, at its address in the configuration.
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

/// Size of the tables: pids count from 1, and there are fewer than this.
const MOST: usize = 16;
