//! Shard: one event loop. It moves batches between streams and connections, and calls the links at their deadlines.
//!
//! A shard owns the links and connections of its servers and a driver. One thread uses it at a time: its own
//! (`Dedicated`), or any thread that drives the server (`Inline`). Applications reach it through its [`Mailbox`].

mod alarms;
#[cfg(any(test, feature = "simulation"))]
mod checks;
mod commands;
mod completions;
mod connection;
mod deadlines;
mod dials;
mod failing;
mod flushing;
mod links;
mod membership;
mod node;
mod pinned;
mod sessions;
mod shortages;
mod slot;
mod stopping;
mod strangers;
mod timers;
mod turn;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use self::alarms::Alarms;
use self::connection::Connection;
use self::dials::Dials;
use self::node::Node;
use self::timers::Timers;
pub(crate) use self::turn::{BegunTurn, WhenIdle};
use crate::batch::Batch;
use crate::driver::{ChunkPool, Completion, Driver, SocketId};
use crate::mailbox::Mailbox;
use crate::roster::LinkKey;
use crate::time::Time;
use crate::wire::{MAX_HELLO_BYTES, MAX_SEGMENT_PAYLOAD, SEGMENT_HEADER_BYTES};

/// Size of a receive buffer in bytes: four of the longest segments. A buffer begins with a segment. If all segments
/// have the greatest length, no partial segment is left at the end that would have to be copied to the next buffer.
const CHUNK_BYTES: usize = 4 * (MAX_SEGMENT_PAYLOAD + SEGMENT_HEADER_BYTES);
/// Number of unused receive buffers that are kept.
const SPARE_CHUNKS: usize = 64;
/// Size in bytes of the buffer of a connection that has not confirmed: the longest greeting, in whole pages.
const GREETING_BYTES: usize = (SEGMENT_HEADER_BYTES + MAX_HELLO_BYTES).next_multiple_of(4096);
/// Number of unused greeting buffers that are kept.
const SPARE_GREETINGS: usize = 16;
/// Size in bytes of a batch from which on its link is polled instead of waiting for a signal.
const POLLING_BYTES: usize = 8 * 1024;
/// Size in bytes above which a batch is submitted to the kernel instead of being sent by a direct call. This thread
/// continues while the kernel works on it.
const DIRECT_BYTES: usize = 16 * 1024;
/// Makes the pool of a shard's receive buffers.
pub(crate) fn chunk_pool() -> Arc<ChunkPool> {
    ChunkPool::new(CHUNK_BYTES, SPARE_CHUNKS)
}

/// Event loop over a driver.
pub(crate) struct Shard<D: Driver> {
    driver: D,
    mailbox: Arc<Mailbox>,
    nodes: BTreeMap<u32, Node>,
    connections: Vec<Option<Connection>>,
    timers: Timers,
    alarms: Alarms,
    pool: Arc<ChunkPool>,
    /// Buffers of connections that have not greeted.
    greetings: Arc<ChunkPool>,
    /// Largest number of connections of one server that have not greeted.
    most_strangers: usize,
    /// Links that may have something to send.
    dirty: VecDeque<LinkKey>,
    /// Links whose streams are in polling mode.
    polled: Vec<LinkKey>,
    #[expect(clippy::vec_box, reason = "the driver takes and gives back boxes, so that a batch does not move")]
    spare: Vec<Box<Batch>>,
    /// Batches to submit to the driver, each with the number of its bytes that a direct call has sent.
    unsent: Vec<(SocketId, Box<Batch>, usize)>,
    completions: VecDeque<Completion>,
    /// Servers whose inbox has received something in this turn.
    touched: Vec<u32>,
    last_turn: Time,
    /// Time until which the loop last chose to wait. A wake-up after it is a gap in which this process did not run.
    woken_by: Time,
    /// Total time in which this process did not run. A link is told of it when it is next used.
    slept: Duration,
    /// Time up to which everything that had arrived has been handed to its link.
    caught_up: Time,
    /// Time of the last complete flush. Every link that had something to send by then has been served.
    flushed: Time,
    /// Time at which timers were last processed.
    expired: Time,
    /// Dials under way, and links that wait for one of them to end.
    dials: Dials,
    /// Turn that has prepared a wait, if a reactor turns this loop: the wait is the reactor's.
    prepared: Option<BegunTurn<D::Entry>>,
    shutdown: bool,
}

impl<D: Driver> Shard<D> {
    /// Makes a loop over `driver` that receives in the buffers of `pool`.
    pub(crate) fn new(driver: D, pool: Arc<ChunkPool>) -> Shard<D> {
        let now = driver.now();
        let mailbox = Arc::new(Mailbox::new(driver.notifier()));
        Shard {
            driver,
            mailbox,
            nodes: BTreeMap::new(),
            connections: Vec::new(),
            timers: Timers::default(),
            alarms: Alarms::default(),
            pool,
            greetings: ChunkPool::new(GREETING_BYTES, SPARE_GREETINGS),
            most_strangers: strangers::MOST,
            dirty: VecDeque::new(),
            polled: Vec::new(),
            spare: Vec::new(),
            unsent: Vec::new(),
            completions: VecDeque::new(),
            touched: Vec::new(),
            last_turn: now,
            woken_by: now,
            slept: Duration::ZERO,
            caught_up: now,
            flushed: now,
            expired: now,
            dials: Dials::default(),
            prepared: None,
            shutdown: false,
        }
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Returns whether the engine has shut down and all servers of this shard have ended.
    pub(crate) fn is_finished(&self) -> bool {
        self.shutdown && self.nodes.is_empty()
    }

    /// Marks a link that may have something to send.
    pub(crate) fn mark(&mut self, key: LinkKey) {
        if let Some(slot) = self.slot(key)
            && !slot.dirty
        {
            slot.dirty = true;
            self.dirty.push_back(key);
        }
    }

    fn is_sending(&mut self, key: LinkKey) -> bool {
        let socket = self.slot(key).and_then(|slot| slot.socket);
        socket.and_then(|socket| self.connection(socket)).is_some_and(|connection| connection.sending)
    }

    /// Returns a link. Tells it first how long this process did not run since it was last used.
    fn slot(&mut self, key: LinkKey) -> Option<&mut slot::LinkSlot> {
        let slot = self.nodes.get_mut(&key.node)?.links.get_mut(key.link)?;
        slot.shift_times(self.slept);
        Some(slot)
    }

    fn connection(&mut self, socket: SocketId) -> Option<&mut Connection> {
        self.connections.get_mut(socket.0 as usize)?.as_mut()
    }
}
