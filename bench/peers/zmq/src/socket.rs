//! Safe handles for contexts, the two kinds of socket, and messages.

use std::ffi::{CStr, CString};
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use libc::{c_int, c_void};

use crate::ffi::{self, RawMessage};

/// Error of libzmq, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error(c_int);

impl Error {
    fn last() -> Self {
        Self(std::io::Error::last_os_error().raw_os_error().unwrap_or(0))
    }

    /// Returns whether a time limit passed.
    pub fn is_timeout(self) -> bool {
        self.0 == libc::EAGAIN
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: libzmq returns a static string for any number.
        let text = unsafe { CStr::from_ptr(ffi::zmq_strerror(self.0)) };
        write!(f, "libzmq: {}", text.to_string_lossy())
    }
}

impl std::error::Error for Error {}

/// Context with the I/O threads that sockets share. Clones are one context, which ends with the last clone and the last
/// socket.
#[derive(Clone)]
pub struct Context(Arc<RawContext>);

struct RawContext(NonNull<c_void>);

// SAFETY: libzmq documents contexts as thread-safe.
unsafe impl Send for RawContext {}
// SAFETY: libzmq documents contexts as thread-safe.
unsafe impl Sync for RawContext {}

impl Context {
    /// Makes a context with `io_threads` I/O threads.
    pub fn new(io_threads: u8) -> Result<Self, Error> {
        // SAFETY: the function takes no arguments.
        let raw = NonNull::new(unsafe { ffi::zmq_ctx_new() }).ok_or_else(Error::last)?;
        let context = Self(Arc::new(RawContext(raw)));
        // SAFETY: the context is open until it is dropped.
        check(unsafe { ffi::zmq_ctx_set(raw.as_ptr(), ffi::ZMQ_IO_THREADS, io_threads.into()) })?;
        Ok(context)
    }
}

impl Drop for RawContext {
    fn drop(&mut self) {
        // SAFETY: every socket holds a clone of the context, so none is left.
        unsafe { ffi::zmq_ctx_term(self.0.as_ptr()) };
    }
}

/// Socket of either kind, closed when dropped.
struct Socket {
    raw: NonNull<c_void>,
    _context: Context,
}

// SAFETY: libzmq lets a socket move between threads if there is a full fence in between; handing a value to another
// thread is one. Two threads must not use it at once, so there is no `Sync`.
unsafe impl Send for Socket {}

impl Socket {
    fn new(context: &Context, kind: c_int) -> Result<Self, Error> {
        // SAFETY: the context is open.
        let raw = NonNull::new(unsafe { ffi::zmq_socket(context.0.0.as_ptr(), kind) });
        Ok(Self { raw: raw.ok_or_else(Error::last)?, _context: context.clone() })
    }

    fn set(&self, option: c_int, value: c_int) -> Result<(), Error> {
        let place = (&raw const value).cast();
        // SAFETY: all options used here are integers.
        check(unsafe { ffi::zmq_setsockopt(self.raw.as_ptr(), option, place, size_of::<c_int>()) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: the socket is open, and is not used any more.
        unsafe { ffi::zmq_close(self.raw.as_ptr()) };
    }
}

/// Settings of sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tuning {
    /// Messages that wait in memory for each direction and peer.
    pub queued: u32,
    /// Bytes of the kernel's buffers for each connection; `None` leaves them to the kernel.
    pub socket_buffer_bytes: Option<u32>,
}

impl Tuning {
    /// Returns settings for throughput: large socket buffers, and a queue of `queued` messages.
    pub fn fast(queued: u32) -> Self {
        Self { queued, socket_buffer_bytes: Some(4 << 20) }
    }

    /// Settings of libzmq when no option is set.
    pub const DEFAULT: Self = Self { queued: 1000, socket_buffer_bytes: None };

    fn socket_buffer(self) -> c_int {
        self.socket_buffer_bytes.map_or(-1, |bytes| bytes as c_int)
    }
}

/// Receiving end of a pipeline, bound to an address.
pub struct Pull(Socket);

impl Pull {
    /// Binds to `endpoint`; `tcp://127.0.0.1:*` takes any free port.
    pub fn bind(context: &Context, endpoint: &str, tuning: Tuning) -> Result<Self, Error> {
        let socket = Socket::new(context, ffi::ZMQ_PULL)?;
        socket.set(ffi::ZMQ_RCVHWM, tuning.queued as c_int)?;
        socket.set(ffi::ZMQ_RCVBUF, tuning.socket_buffer())?;
        let endpoint = CString::new(endpoint).map_err(|_| Error(libc::EINVAL))?;
        // SAFETY: the socket is open and the string ends with a zero.
        check(unsafe { ffi::zmq_bind(socket.raw.as_ptr(), endpoint.as_ptr()) })?;
        Ok(Self(socket))
    }

    /// Returns the address that the socket is bound to, with the port that was taken.
    pub fn endpoint(&self) -> Result<String, Error> {
        let mut text = [0_u8; 256];
        let mut length = text.len();
        // SAFETY: `text` is as long as `length` says.
        check(unsafe {
            ffi::zmq_getsockopt(self.0.raw.as_ptr(), ffi::ZMQ_LAST_ENDPOINT, text.as_mut_ptr().cast(), &mut length)
        })?;
        Ok(String::from_utf8_lossy(&text[..length.saturating_sub(1)]).into_owned())
    }

    /// Makes [`recv`](Self::recv) fail with a timeout instead of waiting longer than `limit`.
    pub fn set_timeout(&self, limit: Duration) -> Result<(), Error> {
        self.0.set(ffi::ZMQ_RCVTIMEO, limit.as_millis() as c_int)
    }

