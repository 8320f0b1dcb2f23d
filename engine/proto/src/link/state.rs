//! States of a link, and the table of transitions between them.

/// State of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not connected, and no connection is needed.
    Idle,
    /// The TCP connection is being made.
    Dialing,
    /// Connected: the Hello is sent, the answer has not arrived.
    Greeting,
    /// In session: envelopes can be sent.
    Up,
    /// Not connected: the next dial waits for its time.
    Waiting,
    /// Closed for good: the peer was removed, or this server has stopped.
    Closed,
}

/// Input of the state machine of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// A connection is needed: there is something to send, or links are eager.
    Need,
    /// This side's dial has reached the peer.
    Connected,
    /// The peer has answered the Hello with a Welcome.
    Welcomed,
    /// The peer has dialed, and its Hello was answered with a Welcome. What this side knew of its own connection or
    /// dial is over.
    Greeted,
    /// The peer has dialed, and has confirmed the Welcome.
    Accepted,
    /// The peer has refused the Hello.
    Refused,
    /// The dial has failed: no answer, an error, or the end of the connection before the Welcome.
    Failed,
    /// The connection has ended, or the peer is silent.
    Lost,
    /// The peer has said goodbye.
    PeerLeft,
    /// The time of the next dial has come.
    RetryDue,
    /// The peer is removed, or this server stops.
    Close,
}

/// Table of all transitions. No other transition happens.
pub const TRANSITIONS: &[(State, Input, State)] = &[
    (State::Idle, Input::Need, State::Dialing),
    (State::Idle, Input::Accepted, State::Up),
    (State::Idle, Input::Close, State::Closed),
    (State::Dialing, Input::Connected, State::Greeting),
    (State::Dialing, Input::Failed, State::Waiting),
    (State::Dialing, Input::Greeted, State::Waiting),
    (State::Dialing, Input::Close, State::Closed),
    (State::Greeting, Input::Welcomed, State::Up),
    (State::Greeting, Input::Refused, State::Waiting),
    (State::Greeting, Input::Failed, State::Waiting),
    (State::Greeting, Input::Greeted, State::Waiting),
    (State::Greeting, Input::Close, State::Closed),
    (State::Up, Input::Lost, State::Waiting),
    (State::Up, Input::PeerLeft, State::Idle),
    (State::Up, Input::Greeted, State::Waiting),
    (State::Up, Input::Accepted, State::Up),
    (State::Up, Input::Close, State::Closed),
    (State::Waiting, Input::RetryDue, State::Dialing),
    (State::Waiting, Input::Accepted, State::Up),
    (State::Waiting, Input::Close, State::Closed),
];

impl State {
    /// Returns the state after `event`. `None` if `event` does not happen in this state.
    pub fn after(self, event: Input) -> Option<State> {
        TRANSITIONS.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }
}
