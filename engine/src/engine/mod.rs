//! Engine: the event loops, and the servers that are attached to them.

mod node_handle;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::barrier;
use crate::clock::Clock;
use crate::delivery;
use crate::driver::{
    AnyDriver, ChunkPool, Driver, DriverChoice, Listener, LocalAddr, LocalRegistry, LocalTransport, Started,
    Unavailable, WINDOW_BYTES, hold_at_most,
};
use crate::events::{Event, EventQueue};
use crate::inbox::Receiver;
use crate::link::{Local, Pid};
use crate::mailbox::{Command, NodeInit};
use crate::outbox::{OutboxShared, Sender};
use crate::roster::{LinkId, Roster};
use crate::runtime::{IdleStrategy, LoopFailed, LoopHandle, Reactor};
use crate::shard::{Shard, chunk_pool};
use crate::stats::StatsTable;

pub use node_handle::{Events, NodeHandle, PeerStates, Stopped};

/// Threads that run the event loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// Threads of the engine, one event loop each. All links of a server run on one event loop.
    Dedicated {
        /// Number of threads. More threads than servers are of no use.
        shards: usize,
    },
    /// The thread that uses the server. Each call that finds nothing to do runs one turn of the event loop.
    Inline,
    /// A reactor, such as an async runtime. It waits for the loop's descriptor. The driver is over epoll.
    Reactor,
}

/// Configuration of a server on an engine.
pub struct NodeConfig {
    /// Identity and limits of the server.
    pub local: Local,
    /// Listener on which peers reach the server.
    pub listener: TcpListener,
    /// Peers and their addresses, sorted by pid, each pid once.
    pub peers: Vec<(Pid, Vec<SocketAddr>)>,
    /// Size of each stream's ring, in bytes.
    pub ring_bytes: usize,
    /// Set if connections through memory between servers of this engine are allowed. Both ends of a connection have to
    /// allow them.
    pub memory: bool,
}

/// Handles of a server on an engine.
pub struct NodeParts {
    /// Receives envelopes.
    pub receiver: Receiver,
    /// Sends envelopes.
    pub sender: Sender,
    /// Reports events about the server's peers.
    pub events: Events,
    /// Controls the server.
    pub handle: NodeHandle,
}

/// Event loops, and the servers that are attached to them.
///
/// The threads end when the last server and the last handle are dropped.
pub struct Engine {
    loops: Vec<Loop>,
    registry: Arc<LocalRegistry>,
    next: AtomicUsize,
    numbers: AtomicU32,
    idle: IdleStrategy,
    driver: DriverChoice,
    fallback: Option<Unavailable>,
}

struct Loop {
    loop_handle: LoopHandle,
    pool: Arc<ChunkPool>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts an engine, and its threads if it has any.
    ///
    /// # Errors
    /// Returns an error when io_uring or a thread is not available. The error names the cure.
    pub fn start(threading: Threading, idle: IdleStrategy, driver: DriverChoice) -> Result<Arc<Engine>, Unavailable> {
        // Registers the process with the kernel before the loops start. Once there is a second thread, the registration
        // waits for a grace period of RCU, which takes up to a second on a busy machine.
        let _ = barrier::available();
        let clock = Clock::start();
        let mut loops = Vec::new();
        let count = match threading {
            Threading::Dedicated { shards } => shards.max(1),
            Threading::Inline | Threading::Reactor => 1,
        };
        // Only the thread that owns a ring may turn it, and a reactor has many.
        let driver = match (threading, driver) {
            (Threading::Reactor, DriverChoice::IoUring) => return Err(Unavailable::reactor()),
            (Threading::Reactor, _) => DriverChoice::Epoll,
            _ => driver,
        };
        let Started { drivers, fallback } = AnyDriver::start(driver, count, clock)?;
        let driver = match (driver, &fallback) {
            (DriverChoice::Epoll, _) | (_, Some(_)) => DriverChoice::Epoll,
            _ => DriverChoice::IoUring,
        };
        let registry = LocalRegistry::new(drivers.iter().map(Driver::notifier));
        for (number, sockets) in drivers.into_iter().enumerate() {
            let pool = chunk_pool();
            let descriptor = sockets.descriptor().filter(|_| threading == Threading::Reactor);
            let descriptor = descriptor.map(|descriptor| descriptor.try_clone_to_owned());
            let transport = LocalTransport::new(sockets, registry.clone(), number, pool.clone(), WINDOW_BYTES);
            let shard = Shard::new(transport, pool.clone());
            let (loop_handle, thread) = match threading {
                Threading::Inline => (LoopHandle::inline(shard, idle, clock), None),
                Threading::Reactor => {
                    let descriptor = descriptor.ok_or_else(Unavailable::reactor)?.map_err(Unavailable::epoll)?;
                    (LoopHandle::for_reactor(shard, descriptor, idle, clock), None)
                }
                Threading::Dedicated { .. } => {
                    let name = format!("cluster-{number}");
                    let (loop_handle, thread) =
                        LoopHandle::start(shard, idle, clock, name).map_err(|error| Unavailable::thread(&error))?;
                    (loop_handle, Some(thread))
                }
            };
            loops.push(Loop { loop_handle, pool, thread });
        }
        let (next, numbers) = (AtomicUsize::new(0), AtomicU32::new(0));
        Ok(Arc::new(Engine { loops, registry, next, numbers, idle, driver, fallback }))
    }

