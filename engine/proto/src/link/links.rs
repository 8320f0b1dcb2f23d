//! Links of a server, as sessions find them.

use std::sync::Arc;

use super::{Link, Local, Pid};

/// Links of a server, by key and by pid.
pub trait Links {
    /// Key of a link.
    type Key: Copy;

    /// Returns the key of the link to a peer. `None` if no such peer is configured.
    fn find(&self, pid: Pid) -> Option<Self::Key>;

    /// Returns a link. `None` if it is gone: its connections are closed then.
    fn get(&mut self, key: Self::Key) -> Option<&mut Link>;

    /// Returns whether the peer's greetings are answered. In a simulated partition they are not.
    fn is_reachable(&mut self, _key: Self::Key) -> bool {
        true
    }

    /// Server that has the links.
    fn local(&self) -> &Arc<Local>;

    /// Returns whether the server is stopping, and refuses new connections.
    fn is_stopping(&self) -> bool;
}

/// Link of a server with one peer, for sessions that are driven without a shard: in benchmarks and fuzz targets.
pub struct OneLink {
    /// Link to the peer.
    pub link: Link,
}

impl OneLink {
    /// Makes the link of the server `local` to `peer`.
    pub fn new(local: Local, peer: Pid) -> OneLink {
        OneLink { link: Link::new(Arc::new(local), peer) }
    }
}

impl Links for OneLink {
    type Key = ();

    fn find(&self, pid: Pid) -> Option<()> {
        (pid == self.link.peer()).then_some(())
    }

    fn get(&mut self, (): ()) -> Option<&mut Link> {
        Some(&mut self.link)
    }

    fn local(&self) -> &Arc<Local> {
        &self.link.local
    }

    fn is_stopping(&self) -> bool {
        false
    }
}
