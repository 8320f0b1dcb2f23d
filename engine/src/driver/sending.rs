//! Sends of batches: the kernel gathers the bytes from their places. Only short direct sends are copied first.

use std::io;
use std::os::fd::RawFd;

use crate::batch::{Batch, Part, Piece};

/// Longest batch, in bytes, that [`DirectSend`] copies into one buffer before it sends.
const COPIED_BYTES: usize = 1024;

/// A send under way, with all memory that the kernel reads meanwhile.
pub(super) struct SendOperation {
    batch: Box<Batch>,
    /// Number of bytes at the front of the batch that were sent before.
    skip: usize,
    /// Target of the pointer in `message`.
    _vectors: Vec<libc::iovec>,
    message: libc::msghdr,
}

// SAFETY: `message` points to `_vectors`, and the vectors point into `batch`. The memory of both stays in place when
// the values move, and only the kernel follows the pointers.
unsafe impl Send for SendOperation {}

impl SendOperation {
    pub(super) fn new(batch: Box<Batch>, skip: usize) -> Box<SendOperation> {
        let mut vectors = Vec::new();
        gather(&batch, skip, &mut vectors);
        let message = message(&mut vectors);
        Box::new(SendOperation { batch, skip, _vectors: vectors, message })
    }

    /// Pointer to the message for the kernel; valid while the operation lives.
    pub(super) fn message(&self) -> *const libc::msghdr {
        &raw const self.message
    }

    /// Ends the operation with the kernel's result. Returns the batch, and `Ok` if all of it was sent.
    pub(super) fn end(self, result: io::Result<usize>) -> (Box<Batch>, io::Result<()>) {
        let all = self.batch.bytes() - self.skip;
        let result = match result {
            Ok(sent) if sent == all => Ok(()),
            Ok(_) => Err(io::ErrorKind::WriteZero.into()),
            Err(error) => Err(error),
        };
        (self.batch, result)
    }
}

/// Sends by a system call of the calling thread, without the ring.
#[derive(Default)]
pub(super) struct DirectSend {
    /// Pieces of the batch; empty between calls.
    vectors: Vec<libc::iovec>,
    small: Vec<u8>,
}

// SAFETY: `vectors` holds no pointers between calls.
unsafe impl Send for DirectSend {}

impl DirectSend {
    /// Sends as much of the batch, without its first `skip` bytes, as the kernel takes without waiting. Returns the
    /// number of bytes sent.
    pub(super) fn send(&mut self, socket: RawFd, batch: &Batch, skip: usize) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        gather(batch, skip, &mut self.vectors);
        let sent = if batch.bytes() - skip <= COPIED_BYTES {
            // One copy is cheaper than several vectors that the kernel must read.
            self.small.clear();
            for vector in &self.vectors {
                // SAFETY: the vector points to bytes of the batch, which keeps them unchanged; see `gather`.
                let bytes = unsafe { std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len) };
                self.small.extend_from_slice(bytes);
            }
            // SAFETY: the kernel reads `small` only during the call.
            unsafe { libc::send(socket, self.small.as_ptr().cast(), self.small.len(), flags) }
        } else {
            let message = message(&mut self.vectors);
            // SAFETY: the message and the vectors, which point into `batch`, outlive the call. After the call the
            // kernel reads none of them.
            unsafe { libc::sendmsg(socket, &raw const message, flags) }
        };
        self.vectors.clear();
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Makes a message header that points to `vectors`.
fn message(vectors: &mut Vec<libc::iovec>) -> libc::msghdr {
    // SAFETY: a msghdr of zeros is valid: no address, no vectors, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    message
}

/// Appends the pieces of the batch to `vectors`, without the first `skip` bytes. The vectors are valid while the batch
/// lives and does not change.
fn gather(batch: &Batch, mut skip: usize, vectors: &mut Vec<libc::iovec>) {
    let mut push = |start: *const u8, bytes: usize| {
        let skipped = skip.min(bytes);
        skip -= skipped;
        if skipped < bytes {
            vectors.push(libc::iovec {
                iov_base: start.wrapping_add(skipped).cast_mut().cast(),
                iov_len: bytes - skipped,
            });
        }
    };
    for piece in batch.pieces() {
        let bytes: &[u8] = match piece {
            Piece::Part(Part::Ring(region)) => {
                push(region.as_ptr(), region.len());
                continue;
            }
            Piece::Header(index) => zerocopy::IntoBytes::as_bytes(batch.header(*index)),
            Piece::Part(Part::Shared(bytes)) => bytes,
            Piece::Part(Part::Static(bytes)) => bytes,
            Piece::Owned(bytes) => bytes,
        };
        push(bytes.as_ptr(), bytes.len());
    }
}
