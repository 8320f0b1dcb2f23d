//! Engines: whose threads a server runs on.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use cluster_engine::{IdleStrategy, Threading, Unavailable};

use crate::Idle;

/// Event loops for servers. All servers of a process share one engine, unless they are given another.
///
/// Its threads end when the last handle and the last server on it are gone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<cluster_engine::Engine>,
}

/// The engine that servers share, while there are any.
static SHARED: Mutex<Weak<cluster_engine::Engine>> = Mutex::new(Weak::new());

impl Engine {
    /// An engine with `shards` threads, one event loop each.
    ///
    /// Each server lives on one of them, with all its links: two loops serve two servers on two cores, but a server
    /// that is alone leaves the second loop idle, however many peers it has.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids.
    pub fn dedicated(shards: usize, idle: Idle) -> Result<Engine, Unavailable> {
        cluster_engine::Engine::start(Threading::Dedicated { shards }, strategy(idle)).map(|inner| Engine { inner })
    }

    /// An engine without threads: the thread that uses the server runs the loop.
    ///
    /// The engine, and all servers on it, belong to the first thread that turns its loop, until that thread ends:
    /// [`Threading::Inline`](crate::Threading::Inline) says what works on other threads.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids.
    pub fn inline(idle: Idle) -> Result<Engine, Unavailable> {
        cluster_engine::Engine::start(Threading::Inline, strategy(idle)).map(|inner| Engine { inner })
    }

    /// The bytes of the receive buffers in use, of all servers on this engine.
    ///
    /// A connection has one of 260 KiB, whose pages are memory once they were written to; and what has arrived and is
    /// not read keeps those it came in. Connections that have not greeted yet have smaller ones, which are not counted:
    /// at most 128 of 44 KiB for each server. The bounds are those of each server: see
    /// [`PeerStats::bytes_unread`](crate::PeerStats).
    pub fn receive_bytes(&self) -> usize {
        self.inner.receive_bytes()
    }

    /// How often the engine's loops have waited in the kernel, and were woken: by messages, by those who send them, or
    /// by the time.
    pub fn wake_ups(&self) -> u64 {
        self.inner.wake_ups()
    }

    /// The engine that the servers of this process share: as many loops as there are cores.
    ///
    /// How it idles is settled by the first server that needs it.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids.
    pub fn shared(idle: Idle) -> Result<Engine, Unavailable> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        // Once a loop has failed, new servers get another engine. Servers on the remaining loops stay there.
        if let Some(inner) = shared.upgrade().filter(|inner| !inner.has_failed()) {
            return Ok(Engine { inner });
        }
        let shards = thread::available_parallelism().map_or(1, |cores| cores.get());
        let engine = Engine::dedicated(shards, idle)?;
        *shared = Arc::downgrade(&engine.inner);
        Ok(engine)
    }
}

fn strategy(idle: Idle) -> IdleStrategy {
    IdleStrategy {
        spin: Duration::from_micros(idle.spin_us),
        yielding: Duration::from_micros(idle.yield_us),
        park: idle.park,
    }
}
