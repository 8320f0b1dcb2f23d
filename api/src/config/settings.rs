//! The configuration as a value: its settings, their defaults, and their setters.

use super::address;
use super::choices::{Checksum, Connect, Driver, Idle, Neighbours, Threading};
use crate::Pid;

/// Configuration of a cluster: its servers, their addresses, and the settings of the engine.
///
/// [`from_file`](Config::from_file) loads a configuration, and [`new`](Config::new) makes one. Both check it. The
/// `with_` methods and the fields change settings. [`validate`](Config::validate) checks the result, as does starting a
/// server.
///
/// ```
/// use cluster::{Config, Connect};
///
/// let config = Config::new([(100, "127.0.0.1:8001"), (200, "127.0.0.1:8002")])?
///     .with_cluster("ledger")
///     .with_connect(Connect::Eager);
/// config.validate()?;
/// assert_eq!(config.servers.len(), 2);
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Name of the cluster: 1 to 64 bytes, printable, without spaces. Two servers compare their names before they
    /// exchange envelopes. Default `cluster`.
    pub cluster: String,
    /// Servers of the cluster, in the order in which they were given.
    pub servers: Vec<Member>,
    /// Bytes that a peer may send before the application has read them: the flow-control window of a peer. On each
    /// lane one envelope may exceed the limit. A sixteenth, at least 48 KiB, is for urgent envelopes. Default 4 MiB,
    /// 128 KiB to 1 TiB.
    pub inbox_bytes: u64,
    /// Size in bytes of the send ring that an outbox has for each peer and lane. The ring is send buffer and retransmit
    /// window: it holds envelopes until they are acknowledged. Default 1 MiB, 64 KiB to 1 TiB; the engine rounds it up
    /// to a power of two.
    pub outbox_bytes: u64,
    /// Bytes that the kernel may buffer for a connection, in each direction. Default 512 KiB, 64 KiB to 1 GiB; 0: no
    /// limit from this setting.
    ///
    /// Data in these buffers cannot be overtaken (head-of-line blocking): an urgent envelope arrives after it. A fast
    /// and long path needs its bandwidth-delay product, such as 1.25 MB for 10 Gbit/s and 1 ms. The kernel grants no
    /// more than `net.core.rmem_max` and `net.core.wmem_max`.
    pub socket_bytes: u64,
    /// Largest payload of one envelope, in bytes. Default 128 MiB, 1 byte to 2 GiB.
    pub max_envelope_bytes: u64,
    /// Id of the first envelope that is sent without one; later ids count up from it. Default `None`, in a file
    /// `"random"`: a number from 1 to 2⁵² - 1, drawn at each start, so that two runs of a server use different ids.
    pub first_message_id: Option<i64>,
    /// Time between two heartbeats on an idle connection, in milliseconds. It varies by an eighth, so that the links of
    /// a server are not all due at once. It may last up to another eighth longer, so that many heartbeats are sent
    /// together. Default 400 ms, 1 ms to an hour.
    pub heartbeat_interval_ms: u64,
    /// Time of silence after which a peer counts as down, in milliseconds. Default 1250 ms, twice the heartbeat
    /// interval to a day.
    pub peer_timeout_ms: u64,
    /// Time at which connections are made. Default: with the first envelope.
    pub connect: Connect,
    /// Bytes that the checksum covers. Default: headers and payload.
    pub checksum: Checksum,
    /// Transport between servers on the same engine. Default: memory.
    pub neighbours: Neighbours,
    /// Raises this process's soft limit of open files to the hard limit when a server starts. Default: `true`. A server
    /// needs a descriptor for each peer, and the usual soft limit of 1,024 exists for programs that use `select`.
    ///
    /// The limit applies to the whole process. Set this to `false` where the limit is low on purpose. A server that
    /// lacks descriptors reports it ([`Event::DialFailed`](crate::Event), [`Event::AcceptFailed`](crate::Event)), and
    /// continues when descriptors are available.
    pub raise_descriptor_limit: bool,
    /// Threads that move the envelopes. Default: those of the engine that all servers of this process share.
    pub threading: Threading,
    /// Interface of the kernel that the event loops use. Default: io_uring, or epoll where that cannot be used.
    pub driver: Driver,
    /// Idle strategy of an event loop, and of calls that wait. Default: yield for 50 µs, then park. The engine that
    /// all servers of this process share keeps the strategy of the first of them.
    pub idle: Idle,
}

