//! The sockets of a driver, by number.

use slab::Slab;

use super::SocketId;

/// Sockets by number. The number of one that is gone is not used again before [`reuse`](Sockets::reuse): until then somebody
/// may not have heard yet that it is gone.
pub(super) struct Sockets<T> {
    /// `None`: gone, and its number is kept.
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

    /// Drops the socket.
    pub(super) fn remove(&mut self, socket: SocketId) {
        drop(self.take(socket));
    }

    /// Takes the socket out.
    pub(super) fn take(&mut self, socket: SocketId) -> Option<T> {
        let taken = self.entries.get_mut(socket.0 as usize).and_then(Option::take)?;
        self.gone.push(socket.0 as usize);
        Some(taken)
    }

    /// Everybody knows of all that are gone.
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

    /// The numbers of all that are there.
    pub(super) fn ids(&self) -> Vec<SocketId> {
        let there = self.entries.iter().filter(|(_, socket)| socket.is_some());
        there.map(|(key, _)| SocketId(key as u32)).collect()
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len() - self.gone.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
