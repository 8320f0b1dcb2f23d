//! Events of a server's peers.

use std::fmt;
use std::time::Duration;

use cluster_engine::Event;

use crate::wait::wait;

/// Queue of the events of a server's peers, in order: see [`Event`].
///
/// The queue holds at most 1,024 unread events. When more come, the oldest are dropped, except for the newest of each
/// kind and peer. A program that reads again first gets [`Event::Missed`], then the present state of each peer, then
/// the events since. [`peer_state`](crate::Server::peer_state) returns the state at any time.
///
/// ```
/// use cluster::mock::{Cluster, Time};
/// use cluster::{DownReason, Event, Server};
///
/// let cluster = Cluster::with_time(1, Time::Virtual);
/// let mut one = cluster.add_server(1)?;
/// let mut two = cluster.add_server(2)?;
/// two.stop()?;
/// let mut reasons = Vec::new();
/// while let Some(event) = one.events().try_next() {
///     match event {
///         Event::Up { pid, .. } => println!("{pid} is up"),
///         Event::Down { reason, .. } => reasons.push(reason),
///         _ => {}
///     }
/// }
/// assert_eq!(reasons, [DownReason::Stopped]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Events {
    events: cluster_engine::Events,
}

impl Events {
    pub(crate) fn new(events: cluster_engine::Events) -> Events {
        Events { events }
    }

    /// Returns the next event, or `None` if there is none now. On an inline server it turns the loop if the queue is
    /// empty.
    pub fn try_next(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop() {
            return Some(event);
        }
        if self.events.loop_handle().is_inline() {
            self.events.loop_handle().poll();
        }
        self.events.pop()
    }

    /// Waits for the next event, at most `timeout`. Returns `None` if none came in time.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Event> {
        let loop_handle = self.events.loop_handle().clone();
        wait(
            &loop_handle,
            loop_handle.now().checked_add(timeout),
            &mut self.events,
            |events| events.pop(),
            |events, waker| events.register(waker),
        )
    }

    /// Total number of events that were dropped because the program did not read them. [`Event::Missed`] reports them
    /// at their position in the sequence.
    pub fn missed(&self) -> u64 {
        self.events.missed()
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("missed", &self.missed()).finish_non_exhaustive()
    }
}
