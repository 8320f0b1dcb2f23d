//! Phases of a session.

use crate::link::Unconfirmed;
use crate::time::Time;

/// Phase of a session.
#[derive(Debug)]
pub(super) enum Phase<K> {
    /// Accepted: the peer has not greeted.
    Accepted {
        /// Time at which it must have greeted.
        until: Time,
    },
    /// Accepted: the peer was welcomed, and has not confirmed.
    Greeted(Box<Greeted<K>>),
    /// The link is dialing.
    Dialing(K),
    /// The link waits for the answer to its Hello.
    Greeting(K),
    /// The segments of the link travel on this connection.
    Up(K),
    /// Received bytes are not looked at.
    Ended,
}

/// Dialer that was welcomed and has not confirmed.
#[derive(Debug)]
pub(super) struct Greeted<K> {
    pub(super) key: K,
    pub(super) unconfirmed: Box<Unconfirmed>,
    /// Time at which it must have confirmed.
    pub(super) until: Time,
    /// Time at which the next heartbeat is due: the dialer regards itself as connected.
    pub(super) heartbeat_at: Time,
}
