//! Polls that the ring keeps: of the notifier and of the listeners.

use std::collections::VecDeque;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};

use super::{LISTENERS, NOTIFIER, SocketState, Uring, listeners, options};
use crate::driver::Completion;

impl Uring {
    /// Returns the number of completions that the kernel may have yet to run: 0, or the most that there can be.
    ///
    /// The kernel sets its flag after it has queued work, and so sometimes after that work was run. It clears the flag
    /// only when there is work again: a loop that waited for a clear flag would not end.
    pub(super) fn left_to_run(&mut self) -> usize {
        match claims_work(&self.ring.submission()) {
            // A receive and a send of each socket, and a few operations of the ring itself.
            true => 2 * self.sockets.len() + 1,
            false => 0,
        }
    }

    /// Submits a poll of the notifier, which lasts.
    pub(super) fn watch_notifier(&mut self) {
        let poll = opcode::PollAdd::new(Fd(self.notifier.descriptor()), libc::POLLIN as u32).multi(true).build();
        self.push(poll.user_data(NOTIFIER));
    }

    /// Submits a poll of the listeners, unless one is under way. It also reports connections that wait already.
    pub(super) fn watch_listeners(&mut self) {
        if !std::mem::replace(&mut self.watching, true) {
            let poll = opcode::PollAdd::new(Fd(self.listeners.descriptor()), libc::POLLIN as u32).build();
            self.push(poll.user_data(LISTENERS));
        }
    }

    pub(super) fn accept_ready(&mut self, completions: &mut VecDeque<Completion>) {
        for listener in self.listeners.ready() {
            let Some(descriptor) = self.sockets.open_descriptor(listener) else { continue };
            let mut connections = Vec::new();
            let accepted = listeners::accept(descriptor, &mut connections);
            // After an error, the listener is not watched until the shard resumes it.
            let watched = accepted.and_then(|()| self.listeners.watch(descriptor, listener));
            for (connection, source) in connections {
                let _ = options::set_up_connection(&connection);
                let socket = self.sockets.insert(SocketState::new(connection));
                completions.push_back(Completion::Accepted { listener, socket, source });
            }
            if let Err(error) = watched {
                completions.push_back(Completion::AcceptFailed { listener, error });
            }
        }
        self.watch_listeners();
    }
}

/// Returns whether the kernel asks to be entered for completions.
pub(super) fn claims_work(queue: &squeue::SubmissionQueue<'_>) -> bool {
    queue.taskrun() || queue.cq_overflow()
}
