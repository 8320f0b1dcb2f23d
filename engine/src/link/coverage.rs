//! Which transitions are taken: for the simulator, which reports those that never are.

use std::cell::Cell;

use super::Input;
use super::state::{State, TRANSITIONS};

thread_local! {
    /// By place in the table, a bit each.
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// A link on this thread has taken this transition.
pub(super) fn took(from: State, on: Input) {
    if let Some(place) = TRANSITIONS.iter().position(|(state, event, _)| (*state, *event) == (from, on)) {
        TAKEN.set(TAKEN.get() | 1 << place);
    }
}

/// The places in the table that were taken on this thread since the last call.
pub(crate) fn take() -> Vec<usize> {
    let taken = TAKEN.take();
    (0..TRANSITIONS.len()).filter(|place| taken >> place & 1 == 1).collect()
}
