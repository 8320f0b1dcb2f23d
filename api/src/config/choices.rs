//! Settings that select between behaviours.

/// Time at which a server connects to its peers.
///
/// ```
/// use cluster::{Config, Connect};
///
/// let config = Config::new([(100, "127.0.0.1:8001")])?.with_connect(Connect::Eager);
/// assert_eq!(config.connect, Connect::Eager);
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Connect {
    /// Connects with the first envelope to a peer, or when that peer connects. The default: an idle pair costs nothing.
    #[default]
    OnDemand,
    /// Connects to every peer when this server starts, so that the first envelope finds an open connection.
    Eager,
}

/// Bytes that the engine's checksum (CRC-32C) covers.
///
/// Where the checksum does not match, the engine closes the connection, and sends the bytes again on the next one
/// (WIRE.md, sections Checksum and Violations).
///
/// ```
/// use cluster::{Checksum, Config};
///
/// let config = Config::parse(
///     r#"{"servers": [{"pid": 100, "address": "127.0.0.1:8001"}], "checksum": "header"}"#,
///     "cluster.json",
/// )?;
/// assert_eq!(config.checksum, Checksum::Header);
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Checksum {
    /// Headers only. TCP's own checksum, or an encryption on the way, protects the payload.
    Header,
    /// Headers and payload. The default.
    #[default]
    Payload,
}

/// Transport between servers on the same engine.
///
/// By default all servers of a process share one engine: see [`Threading`]. Between two servers that use memory there
/// is no socket, no descriptor and no system call; the delivery guarantees are those of TCP links. A server whose
/// address in the configuration differs from the one that it listens on, for example behind a proxy, is reached through
/// that address.
///
/// ```
/// use cluster::{Config, Neighbours};
///
/// // For a test that is about the network.
/// let config = Config::new([(100, "127.0.0.1:8001")])?.with_neighbours(Neighbours::Tcp);
/// assert_eq!(config.neighbours, Neighbours::Tcp);
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Neighbours {
    /// Memory of the process, if both servers choose it. The default.
    #[default]
    Memory,
    /// TCP, as for all other servers.
    Tcp,
}

/// Threads that move a server's envelopes.
///
/// ```
/// use cluster::{Config, Threading};
///
/// let config = Config::new([(100, "127.0.0.1:8001")])?
///     .with_threading(Threading::Dedicated { shards: 2 });
/// assert!(config.to_json().contains(r#""threading": {"dedicated": {"shards": 2}}"#));
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threading {
    /// Threads of the engine that all servers of this process share. The default.
    #[default]
    Shared,
    /// Threads of an engine for this server alone. All links of a server run on one event loop, so more than one is of
    /// no use here. For several servers on several loops see [`Engine::dedicated`](crate::Engine::dedicated).
    Dedicated {
        /// Number of threads, each with an event loop; 1 to 1024.
        shards: usize,
    },
    /// No thread: the calls that send and receive do the work on the calling thread.
    ///
    /// The server belongs to the first thread that receives, flushes, polls, changes its peers, stops it, or waits for
    /// room, and to no other: io_uring accepts the submissions of a ring from one thread only. Start the server
    /// anywhere, then move it to its thread before the first such call.
    ///
    /// | call on another thread | effect |
    /// | --- | --- |
    /// | `recv` and its variants, `flush`, `stop`, `add_peer`, `remove_peer`, `block` | returns `WrongThread` |
    /// | `drain`, `drain_wait`, `iter`, the `Stream` | takes what has arrived, without waiting |
    /// | `send`, `try_send`, `claim` | works; the envelopes leave when the server's thread turns the loop |
    /// | events, `stats`, `peer_state` | works |
    /// | dropping the server | stops it when its thread next turns the loop, or ends |
    ///
    /// When the thread ends, its servers end as if their event loop had failed: calls return `Stopped`, and
    /// [`EngineFailed`](crate::Event::EngineFailed) gives the reason.
    Inline,
    /// No thread: an async runtime or another reactor turns the event loop, by means of
    /// [`Engine::reactor`](crate::Engine::reactor). The loop uses epoll, and belongs to no thread.
    ///
    /// Futures and streams are woken by the loop's turns. `send`, `try_send`, `claim`, events and `stats` work on any
    /// thread; so do `add_peer`, `remove_peer` and `stop`, which turn the loop themselves. `recv` and the other calls
    /// that wait for envelopes or acknowledgements block their thread until the reactor has turned the loop: on the
    /// reactor's own thread, use their asynchronous forms.
    Reactor,
}

/// Interface of the kernel that an engine's event loops use.
///
/// Both deliver the same, with the same guarantees. io_uring needs fewer system calls. Container runtimes and some
/// administrators forbid it; `cluster doctor` names the rule.
///
/// ```
/// use cluster::{Config, Driver};
///
/// let config = Config::new([(100, "127.0.0.1:8001")])?.with_driver(Driver::Epoll);
/// assert!(config.to_json().contains(r#""driver": "epoll""#));
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Driver {
    /// io_uring; epoll if this kernel has no io_uring, or forbids it to this process. The default. The first event of a
    /// server that falls back is [`EpollFallback`](crate::Event::EpollFallback).
    #[default]
    Auto,
    /// io_uring. Without it, a start fails.
    IoUring,
    /// Epoll and non-blocking sockets.
    Epoll,
}

/// Idle strategy of an event loop: first spin, then yield, then park.
///
/// Calls that wait, such as `recv`, use it too. Spinning (busy polling) has the lowest latency and occupies a core.
/// Parking occupies none and adds some microseconds of latency. Without `park`, the loop yields for ever, or spins for
/// ever if `yield_us` is 0.
///
/// ```
/// use cluster::{Config, Idle};
///
/// let idle = Idle { spin_us: 20, ..Idle::default() };
/// let config = Config::new([(100, "127.0.0.1:8001")])?.with_idle(idle);
/// assert_eq!(config.idle, Idle { spin_us: 20, yield_us: 50, park: true });
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Idle {
    /// Time to spin, in microseconds. Default 0, at most a minute.
    pub spin_us: u64,
    /// Time to yield the processor after spinning, in microseconds. Default 50, at most a minute.
    ///
    /// A thread that yields to a busy thread waits for the whole time slice of that thread, some milliseconds. A parked
    /// thread is mostly woken sooner. Waiting threads detect this and park at once for a while, if `park` is set. If
    /// spinning threads share their cores with a loop, the value 0 avoids the attempts.
    pub yield_us: u64,
    /// Enables sleeping in the kernel after that, until there is work. Default true.
    pub park: bool,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle { spin_us: 0, yield_us: 50, park: true }
    }
}
