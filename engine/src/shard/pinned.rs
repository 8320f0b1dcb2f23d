//! Receive buffers that an inbox keeps from being used again.
//!
//! Arrivals are not copied: each keeps the chunk that it came in, 260 KiB, until the application has let go of it. A
//! peer that sends little in each chunk would so pin many times what its window allows. So a link whose arrivals pin
//! more than its inbox may hold copies what comes next, close together, until less is pinned.

use std::sync::Arc;

use crate::driver::{ChunkPool, PinnedChunk, ReceiveBuffer, Slice};

/// The chunks that arrivals of a link pin, and the present chunk for copies.
#[derive(Default)]
pub(super) struct Pinned {
    chunks: Vec<PinnedChunk>,
    copies: Option<ReceiveBuffer>,
    is_copying: bool,
}

impl Pinned {
    /// Takes note of a chunk that was exchanged for another because arrivals are still in it. `limit`: bytes of chunks
    /// that may be pinned before arrivals are copied.
    pub(super) fn add(&mut self, chunk: PinnedChunk, limit: usize, pool: &ChunkPool) {
        self.chunks.push(chunk);
        let bytes = |chunks: &[PinnedChunk]| chunks.len() * pool.chunk_bytes();
        if self.is_copying || bytes(&self.chunks) > limit {
            self.chunks.retain(PinnedChunk::is_pinned);
            self.is_copying = bytes(&self.chunks) > limit;
        }
    }

    /// Returns whether arrivals are to be copied.
    #[inline]
    pub(super) fn is_copying(&self) -> bool {
        self.is_copying
    }

    /// A copy of `payload`, close to the others. `None` if there is no memory for one.
    #[cold]
    pub(super) fn copy(&mut self, payload: &[u8], limit: usize, pool: &Arc<ChunkPool>) -> Option<Slice> {
        if self.copies.as_mut().is_none_or(|copies| !copies.reset() && copies.free() < payload.len()) {
            let full = self.copies.replace(pool.take().ok()?);
            if let Some(full) = full {
                self.add(full.pinned(), limit, pool);
            }
        }
        let copies = self.copies.as_mut()?;
        let begin = copies.filled();
        copies.append(payload);
        let copy = copies.share(begin..copies.filled());
        if !self.is_copying {
            self.copies = None;
        }
        Some(copy)
    }
}