/// Server of a configuration: its pid and its address.
///
/// ```
/// use cluster::Member;
///
/// assert_eq!(Member::new(100, "tcp://127.0.0.1:8001").address, "127.0.0.1:8001");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Pid of the server.
    pub pid: Pid,
    /// Address that the server listens on: `host:port`, with brackets around an IPv6 host.
    pub address: String,
}

impl Member {
    /// Makes a member from a pid and an address. A `tcp://` before the address is removed. [`Config::validate`] checks
    /// the address.
    ///
    /// ```
    /// assert_eq!(cluster::Member::new(7, "[::1]:8007").pid, 7);
    /// ```
    pub fn new(pid: Pid, address: impl Into<String>) -> Member {
        let mut address = address.into();
        let scheme = address.len() - address::without_scheme(&address).len();
        address.drain(..scheme);
        Member { pid, address }
    }
}

impl Config {
    /// Bytes of buffer for one envelope, in formats that count their sizes in envelopes: 1 KiB.
    pub const ENVELOPE_BYTES: u64 = 1 << 10;
    /// Least [`inbox_bytes`](Config::inbox_bytes): 128 KiB.
    pub const MIN_INBOX_BYTES: u64 = 128 << 10;
    /// Least [`outbox_bytes`](Config::outbox_bytes): 64 KiB.
    pub const MIN_OUTBOX_BYTES: u64 = 64 << 10;
    /// Greatest [`inbox_bytes`](Config::inbox_bytes) and [`outbox_bytes`](Config::outbox_bytes): 1 TiB.
    pub const MAX_BUFFER_BYTES: u64 = 1 << 40;
    /// Least [`socket_bytes`](Config::socket_bytes) other than 0: 64 KiB.
    pub const MIN_SOCKET_BYTES: u64 = 64 << 10;
    /// Greatest [`socket_bytes`](Config::socket_bytes): 1 GiB.
    pub const MAX_SOCKET_BYTES: u64 = 1 << 30;
    /// Greatest [`max_envelope_bytes`](Config::max_envelope_bytes): 2 GiB.
    pub const MAX_ENVELOPE_BYTES: u64 = 1 << 31;

    /// Returns the address of the server `pid`, or `None` if there is no such server. The search is linear; a
    /// [`Catalog`](crate::Catalog) finds many servers faster.
    ///
    /// ```
    /// let config = cluster::Config::new([(100, "127.0.0.1:8001")])?;
    /// assert_eq!(config.address_of(100), Some("127.0.0.1:8001"));
    /// assert_eq!(config.address_of(101), None);
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    pub fn address_of(&self, pid: Pid) -> Option<&str> {
        self.servers.iter().find(|member| member.pid == pid).map(|member| member.address.as_str())
    }

    /// Sets the [name of the cluster](Config::cluster).
    ///
    /// ```
    /// let config = cluster::Config::new([(100, "127.0.0.1:8001")])?.with_cluster("ledger");
    /// assert_eq!(config.cluster, "ledger");
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_cluster(mut self, cluster: impl Into<String>) -> Config {
        self.cluster = cluster.into();
        self
    }

    /// Sets the [first automatic message id](Config::first_message_id).
    ///
    /// ```
    /// let config = cluster::Config::new([(100, "127.0.0.1:8001")])?
    ///     .with_first_message_id(1000);
    /// assert_eq!(config.first_message_id, Some(1000));
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_first_message_id(mut self, first_message_id: i64) -> Config {
        self.first_message_id = Some(first_message_id);
        self
    }

