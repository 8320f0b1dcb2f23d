//! Shortages: the kernel has no descriptor or no memory for another connection. A server reports a shortage and tries
//! again.

use std::io;
use std::time::Duration;

use super::Shard;
use super::timers::Timer;
use crate::driver::{Driver, with_cure};
use crate::events::Event;
use crate::time::Time;

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Pause after a failed accept if connections that have not greeted were closed.
const CLOSE_PAUSE: Duration = Duration::from_millis(1);
/// Time without a failed accept after which the shortage is over. While descriptors are few, every second accept may
/// fail, and that is one shortage.
const ACCEPT_TRIAL: Duration = Duration::from_secs(1);

/// State of accepting connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Accepting {
    Always,
    /// The last accept has failed, and the listener is paused for a moment.
    Paused,
    /// Connections are accepted again. The shortage is over if no accept fails for a while.
    Trying,
}

impl<D: Driver> Shard<D> {
    /// Pauses the listener after a failed accept, and closes connections that have not greeted in time, so that there
    /// is room for others soon. The shortage is reported once, until accepts succeed again.
    pub(super) fn accept_failed(&mut self, id: u32, error: &io::Error, now: Time) {
        let any_closed = self.close_silent_strangers();
        let Some(node) = self.nodes.get_mut(&id) else { return };
        if std::mem::replace(&mut node.accepting, Accepting::Paused) == Accepting::Always {
            node.events.push(Event::AcceptFailed { error: with_cure(error) }, now);
        }
        let may_close = node.strangers.next_end().map(|at| at.max(now + CLOSE_PAUSE));
        let pause = if any_closed { CLOSE_PAUSE } else { ACCEPT_PAUSE };
        let at = may_close.map_or(now + pause, |at| at.min(now + pause));
        self.timers.set(Timer::Listener(id), &mut node.listener_timer, at);
    }

    /// Accepts again after a pause, or ends the shortage if no accept has failed for a while.
    pub(super) fn listen_again(&mut self, id: u32, now: Time) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        node.listener_timer = None;
        let Some(listener) = node.listener.filter(|_| node.stopping.is_none()) else { return };
        if node.accepting == Accepting::Trying {
            node.accepting = Accepting::Always;
            return node.events.push(Event::AcceptResumed, now);
        }
        node.accepting = Accepting::Trying;
        if node.accepts() {
            // A waiting connection is accepted next, if there is a descriptor for it.
            self.driver.resume_accept(listener);
        }
        self.timers.set(Timer::Listener(id), &mut node.listener_timer, now + ACCEPT_TRIAL);
    }
}
