//! The part of `nng/nng.h` that a server needs.

use std::ffi::{c_char, c_int, c_void};

/// A socket, a listener or a dialer: a number in a struct.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct Id(u32);

// SAFETY: the signatures are those of the header; what each call asks of its caller stands in `server.rs`, where it is made.
unsafe extern "C" {
    pub fn nng_pull0_open(socket: *mut Id) -> c_int;
    pub fn nng_push0_open(socket: *mut Id) -> c_int;
    pub fn nng_close(socket: Id) -> c_int;
    pub fn nng_listen(socket: Id, url: *const c_char, listener: *mut Id, flags: c_int) -> c_int;
    pub fn nng_listener_get_int(listener: Id, option: *const c_char, value: *mut c_int) -> c_int;
    pub fn nng_dial(socket: Id, url: *const c_char, dialer: *mut Id, flags: c_int) -> c_int;
    pub fn nng_socket_set_int(socket: Id, option: *const c_char, value: c_int) -> c_int;
    pub fn nng_socket_set_ms(socket: Id, option: *const c_char, value: i32) -> c_int;
    pub fn nng_socket_set_size(socket: Id, option: *const c_char, value: usize) -> c_int;
    pub fn nng_msg_alloc(message: *mut *mut c_void, bytes: usize) -> c_int;
    pub fn nng_msg_free(message: *mut c_void);
    pub fn nng_msg_body(message: *mut c_void) -> *mut c_void;
    pub fn nng_msg_len(message: *const c_void) -> usize;
    pub fn nng_sendmsg(socket: Id, message: *mut c_void, flags: c_int) -> c_int;
    pub fn nng_recvmsg(socket: Id, message: *mut *mut c_void, flags: c_int) -> c_int;
    pub fn nng_strerror(error: c_int) -> *const c_char;
}

pub const RECEIVE_BUFFER: &std::ffi::CStr = c"recv-buffer";
pub const SEND_BUFFER: &std::ffi::CStr = c"send-buffer";
pub const RECEIVE_TIMEOUT: &std::ffi::CStr = c"recv-timeout";
pub const SEND_TIMEOUT: &std::ffi::CStr = c"send-timeout";
pub const LONGEST_MESSAGE: &std::ffi::CStr = c"recv-size-max";
pub const BOUND_PORT: &std::ffi::CStr = c"tcp-bound-port";
