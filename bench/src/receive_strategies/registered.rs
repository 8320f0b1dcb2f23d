//! Entry into a ring by its registered index, which spares the kernel a look-up of the descriptor.
//!
//! The `io-uring` crate can do this too. It keeps the index in the `Submitter` that registered it, and a `Submitter`
//! borrows its ring: one struct cannot hold both. Two system calls are simpler here than a self-reference.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use io_uring::IoUring;

/// Index of a ring in the table of the thread that registered it. A thread has 16 entries; dropping this value frees
/// its entry, and must happen on the same thread.
pub struct RegisteredRing {
    descriptor: RawFd,
    index: u32,
}

impl RegisteredRing {
    /// Registers `ring` for the calling thread.
    pub fn new(ring: &IoUring) -> io::Result<Self> {
        let descriptor = ring.as_raw_fd();
        let mut update = Update { offset: ANY_INDEX, reserved: 0, data: descriptor as u64 };
        register(descriptor, REGISTER_RING_FDS, &mut update)?;
        Ok(Self { descriptor, index: update.offset })
    }

    /// Submits `submit` requests, runs deferred work, and waits for `want` completions, in one system call. A signal
    /// ends the call early, without an error.
    ///
    /// # Safety
    ///
    /// The memory that the submitted requests name must stay valid until they complete.
    pub unsafe fn enter(&self, submit: u32, want: u32) -> io::Result<()> {
        let flags = ENTER_GET_EVENTS | ENTER_REGISTERED_RING;
        // SAFETY: no argument is passed; the caller ensures that the memory of the requests stays valid.
        let entered = unsafe { libc::syscall(libc::SYS_io_uring_enter, self.index, submit, want, flags, 0_usize, 0) };
        if entered >= 0 {
            return Ok(());
        }
        match io::Error::last_os_error() {
            error if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            error => Err(error),
        }
    }
}

impl Drop for RegisteredRing {
    fn drop(&mut self) {
        let mut update = Update { offset: self.index, reserved: 0, data: 0 };
        // A failure only means that the entry is already free.
        let _ = register(self.descriptor, UNREGISTER_RING_FDS, &mut update);
    }
}

fn register(descriptor: RawFd, operation: u32, update: &mut Update) -> io::Result<()> {
    // SAFETY: both operations read and write one `Update`.
    let done = unsafe { libc::syscall(libc::SYS_io_uring_register, descriptor, operation, update as *mut Update, 1) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Kernel's `struct io_uring_rsrc_update`.
#[repr(C)]
struct Update {
    offset: u32,
    reserved: u32,
    data: u64,
}

const ANY_INDEX: u32 = u32::MAX;
const REGISTER_RING_FDS: u32 = 20;
const UNREGISTER_RING_FDS: u32 = 21;

/// Flag without which deferred work does not run.
const ENTER_GET_EVENTS: u32 = 1;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
