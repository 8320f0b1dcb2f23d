//! The states of a link and the one table of transitions between them.

/// Where a link stands.
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

/// What can happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Event {
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
pub const TRANSITIONS: &[(State, Event, State)] = &[
    (State::Idle, Event::Need, State::Dialing),
    (State::Idle, Event::Accepted, State::Up),
    (State::Idle, Event::Close, State::Closed),
    (State::Dialing, Event::Connected, State::Greeting),
    (State::Dialing, Event::Failed, State::Waiting),
    (State::Dialing, Event::Accepted, State::Up),
    (State::Dialing, Event::Close, State::Closed),
    (State::Greeting, Event::Welcomed, State::Up),
    (State::Greeting, Event::Refused, State::Waiting),
    (State::Greeting, Event::Failed, State::Waiting),
    (State::Greeting, Event::Accepted, State::Up),
    (State::Greeting, Event::Close, State::Closed),
    (State::Up, Event::Lost, State::Waiting),
    (State::Up, Event::PeerLeft, State::Idle),
    (State::Up, Event::Accepted, State::Up),
    (State::Up, Event::Close, State::Closed),
    (State::Waiting, Event::RetryDue, State::Dialing),
    (State::Waiting, Event::Accepted, State::Up),
    (State::Waiting, Event::Close, State::Closed),
];

impl State {
    /// Where `event` leads from here; `None` when it does not happen here.
    pub fn after(self, event: Event) -> Option<State> {
        TRANSITIONS.iter().find(|(from, on, _)| *from == self && *on == event).map(|(_, _, to)| *to)
    }
}
