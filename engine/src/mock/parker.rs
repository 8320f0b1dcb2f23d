//! The sleep of a thread that turns a switchboard.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::driver::Notifier;
use crate::mailbox::{Mailbox, Ready};

/// Parks a thread until an application has something for the switchboard.
#[derive(Clone, Debug)]
pub struct Parker {
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) notifier: Arc<Notifier>,
}

impl Parker {
    /// Waits until there is something to collect, or [`wake`](Parker::wake) is called, at most `timeout`. Only one thread
    /// may call this. It may return early.
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

    /// Ends the sleep, the present one or the next.
    pub fn wake(&self) {
        // Goes through the queue, so that a thread that is about to fall asleep sees it.
        self.mailbox.ready(Ready::Nothing);
    }
}
