//! The wait of a thread that turns a harness.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::driver::Notifier;
use crate::mailbox::{Mailbox, Ready};

/// Lets a thread sleep until an application has something for the harness.
#[derive(Clone, Debug)]
pub struct Sleeper {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) notifier: Arc<Notifier>,
}

impl Sleeper {
    /// Waits until there is something to collect, or something has called [`wake`](Sleeper::wake), at most `timeout`. Only
    /// one thread may call this. It may return early.
    pub fn sleep(&self, timeout: Option<Duration>) {
        self.notifier.wait_here();
        if !self.mailbox.fall_asleep() {
            return;
        }
        match timeout {
            Some(timeout) => thread::park_timeout(timeout),
            None => thread::park(),
        }
        self.mailbox.wake_up();
    }

    /// Ends the sleep, now or the next one: what was to be done has changed.
    pub fn wake(&self) {
        // Goes through the queue, so that a thread that is about to fall asleep sees it.
        self.mailbox.ready(Ready::Nothing);
    }
}
