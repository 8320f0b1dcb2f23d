//! The engine: its event loops, and the servers that live on them.

mod node_handle;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::barrier;
use crate::delivery;
use crate::driver::{
    ChunkPool, Driver, Listener, LocalAddr, LocalRegistry, LocalTransport, Unavailable, Uring, WINDOW_BYTES,
    hold_at_most,
};
use crate::events::EventQueue;
use crate::inbox::Receiver;
use crate::link::{Local, Pid};
use crate::mailbox::{Command, NodeInit};
use crate::outbox::{OutboxShared, Sender};
use crate::roster::{LinkId, Roster};
use crate::runtime::{IdleStrategy, LoopFailed, LoopHandle};
use crate::shard::{Shard, chunk_pool};
use crate::stats::StatsTable;
use crate::time::Clock;

pub use node_handle::{Events, NodeHandle, Stopped};

/// Who runs the event loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threading {
    /// Threads of the engine's own, one loop each. All links of a server live on one loop.
    Dedicated {
        /// Number of threads. More than there are servers are of no use.
        shards: usize,
    },
    /// The thread that uses the server: each call that finds nothing to do turns the loop.
    Inline,
}

/// What a server brings to an engine.
pub struct NodeConfig {
    /// What it is and what it allows.
    pub local: Local,
    /// Where its peers reach it.
    pub listener: TcpListener,
    /// Its peers and where they may be. Sorted by pid, each once.
    pub peers: Vec<(Pid, Vec<SocketAddr>)>,
    /// The bytes of each stream's ring.
    pub ring_bytes: usize,
    /// Whether it and other servers of the engine reach each other through memory, where both want to.
    pub memory: bool,
}

/// A server's ends in an engine.
pub struct NodeParts {
    /// What arrives.
    pub receiver: Receiver,
    /// What is sent.
    pub sender: Sender,
    /// What happens to its peers.
    pub events: Events,
    /// The server itself.
    pub handle: NodeHandle,
}

/// Event loops. When the last server and the last handle are gone, the threads end.
pub struct Engine {
    loops: Vec<Loop>,
    registry: Arc<LocalRegistry>,
    next: AtomicUsize,
    numbers: AtomicU32,
    idle: IdleStrategy,
}

struct Loop {
    loop_handle: LoopHandle,
    pool: Arc<ChunkPool>,
    thread: Option<JoinHandle<()>>,
}

impl Engine {
    /// Starts an engine.
    pub fn start(threading: Threading, idle: IdleStrategy) -> Result<Arc<Engine>, Unavailable> {
        // Registers the process with the kernel, before the loops begin: with a second thread it would wait for a grace
        // period of RCU, which is a second at times on a busy machine.
        let _ = barrier::available();
        let clock = Clock::start();
        let mut loops = Vec::new();
        let count = match threading {
            Threading::Dedicated { shards } => shards.max(1),
            Threading::Inline => 1,
        };
        let drivers = (0..count).map(|_| Uring::new(clock)).collect::<Result<Vec<Uring>, Unavailable>>()?;
        let registry = LocalRegistry::new(drivers.iter().map(Driver::notifier));
        for (number, driver) in drivers.into_iter().enumerate() {
            let pool = chunk_pool();
            let transport = LocalTransport::new(driver, registry.clone(), number, pool.clone(), WINDOW_BYTES);
            let shard = Shard::new(transport, pool.clone());
            let (loop_handle, thread) = match threading {
                Threading::Inline => (LoopHandle::inline(shard, idle, clock), None),
                Threading::Dedicated { .. } => {
                    let name = format!("cluster-{number}");
                    let (loop_handle, thread) =
                        LoopHandle::start(shard, idle, clock, name).map_err(|error| Unavailable::thread(&error))?;
                    (loop_handle, Some(thread))
                }
            };
            loops.push(Loop { loop_handle, pool, thread });
        }
        Ok(Arc::new(Engine { loops, registry, next: AtomicUsize::new(0), numbers: AtomicU32::new(0), idle }))
    }

    /// Lets a server live on this engine.
    ///
    /// # Errors
    /// When every loop has failed.
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
        // Before anybody can know that it is there: who dials it from now on finds it in memory.
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
        let handle = NodeHandle::new(loop_handle, outboxes, events.queue().clone(), self.clone());
        Ok(NodeParts { receiver, sender, events, handle })
    }

    /// The bytes of the receive buffers in use, of all servers: 260 KiB for each connection and for what arrives faster
    /// than it is read. A page of them is memory once it was written to.
    pub fn receive_bytes(&self) -> usize {
        self.loops.iter().map(|each| each.pool.bytes_in_use()).sum()
    }

    /// Returns whether any loop has failed. The others go on.
    pub fn has_failed(&self) -> bool {
        self.loops.iter().any(|each| each.loop_handle.is_stopped())
    }

    /// How often the loops have waited in the kernel, and were woken.
    pub fn wake_ups(&self) -> u64 {
        self.loops.iter().map(|each| each.loop_handle.mailbox().wake_ups()).sum()
    }

    /// How the engine's loops idle.
    pub fn idle(&self) -> IdleStrategy {
        self.idle
    }
}

/// A server's ends, and what its outboxes share.
pub(crate) struct RegisteredNode {
    pub(crate) receiver: Receiver,
    pub(crate) sender: Sender,
    pub(crate) events: Events,
    pub(crate) outboxes: Arc<OutboxShared>,
}

/// The sizes of the queues between a server and its loop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueueSizes {
    /// The bytes of each stream's ring.
    pub(crate) ring_bytes: usize,
    /// The arrivals in the inbox's queue.
    pub(crate) arrivals: usize,
}

/// Makes the ends of a server, and hands their other halves to its loop, where the server is number `node`.
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
                // A loop that panicked has said so already.
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
