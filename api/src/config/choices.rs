//! The settings that choose between behaviours.

/// When connections to the other servers are made.
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
    /// With the first envelope to a server, or when that server connects. The default: an idle pair costs nothing.
    #[default]
    OnDemand,
    /// To every server at once, when this one starts: the first envelope finds its connection made.
    Eager,
}

/// How much of what is sent the engine's checksum covers.
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
    /// The headers alone; the payload is left to TCP, or to the encryption where there is one.
    Header,
    /// Headers and payload. The default.
    #[default]
    Payload,
}

/// How servers that live on the same engine reach each other.
///
/// Unless it is told otherwise, an engine is what all servers of a process share: see [`Threading`]. Through memory
/// there is no socket between two of them, no descriptor and no system call; what is promised is the same. A server
/// that is found at another address than the one it listens at, behind a proxy say, is reached through that.
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
    /// Through memory, where both want to. The default.
    #[default]
    Memory,
    /// Over TCP, like all others.
    Tcp,
}

/// Which threads move a server's envelopes.
///
/// ```
/// use cluster::{Config, Threading};
///
/// let config = Config::new([(100, "127.0.0.1:8001")])?.with_threading(Threading::Dedicated { shards: 2 });
/// assert!(config.to_json().contains(r#""threading": {"dedicated": {"shards": 2}}"#));
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Threading {
    /// The one engine that all servers of this process share. The default.
    #[default]
    Shared,
    /// An engine of this server's own. All links of a server live on one event loop, so that more than one serves
    /// nobody here; for several servers on several loops see [`Engine::dedicated`](crate::Engine::dedicated).
    Dedicated {
        /// Number of threads, each with an event loop; 1 to 1024.
        shards: usize,
    },
    /// None: the calls that send and receive do the work on the thread that makes them.
    ///
    /// The server belongs to the first thread that receives, flushes, polls, changes its peers, stops it, or waits for
    /// room, and to no other: io_uring takes a ring's submissions from one thread only. Start it anywhere, then move it
    /// to its thread before the first such call.
    ///
    /// | on another thread | |
    /// | --- | --- |
    /// | `recv` and its kin, `flush`, `stop`, `add_peer`, `remove_peer`, `block` | return an error at once: `WrongThread` |
    /// | `drain`, `drain_wait`, `iter`, the `Stream` | take what is there, and wait for nothing |
    /// | `send`, `try_send`, `claim` | as always; the envelopes leave when the server's thread turns the loop |
    /// | events, `stats`, `peer_state` | as always |
    /// | dropping it | stops it when its thread turns the loop next, or ends |
    ///
    /// When the thread ends, so do its servers, as if their event loop had failed: everything is `Stopped`, and
    /// [`EngineFailed`](crate::Event::EngineFailed) says why.
    Inline,
}

/// What an event loop does when there is nothing to do: first spin, then yield, then park.
///
/// Spinning answers soonest and takes a core; parking takes none and answers some microseconds later. Without `park`,
/// the loop goes on yielding for ever, or spinning if `yield_us` is 0.
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
    /// How long to spin, in microseconds. Default 0, at most a minute.
    pub spin_us: u64,
    /// How long to yield the processor after that, in microseconds. Default 50, at most a minute.
    ///
    /// A thread that yields to one which never rests waits for the whole of its time slice, some milliseconds; who
    /// parks is mostly served sooner. Threads notice that, and park at once for a while, if they may park. Where
    /// threads that spin share their cores with a loop, 0 spares them the attempts.
    pub yield_us: u64,
    /// Whether to sleep in the kernel after that, until there is something to do. Default true.
    pub park: bool,
}

impl Default for Idle {
    fn default() -> Idle {
        Idle { spin_us: 0, yield_us: 50, park: true }
    }
}
