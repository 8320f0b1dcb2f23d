//! Test of the table of transitions, as text.

use std::collections::HashSet;
use std::fmt::Write;

use super::super::{Input, State, TRANSITIONS};

const EVENTS: [Input; 11] = [
    Input::Need,
    Input::Connected,
    Input::Welcomed,
    Input::Greeted,
    Input::Accepted,
    Input::Refused,
    Input::Failed,
    Input::Lost,
    Input::PeerLeft,
    Input::RetryDue,
    Input::Close,
];

const STATES: [State; 6] = [State::Idle, State::Dialing, State::Greeting, State::Up, State::Waiting, State::Closed];

const EXPECTED: &str = "
Idle      Need      -> Dialing
Idle      Accepted  -> Up
Idle      Close     -> Closed
Dialing   Connected -> Greeting
Dialing   Failed    -> Waiting
Dialing   Greeted   -> Waiting
Dialing   Close     -> Closed
Greeting  Welcomed  -> Up
Greeting  Refused   -> Waiting
Greeting  Failed    -> Waiting
Greeting  Greeted   -> Waiting
Greeting  Close     -> Closed
Up        Lost      -> Waiting
Up        PeerLeft  -> Idle
Up        Greeted   -> Waiting
Up        Accepted  -> Up
Up        Close     -> Closed
Waiting   RetryDue  -> Dialing
Waiting   Accepted  -> Up
Waiting   Close     -> Closed
";

#[test]
fn the_table_is_the_expected_one() {
    let mut printed = String::from("\n");
    for (from, event, to) in TRANSITIONS {
        let (from, event) = (format!("{from:?}"), format!("{event:?}"));
        writeln!(printed, "{from:9} {event:9} -> {to:?}").expect("a string takes everything");
    }
    assert_eq!(printed, EXPECTED, "the table has changed:{printed}");
}

#[test]
fn nothing_stands_in_the_table_twice() {
    let pairs: HashSet<_> = TRANSITIONS.iter().map(|(from, event, _)| (from, event)).collect();
    assert_eq!(pairs.len(), TRANSITIONS.len());
}

#[test]
fn after_says_what_the_table_says() {
    for state in STATES {
        for event in EVENTS {
            let listed = TRANSITIONS.iter().find(|(from, on, _)| (*from, *on) == (state, event));
            assert_eq!(state.after(event), listed.map(|(_, _, to)| *to), "{state:?} {event:?}");
        }
    }
}

#[test]
fn every_state_is_reached_and_closed_is_final() {
    let mut reached = HashSet::from([State::Idle]);
    while TRANSITIONS.iter().any(|(from, _, to)| reached.contains(from) && reached.insert(*to)) {}
    assert_eq!(reached, HashSet::from(STATES));
    assert!(EVENTS.iter().all(|event| State::Closed.after(*event).is_none()));
    // Every other state can be closed, and accepts a peer that dials. A dial of this side is over before.
    for state in STATES.into_iter().filter(|state| *state != State::Closed) {
        assert_eq!(state.after(Input::Close), Some(State::Closed), "{state:?}");
        let greeted = state.after(Input::Greeted).unwrap_or(state);
        assert_eq!(greeted.after(Input::Accepted), Some(State::Up), "{state:?}");
    }
    assert!(EVENTS.iter().all(|event| TRANSITIONS.iter().any(|(_, on, _)| on == event)));
}
