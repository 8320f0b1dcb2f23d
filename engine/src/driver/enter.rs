//! The two system calls that drive a ring, with the ring's descriptor registered.
//!
//! The `io-uring` crate keeps a registered descriptor only in a submitter that borrows the ring, and a struct cannot
//! hold both. So this module makes the calls itself.

use std::io;
use std::os::fd::RawFd;

use super::Entry;

const REGISTER_RING_FDS: libc::c_uint = 20;
const ENTER_GETEVENTS: libc::c_uint = 1 << 0;
const ENTER_REGISTERED_RING: libc::c_uint = 1 << 4;

/// Name of a ring in a system call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RingHandle {
    Descriptor(RawFd),
    Registered(u32),
}

#[repr(C)]
struct ResourceUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

/// Registers the ring's descriptor for the calling thread. This saves the kernel a look-up in every call.
pub(super) fn register(ring: RawFd) -> RingHandle {
    let mut update = ResourceUpdate { offset: u32::MAX, reserved: 0, data: ring as u64 };
    // SAFETY: the kernel reads and writes one io_uring_rsrc_update, which `update` is laid out as.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_register, ring, REGISTER_RING_FDS, &raw mut update, 1) };
    // Registration is an optimization: a thread that has used up its 16 places goes on without it.
    if result == 1 { RingHandle::Registered(update.offset) } else { RingHandle::Descriptor(ring) }
}

/// A prepared `io_uring_enter` call.
#[derive(Clone, Copy, Debug)]
pub struct UringEntry {
    pub(super) ring: RingHandle,
    pub(super) submit: u32,
    pub(super) wait: bool,
}

impl Entry for UringEntry {
    fn waits(&self) -> bool {
        self.wait
    }

    fn enter(self) -> io::Result<()> {
        match enter(self.ring, self.submit, self.wait) {
            Ok(()) => Ok(()),
            Err(error) => match error.raw_os_error() {
                // A signal ended the wait, or completions must be reaped first: the turn goes on.
                Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => Ok(()),
                _ => Err(error),
            },
        }
    }
}

/// Submits `submit` entries, waits for a completion if `wait` is set, and runs the deferred work of the ring. Without
/// that work there are no completions.
pub(super) fn enter(ring: RingHandle, submit: u32, wait: bool) -> io::Result<()> {
    let (descriptor, flags) = match ring {
        RingHandle::Descriptor(descriptor) => (descriptor, ENTER_GETEVENTS),
        RingHandle::Registered(index) => (index as RawFd, ENTER_GETEVENTS | ENTER_REGISTERED_RING),
    };
    let (minimum, signals) = (u32::from(wait), std::ptr::null::<libc::sigset_t>());
    // SAFETY: no pointers are passed. The submitted entries were pushed to the ring with buffers that live until their
    // completion (see uring/submitting.rs).
    let result = unsafe { libc::syscall(libc::SYS_io_uring_enter, descriptor, submit, minimum, flags, signals, 0) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
