//! Stalls of the machine: a core does not run its threads. The servers cannot be blamed for what they do then.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::clock::{MILLISECOND, now};
use crate::failure::{Context, Failure};

/// Stalls that were noticed.
pub struct Stalls(Arc<Mutex<Vec<(u64, u64)>>>);

impl Stalls {
    /// Returns all stalls since the last call.
    pub fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches each core by itself until the process ends: while one core is stalled, so is a thread of a server that waits
/// for it, whatever the other cores do.
pub fn watch() -> Result<Stalls, Failure> {
    let stalls = Arc::new(Mutex::new(Vec::new()));
    let allowed = sched_getaffinity(None).context(|| "cannot ask for the cores".to_owned())?;
    for core in (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core)) {
        let noted = stalls.clone();
        let watching = move || {
            let mut own = CpuSet::new();
            own.set(core);
            // A core that is taken away meanwhile is watched from another one.
            let _ = sched_setaffinity(None, &own);
            watch_here(&noted);
        };
        thread::Builder::new().name(format!("stalls-{core}")).spawn(watching).context(|| "no thread".to_owned())?;
    }
    Ok(Stalls(stalls))
}

fn watch_here(noted: &Mutex<Vec<(u64, u64)>>) {
    let mut before = now();
    loop {
        thread::sleep(Duration::from_millis(20));
        let after = now();
        if after - before > NOTABLE {
            noted.lock().unwrap_or_else(PoisonError::into_inner).push((before, after));
        }
        before = after;
    }
}

const NOTABLE: u64 = 200 * MILLISECOND;
