//! Table of a driver's sockets by id.

use slab::Slab;

use super::SocketId;

/// Sockets by id. The id of a removed socket is not used again before [`reuse`](Sockets::reuse): until then, the shard
/// may not know yet that the socket is gone.
pub(super) struct Sockets<T> {
    /// `None`: removed, and the id is reserved.
    entries: Slab<Option<T>>,
    gone: Vec<usize>,
}

impl<T> Sockets<T> {
    pub(super) fn new() -> Sockets<T> {
        Sockets { entries: Slab::new(), gone: Vec::new() }
    }

    pub(super) fn insert(&mut self, socket: T) -> SocketId {
        SocketId(self.entries.insert(Some(socket)) as u32)
    }

    /// Removes and drops the socket. Does nothing if it was removed before.
    pub(super) fn remove(&mut self, socket: SocketId) {
        drop(self.take(socket));
    }

    /// Removes the socket and returns it, if it is in the table.
    pub(super) fn take(&mut self, socket: SocketId) -> Option<T> {
        let taken = self.entries.get_mut(socket.0 as usize).and_then(Option::take)?;
        self.gone.push(socket.0 as usize);
        Some(taken)
    }

    /// Frees the ids of all removed sockets. The shard knows by now that these are gone.
    pub(super) fn reuse(&mut self) {
        for key in self.gone.drain(..) {
            self.entries.remove(key);
        }
    }

    pub(super) fn get(&self, socket: SocketId) -> Option<&T> {
        self.entries.get(socket.0 as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, socket: SocketId) -> Option<&mut T> {
        self.entries.get_mut(socket.0 as usize)?.as_mut()
    }

    /// Returns the ids of all sockets in the table.
    pub(super) fn ids(&self) -> Vec<SocketId> {
        let there = self.entries.iter().filter(|(_, socket)| socket.is_some());
        there.map(|(key, _)| SocketId(key as u32)).collect()
    }

    /// Number of sockets in the table.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gone.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