    /// Returns the default settings, without servers.
    pub(crate) fn defaults() -> Config {
        Config {
            cluster: "cluster".to_owned(),
            servers: Vec::new(),
            inbox_bytes: 4 << 20,
            outbox_bytes: 1 << 20,
            socket_bytes: 512 << 10,
            max_envelope_bytes: 128 << 20,
            first_message_id: None,
            heartbeat_interval_ms: 400,
            peer_timeout_ms: 1250,
            connect: Connect::default(),
            checksum: Checksum::default(),
            neighbours: Neighbours::default(),
            raise_descriptor_limit: true,
            threading: Threading::default(),
            driver: Driver::default(),
            idle: Idle::default(),
        }
    }
}

/// Defines setters that only store a value, and adds an example to each.
macro_rules! setters {
    ($($(#[doc = $doc:literal])* $name:ident, $field:ident: $type:ty, $example:literal;)*) => {
        impl Config {$(
            $(#[doc = $doc])*
            ///
            /// ```
            /// # use cluster::{Checksum, Connect, Driver, Idle, Neighbours, Threading};
            /// let config = cluster::Config::new([(100, "127.0.0.1:8001")])?
            #[doc = concat!("    .", stringify!($name), "(", $example, ");")]
            #[doc = concat!("assert_eq!(config.", stringify!($field), ", ", $example, ");")]
            /// # Ok::<(), cluster::ConfigError>(())
            /// ```
            #[must_use]
            pub fn $name(mut self, $field: $type) -> Config {
                self.$field = $field;
                self
            }
        )*}
    };
}

setters! {
    /// Sets the [bytes that an inbox takes from a peer](Config::inbox_bytes) before the application has read them.
    with_inbox_bytes, inbox_bytes: u64, "1 << 20";
    /// Sets the [size of the send ring](Config::outbox_bytes) that an outbox has for each peer and lane, in bytes.
    with_outbox_bytes, outbox_bytes: u64, "4 << 20";
    /// Sets the [bytes that the kernel may buffer for a connection](Config::socket_bytes), in each direction.
    with_socket_bytes, socket_bytes: u64, "2 << 20";
    /// Sets the [largest payload of an envelope](Config::max_envelope_bytes), in bytes.
    with_max_envelope_bytes, max_envelope_bytes: u64, "1 << 20";
    /// Sets the [heartbeat interval](Config::heartbeat_interval_ms) in milliseconds, at most half of the
    /// [`peer_timeout_ms`](Config::peer_timeout_ms).
    with_heartbeat_interval_ms, heartbeat_interval_ms: u64, "100";
    /// Sets the [time of silence](Config::peer_timeout_ms) after which a peer counts as down, in milliseconds.
    with_peer_timeout_ms, peer_timeout_ms: u64, "5_000";
    /// Sets the [time at which connections are made](Config::connect).
    with_connect, connect: Connect, "Connect::Eager";
    /// Sets the [bytes that the checksum covers](Config::checksum).
    with_checksum, checksum: Checksum, "Checksum::Header";
    /// Sets the [transport between servers on the same engine](Config::neighbours).
    with_neighbours, neighbours: Neighbours, "Neighbours::Tcp";
    /// Sets whether a start [raises the limit of open files](Config::raise_descriptor_limit).
    with_raise_descriptor_limit, raise_descriptor_limit: bool, "false";
    /// Sets the [threads that move the envelopes](Config::threading).
    with_threading, threading: Threading, "Threading::Inline";
    /// Sets the [interface of the kernel](Config::driver) that the event loops use.
    with_driver, driver: Driver, "Driver::Epoll";
    /// Sets the [idle strategy of the event loops](Config::idle).
    with_idle, idle: Idle, "Idle { spin_us: 50, yield_us: 0, park: true }";
}
