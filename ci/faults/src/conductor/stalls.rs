//! Notices when the machine does not let this process run: what the servers do then says nothing about them.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::clock::{MILLISECOND, now};
use crate::failure::{Context, Failure};

/// The stalls that were noticed.
pub struct Stalls(Arc<Mutex<Vec<(u64, u64)>>>);

impl Stalls {
    /// All that there were since this was last asked.
    pub fn take(&self) -> Vec<(u64, u64)> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Watches until the process ends.
pub fn watch() -> Result<Stalls, Failure> {
    let stalls = Arc::new(Mutex::new(Vec::new()));
    let noted = stalls.clone();
    let watching = move || {
        let mut before = now();
        loop {
            thread::sleep(Duration::from_millis(20));
            let after = now();
            if after - before > NOTABLE {
                noted.lock().unwrap_or_else(PoisonError::into_inner).push((before, after));
            }
            before = after;
        }
    };
    thread::Builder::new().name("stalls".to_owned()).spawn(watching).context(|| "no thread".to_owned())?;
    Ok(Stalls(stalls))
}

const NOTABLE: u64 = 200 * MILLISECOND;
