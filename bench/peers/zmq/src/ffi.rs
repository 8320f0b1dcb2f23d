//! Part of `zmq.h` that a server needs.

use libc::{c_char, c_int, c_void, size_t};

/// C type `zmq_msg_t`: opaque, 64 bytes, aligned as a pointer.
#[repr(C, align(8))]
pub struct RawMessage([u8; 64]);

impl RawMessage {
    /// Returns memory for `zmq_msg_init` to write to.
    pub const fn uninitialized() -> Self {
        Self([0; 64])
    }
}

unsafe extern "C" {
    pub fn zmq_version(major: *mut c_int, minor: *mut c_int, patch: *mut c_int);
    pub fn zmq_strerror(errno: c_int) -> *const c_char;

    pub fn zmq_ctx_new() -> *mut c_void;
    pub fn zmq_ctx_set(context: *mut c_void, option: c_int, value: c_int) -> c_int;
    pub fn zmq_ctx_term(context: *mut c_void) -> c_int;

    pub fn zmq_socket(context: *mut c_void, kind: c_int) -> *mut c_void;
    pub fn zmq_close(socket: *mut c_void) -> c_int;
    pub fn zmq_bind(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_connect(socket: *mut c_void, endpoint: *const c_char) -> c_int;
    pub fn zmq_setsockopt(socket: *mut c_void, option: c_int, value: *const c_void, length: size_t) -> c_int;
    pub fn zmq_getsockopt(socket: *mut c_void, option: c_int, value: *mut c_void, length: *mut size_t) -> c_int;

    pub fn zmq_msg_init(message: *mut RawMessage) -> c_int;
    pub fn zmq_msg_init_size(message: *mut RawMessage, size: size_t) -> c_int;
    pub fn zmq_msg_copy(to: *mut RawMessage, from: *mut RawMessage) -> c_int;
    pub fn zmq_msg_close(message: *mut RawMessage) -> c_int;
    pub fn zmq_msg_data(message: *mut RawMessage) -> *mut c_void;
    pub fn zmq_msg_size(message: *const RawMessage) -> size_t;
    pub fn zmq_msg_send(message: *mut RawMessage, socket: *mut c_void, flags: c_int) -> c_int;
    pub fn zmq_msg_recv(message: *mut RawMessage, socket: *mut c_void, flags: c_int) -> c_int;
}

pub const ZMQ_DONTWAIT: c_int = 1;
pub const ZMQ_IO_THREADS: c_int = 1;
pub const ZMQ_PULL: c_int = 7;
pub const ZMQ_PUSH: c_int = 8;
pub const ZMQ_SNDBUF: c_int = 11;
pub const ZMQ_RCVBUF: c_int = 12;
pub const ZMQ_LINGER: c_int = 17;
pub const ZMQ_SNDHWM: c_int = 23;
pub const ZMQ_RCVHWM: c_int = 24;
pub const ZMQ_RCVTIMEO: c_int = 27;
pub const ZMQ_SNDTIMEO: c_int = 28;
pub const ZMQ_LAST_ENDPOINT: c_int = 32;
