//! Callbacks: code of the application that the engine calls, namely wakers and the owners of bodies.
//!
//! The engine catches a panic of such code at the call, so that the event loop goes on. The server that the code
//! belongs to gets an event.

use std::any::Any;
use std::fmt;
use std::ops::{Deref, Range};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use atomic_waker::AtomicWaker;
use bytes::Bytes;

/// Kind of application code that the engine calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Callback {
    /// Waker of a future that waits for an envelope, an event, or room.
    Waker,
    /// Drop of a body whose memory the application owns (`Bytes::from_owner`).
    BodyDrop,
}

impl fmt::Display for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Callback::Waker => "a waker",
            Callback::BodyDrop => "the drop of a body",
        })
    }
}

/// Caller of application code that reports its panics to the server.
#[derive(Clone, Debug, Default)]
pub struct Callbacks(Option<Arc<Report>>);

/// Function that takes the kind of callback and the message of its panic.
struct Report(Box<dyn Fn(Callback, String) + Send + Sync>);

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Report")
    }
}

impl Callbacks {
    /// Makes callbacks that pass the message of each panic to `report`.
    pub fn new(report: impl Fn(Callback, String) + Send + Sync + 'static) -> Callbacks {
        Callbacks(Some(Arc::new(Report(Box::new(report)))))
    }

    /// Wakes the registered waker, if there is one.
    #[inline]
    pub fn wake(&self, waker: &AtomicWaker) {
        if let Some(waker) = waker.take() {
            self.call(Callback::Waker, || waker.wake());
        }
    }

    #[inline]
    fn call(&self, callback: Callback, code: impl FnOnce()) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(code)) {
            self.panicked(callback, panic);
        }
    }

    #[cold]
    fn panicked(&self, callback: Callback, panic: Box<dyn Any + Send>) {
        let message = panic_message(panic);
        if let Some(report) = &self.0 {
            report.0(callback, message);
        }
    }
}

/// Calls code that may panic.
///
/// # Errors
/// Returns the message of the panic.
pub fn caught<T>(code: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(code)).map_err(panic_message)
}

/// Returns the message of a panic that was caught.
#[cold]
pub fn panic_message(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
    // The payload of the panic belongs to the application too, and its drop may panic.
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(panic))) {
        std::mem::forget(another);
    }
    message.unwrap_or_else(|| "a panic without a message".to_owned())
}

/// Bytes whose memory the application may own.
#[derive(Clone)]
pub struct OwnedBytes {
    /// Bytes, which are `None` only during the drop.
    bytes: Option<Bytes>,
    callbacks: Callbacks,
}

impl OwnedBytes {
    /// Makes bytes whose drop reports a panic to `callbacks`.
    pub fn new(bytes: Bytes, callbacks: Callbacks) -> OwnedBytes {
        OwnedBytes { bytes: Some(bytes), callbacks }
    }

    /// Returns a part of the bytes, without a copy.
    pub fn part(&self, range: Range<usize>) -> OwnedBytes {
        OwnedBytes { bytes: self.bytes.as_ref().map(|bytes| bytes.slice(range)), callbacks: self.callbacks.clone() }
    }
}

impl Drop for OwnedBytes {
    #[inline]
    fn drop(&mut self) {
        let bytes = self.bytes.take();
        self.callbacks.call(Callback::BodyDrop, || drop(bytes));
    }
}

impl Deref for OwnedBytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        self.bytes.as_deref().unwrap_or_default()
    }
}

impl fmt::Debug for OwnedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}
