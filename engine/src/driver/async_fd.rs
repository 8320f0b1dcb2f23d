//! Registration of a driver's descriptor with the reactor of tokio.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the runtime of the calling task, for reads.
///
/// # Errors
/// When the runtime has no I/O enabled, or epoll has no room.
pub(crate) fn register(descriptor: Arc<OwnedFd>) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is open and stays the same: it belongs to the `Arc`, which the registration keeps and
    // which gives nobody the means to close or replace it.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}
