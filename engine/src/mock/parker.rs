//! Sleep of the thread that drives a switchboard.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::driver::Notifier;
use crate::mailbox::{Mailbox, Ready};

/// Parks the thread that drives a switchboard, until applications have work for it.
#[derive(Clone, Debug)]
pub struct Parker {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) notifier: Arc<Notifier>,
}

impl Parker {
    /// Sleeps until there is something to collect, [`wake`](Parker::wake) is called, or `timeout` is over. May return
    /// early. Only one thread may call this.
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

    /// Ends the present sleep, or the next one if no thread sleeps.
    pub fn wake(&self) {
        // Goes through the mailbox, so that a thread about to fall asleep sees it.
        self.mailbox.ready(Ready::Nothing);
    }
}
