//! Blocking waits of the calling thread: spin, yield and park per the idle strategy, or turn an inline loop.

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

use cluster_engine::{Backoff, LoopHandle, Step};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

thread_local! {
    static WAKER: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

/// Waits until `ready` returns a value, or until `deadline`.
///
/// `register` stores this thread's waker, to be woken when `ready` may have a value. The function may call it often.
pub(crate) fn wait<S, T>(
    loop_handle: &LoopHandle,
    deadline: Option<Instant>,
    state: &mut S,
    mut ready: impl FnMut(&mut S) -> Option<T>,
    mut register: impl FnMut(&mut S, &Waker),
) -> Option<T> {
    if let Some(value) = ready(state) {
        return Some(value);
    }
    let inline = loop_handle.is_mine();
    let mut backoff = Backoff::new(loop_handle.idle());
    loop {
        let step = backoff.step();
        match step {
            Step::Park if inline => drop(loop_handle.poll_until(deadline)),
            _ if inline => {
                if loop_handle.poll() {
                    backoff.worked();
                }
            }
            Step::Park => {
                let waker = WAKER.with(Waker::clone);
                register(state, &waker);
                // Values that came before the waker was registered wake no thread.
                if let Some(value) = ready(state) {
                    return Some(value);
                }
                match deadline {
                    Some(deadline) => thread::park_timeout(deadline.saturating_duration_since(loop_handle.now())),
                    None => thread::park(),
                }
            }
            Step::Spin | Step::Yield => {}
        }
        if let Some(value) = ready(state) {
            return Some(value);
        }
        if deadline.is_some_and(|deadline| loop_handle.now() >= deadline) {
            return None;
        }
        backoff.rest(step);
    }
}
