//! Engines: the event loops and threads that servers run on.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use cluster_engine::{DriverChoice, IdleStrategy, Unavailable};

use crate::{Driver, Idle, Reactor, Threading};

/// Event loops for servers.
///
/// All servers of a process share one engine unless they are given another: by [`Builder::engine`](crate::Builder), or
/// by their [`Threading`](crate::Threading).
///
/// ```
/// use cluster::{Builder, Config, Engine, Idle};
///
/// let config = Config::new([(1, "127.0.0.1:18121"), (2, "127.0.0.1:18122")])?;
/// let engine = Engine::dedicated(2, Idle::default())?;
/// let one = Builder::new(1, &config).engine(&engine).start()?;
/// let two = Builder::new(2, &config).engine(&engine).start()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The engine's threads end when the last handle of the engine and the last server on it are gone.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) inner: Arc<cluster_engine::Engine>,
}

/// The shared engines of this process, as long as a server or a handle keeps them alive: one of each driver, and
/// those with a loop that has failed.
static SHARED: Mutex<Vec<Weak<cluster_engine::Engine>>> = Mutex::new(Vec::new());

impl Engine {
    /// Starts an engine with `shards` threads, each with one event loop. 0 counts as 1.
    ///
    /// Each server runs on one loop, with all its links. Two loops serve two servers on two cores; a single server
    /// leaves the second loop idle, however many peers it has.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids, and the remedy.
    pub fn dedicated(shards: usize, idle: Idle) -> Result<Engine, Unavailable> {
        Engine::start(Threading::Dedicated { shards }, idle, Driver::Auto)
    }

    /// Makes an engine without threads: the thread that uses the server runs the event loop.
    ///
    /// The engine and all servers on it belong to the first thread that turns its loop, until that thread ends.
    /// [`Threading::Inline`](crate::Threading::Inline) lists the calls that work on other threads.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids, and the remedy.
    pub fn inline(idle: Idle) -> Result<Engine, Unavailable> {
        Engine::start(Threading::Inline, idle, Driver::Auto)
    }

    /// Bytes of the receive buffers in use by all servers on this engine.
    ///
    /// Each connection has a buffer of 260 KiB, whose pages take memory once data was written to them. Envelopes that
    /// have arrived and are unread keep the buffers that hold them. The count leaves out the smaller buffers of
    /// connections that have not completed their handshake: at most 128 of 36 KiB for each server. The limits apply per
    /// server: see [`PeerStats::bytes_unread`](crate::PeerStats::bytes_unread).
    pub fn receive_bytes(&self) -> usize {
        self.inner.receive_bytes()
    }

    /// Number of times that the engine's event loops slept in the kernel and were woken by incoming data, by a sender,
    /// or by a timer.
    pub fn wake_ups(&self) -> u64 {
        self.inner.wake_ups()
    }

    /// Driver of the engine's event loops: [`Driver::IoUring`] or [`Driver::Epoll`].
    pub fn driver(&self) -> Driver {
        match self.inner.driver() {
            DriverChoice::Epoll => Driver::Epoll,
            _ => Driver::IoUring,
        }
    }

    /// Means to turn the event loop, if the engine was started with [`Threading::Reactor`].
    pub fn reactor(&self) -> Option<Reactor> {
        self.inner.reactor().map(|inner| Reactor { inner })
    }

    /// Reason for which the engine runs on epoll although it was not told to. `None` if it was, or if it runs on
    /// io_uring.
    pub fn fallback(&self) -> Option<&Unavailable> {
        self.inner.fallback()
    }

    /// Returns the engine that the servers of this process share. It has as many event loops as there are cores.
    ///
    /// `idle` takes effect if this call starts the engine; otherwise the engine keeps its present idle strategy.
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids, and the remedy.
    pub fn shared(idle: Idle) -> Result<Engine, Unavailable> {
        Engine::start(Threading::Shared, idle, Driver::Auto)
    }

    /// Starts an engine. For [`Threading::Shared`], returns the shared engine that runs on this driver, and starts it
    /// if there is none.
    ///
    /// ```
    /// use cluster::{Driver, Engine, Idle, Threading};
    ///
    /// let engine = Engine::start(Threading::Inline, Idle::default(), Driver::Epoll)?;
    /// assert_eq!(engine.driver(), Driver::Epoll);
    /// # Ok::<(), cluster::Unavailable>(())
    /// ```
    ///
    /// # Errors
    /// [`Unavailable`] names what the kernel lacks or forbids, and the remedy.
    pub fn start(threading: Threading, idle: Idle, driver: Driver) -> Result<Engine, Unavailable> {
        let threading = match threading {
            Threading::Shared => return share(idle, driver),
            Threading::Dedicated { shards } => cluster_engine::Threading::Dedicated { shards },
            Threading::Inline => cluster_engine::Threading::Inline,
            Threading::Reactor => cluster_engine::Threading::Reactor,
        };
        let choice = match driver {
            Driver::Auto => DriverChoice::Auto,
            Driver::IoUring => DriverChoice::IoUring,
            Driver::Epoll => DriverChoice::Epoll,
        };
        cluster_engine::Engine::start(threading, strategy(idle), choice).map(|inner| Engine { inner })
    }
}

/// Returns a shared engine that runs on `driver`. Starts it if there is none.
fn share(idle: Idle, driver: Driver) -> Result<Engine, Unavailable> {
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    shared.retain(|inner| inner.strong_count() > 0);
    let mut engines = shared.iter().filter_map(Weak::upgrade).map(|inner| Engine { inner });
    // After a loop has failed, new servers get a new engine. Servers on the remaining loops stay there.
    let fits = |engine: &Engine| !engine.inner.has_failed() && (driver == Driver::Auto || driver == engine.driver());
    if let Some(engine) = engines.find(fits) {
        return Ok(engine);
    }
    let shards = thread::available_parallelism().map_or(1, |cores| cores.get());
    let engine = Engine::start(Threading::Dedicated { shards }, idle, driver)?;
    shared.push(Arc::downgrade(&engine.inner));
    Ok(engine)
}

fn strategy(idle: Idle) -> IdleStrategy {
    IdleStrategy {
        spin: Duration::from_micros(idle.spin_us),
        yielding: Duration::from_micros(idle.yield_us),
        park: idle.park,
    }
}
