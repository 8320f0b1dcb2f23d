//! Batches as the kernel reads them: gathered from where their bytes stand.

use std::io;
use std::os::fd::RawFd;

use crate::batch::{Batch, Part, Piece};

/// A batch this short is copied together before it is sent.
const COPIED_BYTES: usize = 1024;

/// A send with everything that the kernel reads while it is under way.
pub(super) struct SendOperation {
    batch: Box<Batch>,
    /// So many bytes of the batch were sent before.
    skip: usize,
    /// What `message` points to.
    _vectors: Vec<libc::iovec>,
    message: libc::msghdr,
}

// SAFETY: `message` points to `_vectors`, and these into `batch`, whose memory stays where it is when they move; nothing but
// the kernel follows the pointers.
unsafe impl Send for SendOperation {}

impl SendOperation {
    pub(super) fn new(batch: Box<Batch>, skip: usize) -> Box<SendOperation> {
        let mut vectors = Vec::new();
        gather(&batch, skip, &mut vectors);
        let message = message(&mut vectors);
        Box::new(SendOperation { batch, skip, _vectors: vectors, message })
    }

    /// Valid while this lives.
    pub(super) fn message(&self) -> *const libc::msghdr {
        &raw const self.message
    }

    /// The batch back, and whether all of it was sent.
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

/// Sends by a system call of the caller, without the ring.
#[derive(Default)]
pub(super) struct DirectSend {
    /// Empty between calls.
    vectors: Vec<libc::iovec>,
    small: Vec<u8>,
}

// SAFETY: the pointers in `vectors` are gone when a call returns.
unsafe impl Send for DirectSend {}

impl DirectSend {
    /// Hands the kernel as much of the batch as it takes without waiting; returns how many bytes that were.
    pub(super) fn send(&mut self, socket: RawFd, batch: &Batch) -> io::Result<usize> {
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        gather(batch, 0, &mut self.vectors);
        let sent = if batch.bytes() <= COPIED_BYTES {
            // Cheaper than having the kernel look at several vectors.
            self.small.clear();
            for vector in &self.vectors {
                // SAFETY: the batch holds these bytes and keeps them as they are; see `gather`.
                let bytes = unsafe { std::slice::from_raw_parts(vector.iov_base.cast::<u8>(), vector.iov_len) };
                self.small.extend_from_slice(bytes);
            }
            // SAFETY: the kernel reads `small` during the call alone.
            unsafe { libc::send(socket, self.small.as_ptr().cast(), self.small.len(), flags) }
        } else {
            let message = message(&mut self.vectors);
            // SAFETY: the message and the vectors, which point into `batch`, outlive the call, after which the kernel
            // reads none of them.
            unsafe { libc::sendmsg(socket, &raw const message, flags) }
        };
        self.vectors.clear();
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// A message of these vectors, which it points to.
fn message(vectors: &mut Vec<libc::iovec>) -> libc::msghdr {
    // SAFETY: all zero is a valid msghdr: no address, no vectors, no control data.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vectors.as_mut_ptr();
    message.msg_iovlen = vectors.len();
    message
}

/// The batch's pieces, without the first `skip` bytes, as the kernel wants them; valid while the batch lives and is not
/// changed.
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