    /// Waits for the next message, which replaces `message`.
    pub fn recv(&mut self, message: &mut Message) -> Result<(), Error> {
        // SAFETY: both are open; libzmq releases the previous content of the message.
        check(unsafe { ffi::zmq_msg_recv(&mut message.0, self.0.raw.as_ptr(), 0) })
    }

    /// Receives a message without waiting. Returns whether there was one.
    pub fn try_recv(&mut self, message: &mut Message) -> Result<bool, Error> {
        // SAFETY: both are open; libzmq releases the previous content of the message.
        at_once(unsafe { ffi::zmq_msg_recv(&mut message.0, self.0.raw.as_ptr(), ffi::ZMQ_DONTWAIT) })
    }
}

/// Sending end of a pipeline, connected to an address.
pub struct Push(Socket);

impl Push {
    /// Connects to `endpoint`, now or as soon as a socket is bound there.
    pub fn connect(context: &Context, endpoint: &str, tuning: Tuning) -> Result<Self, Error> {
        let socket = Socket::new(context, ffi::ZMQ_PUSH)?;
        socket.set(ffi::ZMQ_SNDHWM, tuning.queued as c_int)?;
        socket.set(ffi::ZMQ_SNDBUF, tuning.socket_buffer())?;
        socket.set(ffi::ZMQ_SNDTIMEO, SEND_LIMIT_MS)?;
        socket.set(ffi::ZMQ_LINGER, LINGER_MS)?;
        let endpoint = CString::new(endpoint).map_err(|_| Error(libc::EINVAL))?;
        // SAFETY: the socket is open and the string ends with a zero.
        check(unsafe { ffi::zmq_connect(socket.raw.as_ptr(), endpoint.as_ptr()) })?;
        Ok(Self(socket))
    }

    /// Makes closing the socket drop the messages that are still queued.
    pub fn forget(&self) -> Result<(), Error> {
        self.0.set(ffi::ZMQ_LINGER, 0)
    }

    /// Hands `message` to libzmq, and waits while too many are queued.
    pub fn send(&mut self, mut message: Message) -> Result<(), Error> {
        // SAFETY: both are open; afterwards the message is empty, and dropping it is harmless.
        check(unsafe { ffi::zmq_msg_send(&mut message.0, self.0.raw.as_ptr(), 0) })
    }

    /// Hands `message` to libzmq without waiting. Returns `false` if too many are queued.
    pub fn try_send(&mut self, mut message: Message) -> Result<bool, Error> {
        // SAFETY: both are open; a message that is not taken stays unchanged, and is dropped here.
        at_once(unsafe { ffi::zmq_msg_send(&mut message.0, self.0.raw.as_ptr(), ffi::ZMQ_DONTWAIT) })
    }
}

/// Bytes that libzmq owns.
pub struct Message(RawMessage);

// SAFETY: a message is plain memory, with an atomic count if it is shared.
unsafe impl Send for Message {}

impl Message {
    /// Returns a message without bytes.
    pub fn empty() -> Self {
        let mut raw = RawMessage::uninitialized();
        // SAFETY: the call initializes `raw`, and cannot fail.
        unsafe { ffi::zmq_msg_init(&mut raw) };
        Self(raw)
    }

    /// Returns a message of `bytes` bytes, all of which the caller has to write.
    pub fn with_size(bytes: usize) -> Result<Self, Error> {
        let mut raw = RawMessage::uninitialized();
        // SAFETY: the call initializes `raw`, or returns an error.
        check(unsafe { ffi::zmq_msg_init_size(&mut raw, bytes) })?;
        Ok(Self(raw))
    }

    /// Returns another message with these bytes; large ones are shared, not copied.
    pub fn share(&mut self) -> Result<Self, Error> {
        let mut copy = Self::empty();
        // SAFETY: both are initialized.
        check(unsafe { ffi::zmq_msg_copy(&mut copy.0, &mut self.0) })?;
        Ok(copy)
    }

    /// Bytes of the message.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: libzmq returns a region that lives as long as the message. Reading the pointer does not change the
        // message, although it is declared so.
        unsafe {
            let data = ffi::zmq_msg_data((&raw const self.0).cast_mut());
            std::slice::from_raw_parts(data.cast(), ffi::zmq_msg_size(&self.0))
        }
    }

    /// Bytes of the message, to be written before it is sent or shared.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: libzmq returns a region that lives as long as the message, and the exclusive borrow makes this the
        // only reference.
        unsafe {
            let data = ffi::zmq_msg_data(&mut self.0);
            std::slice::from_raw_parts_mut(data.cast(), ffi::zmq_msg_size(&self.0))
        }
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        // SAFETY: the message is initialized, and is not used again.
        unsafe { ffi::zmq_msg_close(&mut self.0) };
    }
}

fn check(answer: c_int) -> Result<(), Error> {
    if answer < 0 { Err(Error::last()) } else { Ok(()) }
}

/// Returns whether a call succeeded without waiting.
fn at_once(answer: c_int) -> Result<bool, Error> {
    match check(answer) {
        Err(error) if error.is_timeout() => Ok(false),
        result => result.map(|()| true),
    }
}

/// Time in milliseconds after which a peer that takes no message is an error in a benchmark.
const SEND_LIMIT_MS: c_int = 20_000;

/// Time in milliseconds for which closing waits for messages that were not sent.
const LINGER_MS: c_int = 1_000;
