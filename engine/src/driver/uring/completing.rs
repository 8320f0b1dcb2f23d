//! Completions of the ring: what they say of sockets and listeners.

use std::collections::VecDeque;

use io_uring::types::Fd;
use io_uring::{cqueue, opcode, squeue};

use super::{ALARM, CONNECT, LISTENERS, NOTIFIER, RECEIVE, SEND, SocketState, Uring, listeners, options, outcome};
use crate::driver::{Completion, SocketId};

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

    /// Submits a poll of the listeners, unless one is under way. It also reports connections that wait already.
    pub(super) fn watch_listeners(&mut self) {
        if !std::mem::replace(&mut self.watching, true) {
            let poll = opcode::PollAdd::new(Fd(self.listeners.descriptor()), libc::POLLIN as u32).build();
            self.push(poll.user_data(LISTENERS));
        }
    }

    fn accept_ready(&mut self, completions: &mut VecDeque<Completion>) {
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

    pub(super) fn complete(&mut self, entry: &cqueue::Entry, completions: &mut VecDeque<Completion>) {
        let (operation, socket) = (entry.user_data() & 0xFF, SocketId((entry.user_data() >> 8) as u32));
        if operation == NOTIFIER {
            if !cqueue::more(entry.flags()) {
                self.watch_notifier();
            }
            return;
        }
        if operation == ALARM {
            self.alarms.pop();
            return;
        }
        if operation == LISTENERS {
            self.watching = false;
            return self.accept_ready(completions);
        }
        let Some(state) = self.sockets.get_mut(socket) else { return };
        let result = outcome(entry.result());
        match operation {
            CONNECT => {
                state.waiting = false;
                state.address = None;
                if !state.closing {
                    completions.push_back(Completion::Connected { socket, result: result.map(drop) });
                }
            }
            RECEIVE => {
                if let Some(mut buffer) = state.receive.take() {
                    if let Ok(bytes) = result {
                        // SAFETY: the kernel reports that it has written that many bytes, and the receive is over.
                        unsafe { buffer.advance(bytes) };
                    }
                    if !state.closing {
                        completions.push_back(Completion::Received { socket, result, buffer });
                    }
                }
            }
            SEND => {
                if let Some(send) = state.send.take()
                    && !state.closing
                {
                    let (batch, result) = send.end(result);
                    completions.push_back(Completion::Sent { socket, result, batch });
                }
            }
            _ => state.cancelling = state.cancelling.saturating_sub(1),
        }
        self.forget_if_idle(socket, completions);
    }
}

/// Returns whether the kernel asks to be entered for completions.
pub(super) fn claims_work(queue: &squeue::SubmissionQueue<'_>) -> bool {
    queue.taskrun() || queue.cq_overflow()
}
