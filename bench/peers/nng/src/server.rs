//! A server that has one peer.

use std::ffi::{CStr, CString, c_int, c_void};
use std::ptr;
use std::slice;

use crate::Error;
use crate::ffi::{self, Id};

/// A server: an inbox that its peer pushes to, and a connection to the peer.
///
/// A message begins with the sender's pid and its own number, 16 bytes, as those of the other contenders do.
pub struct Server {
    inbox: Socket,
    outbox: Socket,
    address: String,
}

impl Server {
    /// Listens at any free port of the loopback device.
    pub fn listen() -> Result<Self, Error> {
        // SAFETY: it writes to a valid place.
        let inbox = Socket::open(|socket| unsafe { ffi::nng_pull0_open(socket) })?;
        // SAFETY: as above.
        let outbox = Socket::open(|socket| unsafe { ffi::nng_push0_open(socket) })?;
        inbox.set(ffi::RECEIVE_BUFFER, QUEUED_MESSAGES)?;
        outbox.set(ffi::SEND_BUFFER, QUEUED_MESSAGES)?;
        let unlimited = 0;
        // SAFETY: the sockets are open, and the names of the options end with a zero.
        unsafe {
            check(ffi::nng_socket_set_ms(inbox.0, ffi::RECEIVE_TIMEOUT.as_ptr(), LIMIT_MS))?;
            check(ffi::nng_socket_set_ms(outbox.0, ffi::SEND_TIMEOUT.as_ptr(), LIMIT_MS))?;
            check(ffi::nng_socket_set_size(inbox.0, ffi::LONGEST_MESSAGE.as_ptr(), unlimited))?;
        }
        let (mut listener, mut port) = (Id::default(), 0);
        // SAFETY: the socket is open, the strings end with a zero, and the places are valid.
        unsafe {
            check(ffi::nng_listen(inbox.0, c"tcp://127.0.0.1:0".as_ptr(), &raw mut listener, 0))?;
            check(ffi::nng_listener_get_int(listener, ffi::BOUND_PORT.as_ptr(), &raw mut port))?;
        }
        Ok(Self { inbox, outbox, address: format!("tcp://127.0.0.1:{port}") })
    }

    /// Where it listens.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Connects to the peer that listens at `address`.
    pub fn connect(&mut self, address: &str) -> Result<(), Error> {
        let address = CString::new(address).map_err(|error| Error(error.to_string()))?;
        // SAFETY: the socket is open, and the string ends with a zero; nobody needs the dialer.
        check(unsafe { ffi::nng_dial(self.outbox.0, address.as_ptr(), ptr::null_mut(), 0) })
    }

    /// Queues a message; waits while too many are queued.
    pub fn send(&self, from: u64, number: u64, payload: &[u8]) -> Result<(), Error> {
        let mut message = ptr::null_mut();
        // SAFETY: it writes to a valid place.
        check(unsafe { ffi::nng_msg_alloc(&raw mut message, PREFIX_BYTES + payload.len()) })?;
        // SAFETY: the body of a new message is as long as was asked for, and nobody else has it.
        let body =
            unsafe { slice::from_raw_parts_mut(ffi::nng_msg_body(message).cast::<u8>(), PREFIX_BYTES + payload.len()) };
        body[..8].copy_from_slice(&from.to_le_bytes());
        body[8..PREFIX_BYTES].copy_from_slice(&number.to_le_bytes());
        body[PREFIX_BYTES..].copy_from_slice(payload);
        // SAFETY: both are open; if the message is taken it belongs to the library.
        check(unsafe { ffi::nng_sendmsg(self.outbox.0, message, 0) }).inspect_err(|_| {
            // SAFETY: it was not taken.
            unsafe { ffi::nng_msg_free(message) }
        })
    }

    /// Waits for the next message, and shows its payload.
    pub fn recv<T>(&self, show: impl FnOnce(&[u8]) -> T) -> Result<T, Error> {
        let mut message: *mut c_void = ptr::null_mut();
        // SAFETY: the socket is open, and it writes to a valid place.
        check(unsafe { ffi::nng_recvmsg(self.inbox.0, &raw mut message, 0) })?;
        // SAFETY: the message is ours until it is freed.
        let body = unsafe { slice::from_raw_parts(ffi::nng_msg_body(message).cast::<u8>(), ffi::nng_msg_len(message)) };
        let shown = show(body.get(PREFIX_BYTES..).unwrap_or_default());
        // SAFETY: nothing refers to it any more.
        unsafe { ffi::nng_msg_free(message) };
        Ok(shown)
    }
}

struct Socket(Id);

impl Socket {
    fn open(open: impl FnOnce(*mut Id) -> c_int) -> Result<Self, Error> {
        let mut id = Id::default();
        check(open(&raw mut id))?;
        Ok(Self(id))
    }

    fn set(&self, option: &CStr, value: c_int) -> Result<(), Error> {
        // SAFETY: the socket is open, and the name of the option ends with a zero.
        check(unsafe { ffi::nng_socket_set_int(self.0, option.as_ptr(), value) })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // SAFETY: it is open, and nobody uses it any more.
        unsafe { ffi::nng_close(self.0) };
    }
}

fn check(answer: c_int) -> Result<(), Error> {
    if answer == 0 {
        return Ok(());
    }
    // SAFETY: the library answers with a static string for any number.
    let text = unsafe { CStr::from_ptr(ffi::nng_strerror(answer)) };
    Err(Error(text.to_string_lossy().into_owned()))
}

const PREFIX_BYTES: usize = 16;
/// The most that it takes.
const QUEUED_MESSAGES: c_int = 8192;
const LIMIT_MS: i32 = 20_000;
