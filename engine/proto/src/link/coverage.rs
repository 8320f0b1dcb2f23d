//! Coverage of the table of transitions, for the simulator: it reports the transitions that are never taken.

use std::cell::Cell;

use super::Input;
use super::state::{State, TRANSITIONS};

thread_local! {
    /// Taken transitions: one bit for each row of the table.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// Records that a link on this thread has taken this transition.
pub(super) fn took(from: State, on: Input) {
    if let Some(place) = TRANSITIONS.iter().position(|(state, event, _)| (*state, *event) == (from, on)) {
        TAKEN.set(TAKEN.get() | 1 << place);
    }
}

/// Returns the rows of the table that were taken on this thread since the last call.
pub fn take() -> Vec<usize> {
    let taken = TAKEN.take();
    (0..TRANSITIONS.len()).filter(|place| taken >> place & 1 == 1).collect()
}
