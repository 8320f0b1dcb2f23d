//! The states of a link and the one table of transitions between them.

/// The state of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No connection, and none is wanted.
    Idle,
    /// A connection is being made.
    Dialing,
    /// Connected; our `Hello` is out, the answer is not there.
    Greeting,
    /// Envelopes travel.
    Up,
    /// No connection; the next attempt has its time.
    Waiting,
    /// The peer was removed, or this server has stopped. Final.
    Closed,
}

/// An input of the state machine of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// There is something to send, or the link is to be up without that.
    Need,
    /// Our dial has reached the peer.
    Connected,
    /// The peer has answered our `Hello` with a `Welcome`.
    Welcomed,
    /// The peer has dialed us, and we have answered its `Hello` with a `Welcome`.
    Accepted,
    /// The peer has refused us.
    Refused,
    /// Our dial came to nothing: no answer, an error, or the end of the connection before the `Welcome`.
    Failed,
    /// The connection ended, or fell silent.
    Lost,
    /// The peer said goodbye.
    PeerLeft,
    /// The time of the next attempt has come.
    RetryDue,
    /// The peer is removed, or this server stops.
    Close,
}

/// Every transition there is. What is not here does not happen.
pub const TRANSITIONS: &[(State, Input, State)] = &[
    (State::Idle, Input::Need, State::Dialing),
    (State::Idle, Input::Accepted, State::Up),
    (State::Idle, Input::Close, State::Closed),
    (State::Dialing, Input::Connected, State::Greeting),
    (State::Dialing, Input::Failed, State::Waiting),
    (State::Dialing, Input::Accepted, State::Up),
    (State::Dialing, Input::Close, State::Closed),
    (State::Greeting, Input::Welcomed, State::Up),
    (State::Greeting, Input::Refused, State::Waiting),
    (State::Greeting, Input::Failed, State::Waiting),
    (State::Greeting, Input::Accepted, State::Up),
    (State::Greeting, Input::Close, State::Closed),
    (State::Up, Input::Lost, State::Waiting),
    (State::Up, Input::PeerLeft, State::Idle),
    (State::Up, Input::Accepted, State::Up),
    (State::Up, Input::Close, State::Closed),
    (State::Waiting, Input::RetryDue, State::Dialing),
    (State::Waiting, Input::Accepted, State::Up),
    (State::Waiting, Input::Close, State::Closed),
];

impl State {
    /// Where `event` leads from here; `None` when it does not happen here.
    pub fn after(self, event: Input) -> Option<State> {
        TRANSITIONS.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }
}