    /// Attaches a server to one of the event loops, in turn.
    ///
    /// # Errors
    /// Returns an error when every event loop has failed. A new engine is needed then.
    pub fn attach(self: &Arc<Engine>, config: NodeConfig) -> Result<NodeParts, LoopFailed> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut candidates = (0..self.loops.len()).map(|offset| (first + offset) % self.loops.len());
        let index = candidates.find(|index| !self.loops[*index].loop_handle.is_stopped());
        let index = index.unwrap_or(first % self.loops.len());
        let loop_handle = self.loops[index].loop_handle.clone();
        if let Some(failed) = loop_handle.failure() {
            return Err(failed);
        }
        let node = self.numbers.fetch_add(1, Ordering::Relaxed);
        let NodeConfig { local, listener, peers, ring_bytes, memory } = config;
        hold_at_most(local.socket_bytes, &listener);
        // Announced before the server can be known to anyone, so that each later dial from this engine finds it in
        // memory.
        let address = if memory { listener.local_addr().ok() } else { None };
        let local_addr = address.map(|address| self.registry.announce(address, index));
        let listener = Listener::Socket(listener);
        let RegisteredNode { receiver, sender, events, outboxes } = register_node(
            &loop_handle,
            node,
            local,
            listener,
            peers,
            QueueSizes { ring_bytes, arrivals: delivery::ARRIVALS },
            local_addr,
        );
        if let Some(fallback) = &self.fallback {
            let reason = fallback.to_string();
            events.queue().push(Event::EpollFallback { reason }, loop_handle.time_in(Duration::ZERO));
        }
        let handle = NodeHandle::new(loop_handle, outboxes, events.queue().clone(), self.clone());
        Ok(NodeParts { receiver, sender, events, handle })
    }

    /// Returns the bytes of the receive buffers that are in use, of all servers. A buffer has 260 KiB. Each connection
    /// has one, and more are in use while envelopes arrive faster than they are read. A page of a buffer takes physical
    /// memory only once it was written to.
    pub fn receive_bytes(&self) -> usize {
        self.loops.iter().map(|each| each.pool.bytes_in_use()).sum()
    }

    /// Returns whether any event loop has failed. The other event loops go on.
    pub fn has_failed(&self) -> bool {
        self.loops.iter().any(|each| each.loop_handle.is_stopped())
    }

    /// Returns the number of times that event loops have waited in the kernel and were woken.
    pub fn wake_ups(&self) -> u64 {
        self.loops.iter().map(|each| each.loop_handle.mailbox().wake_ups()).sum()
    }

    /// Returns the means to turn the event loop, if a reactor does.
    pub fn reactor(&self) -> Option<Reactor> {
        self.loops.first().and_then(|each| Reactor::of(&each.loop_handle))
    }

    /// Returns the driver of the event loops: [`DriverChoice::IoUring`] or [`DriverChoice::Epoll`].
    pub fn driver(&self) -> DriverChoice {
        self.driver
    }

    /// Returns the reason if the event loops run on epoll because io_uring cannot be used.
    pub fn fallback(&self) -> Option<&Unavailable> {
        self.fallback.as_ref()
    }

    /// Returns the idle strategy of the event loops.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }
}

/// Handles of a registered server, and the state that its outboxes share.
pub(crate) struct RegisteredNode {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    pub(crate) events: Events,
    pub(crate) outboxes: Arc<OutboxShared>,
}

/// Sizes of the queues between a server and its event loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueSizes {
    /// Size of each stream's ring, in bytes.
    pub(crate) ring_bytes: usize,
    /// Number of arrivals that the inbox's queue holds.
    pub(crate) arrivals: usize,
}

/// Makes the handles of a server, and sends the event loop the command that starts it as number `node`.
pub(crate) fn register_node(
    loop_handle: &LoopHandle,
    node: u32,
    local: Local,
    listener: Listener,
    peers: Vec<(Pid, Vec<SocketAddr>)>,
    sizes: QueueSizes,
    local_addr: Option<LocalAddr>,
) -> RegisteredNode {
    let QueueSizes { ring_bytes, arrivals } = sizes;
    let roster = Arc::new(Roster::new(peers.iter().map(|(pid, _)| *pid)));
    let stats = StatsTable::new();
    peers.iter().zip((0..).map(LinkId::first)).for_each(|((pid, _), link)| stats.add(link, *pid));
    let events = EventQueue::new(peers.iter().map(|(pid, _)| *pid), loop_handle.time_in(Duration::ZERO));
    let callbacks = events.callbacks();
    let (inbox, arrivals) = delivery::arrivals(arrivals, callbacks.clone());
    let receiver = Receiver::new(arrivals, loop_handle.mailbox().clone());
    let outboxes = Arc::new(OutboxShared {
        node,
        roster: roster.clone(),
        ring_bytes,
        max_envelope_bytes: local.max_envelope_bytes,
        numbers: AtomicU32::new(0),
        outboxes: AtomicU32::new(0),
        stats: stats.clone(),
        grace: Arc::default(),
        spares: Mutex::default(),
        callbacks,
    });
    let init = NodeInit {
        node,
        local: Arc::new(local),
        peers,
        roster,
        inbox,
        events: events.clone(),
        stats,
        close_outboxes: Box::new({
            let outboxes = outboxes.clone();
            move || {
                outboxes.close();
            }
        }),
        local_addr,
    };
    loop_handle.mailbox().command(Command::Start { init: Box::new(init), listener });
    let sender = Sender::new(outboxes.clone(), loop_handle.clone());
    RegisteredNode { receiver, sender, events: Events::new(events, loop_handle.clone()), outboxes }
}

impl Drop for Engine {
    fn drop(&mut self) {
        for each in &self.loops {
            each.loop_handle.mailbox().command(Command::Shutdown);
        }
        for each in &mut self.loops {
            if let Some(thread) = each.thread.take() {
                // A panic of the loop has been reported already.
                let _ = thread.join();
            }
        }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("loops", &self.loops.len()).field("idle", &self.idle).finish_non_exhaustive()
    }
}
