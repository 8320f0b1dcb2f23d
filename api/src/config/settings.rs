//! The configuration as a value: its settings, their defaults, and how a program sets them.

use super::address;
use super::choices::{Checksum, Connect, Idle, Neighbours, Threading};
use crate::Pid;

/// Which servers there are, where they listen, and how the engine behaves.
///
/// Load one with [`from_file`](Config::from_file) or make one with [`new`](Config::new), then change what you like
/// through the `with_` methods or the fields. Both check what they are given; after a change,
/// [`validate`](Config::validate) tells whether the whole still holds, and starting a server asks it too.
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
    /// The cluster's name, which two servers compare before they talk: 1 to 64 bytes, printable, without spaces.
    /// Default `cluster`.
    pub cluster: String,
    /// The servers, in the order of the file.
    pub servers: Vec<Member>,
    /// Bytes that a peer may send before the application has read them; one envelope may go beyond on each lane. A
    /// sixteenth, at least 48 KiB, is for urgent envelopes. Default 4 MiB, 128 KiB to 1 TiB.
    pub inbox_bytes: u64,
    /// The ring that holds what a peer has not acknowledged yet, for each peer and lane. Default 1 MiB, 64 KiB to 1
    /// TiB; the engine rounds it up to a power of two.
    pub outbox_bytes: u64,
    /// What the kernel may hold of a connection, in each direction. Default 512 KiB, 64 KiB to 1 GiB; 0: as much as it
    /// likes.
    ///
    /// What stands there, nothing can overtake: an urgent envelope arrives behind it. A path that is fast and long
    /// needs what it carries in a round trip, such as 1.25 MB for 10 Gbit/s and 1 ms. The kernel grants no more than
    /// `net.core.rmem_max` and `net.core.wmem_max`.
    pub socket_bytes: u64,
    /// The largest payload of one envelope. Default 128 MiB, 1 byte to 2 GiB.
    pub max_envelope_bytes: u64,
    /// The id of the first envelope that is sent without one; the next ones count up. Default `None`, in a file
    /// `"random"`: a number from 1 to 2⁵² - 1, drawn anew at each start, so that the ids of one run are not those of
    /// the run before.
    pub first_message_id: Option<i64>,
    /// Time between two heartbeats on an idle connection. It varies by an eighth, so that not all links of a
    /// server are due at once, and lasts up to another eighth longer, so that many are sent together. Default 400 ms, 1
    /// ms to an hour.
    pub heartbeat_interval_ms: u64,
    /// How long a peer may be silent before it counts as down. Default 1250 ms, twice the heartbeat interval to a day.
    pub peer_timeout_ms: u64,
    /// When connections are made. Default: with the first envelope.
    pub connect: Connect,
    /// What the checksum covers. Default: headers and payload.
    pub checksum: Checksum,
    /// How servers on the same engine reach each other. Default: through memory.
    pub neighbours: Neighbours,
    /// Raises this process's soft limit of open files to the hard limit when a server starts. Default: `true`. A server
    /// needs a descriptor for each peer, and the usual soft limit of 1,024 exists for programs that use `select`.
    ///
    /// The limit applies to the whole process. Turn this off where somebody has lowered the limit on purpose. A server
    /// that lacks descriptors reports it ([`Event::DialFailed`](crate::Event), [`Event::AcceptFailed`](crate::Event)),
    /// and goes on when it has some.
    pub raise_descriptor_limit: bool,
    /// Which threads do the work. Default: those of the engine that all servers of this process share.
    pub threading: Threading,
    /// What an event loop does when there is nothing to do. Default: park.
    pub idle: Idle,
}

/// One server of a configuration: its number and where it listens.
///
/// ```
/// use cluster::Member;
///
/// assert_eq!(Member::new(100, "tcp://127.0.0.1:8001").address, "127.0.0.1:8001");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// The server's number.
    pub pid: Pid,
    /// Where it listens: `host:port`, with brackets around an IPv6 host.
    pub address: String,
}

impl Member {
    /// The server `pid` at `address`; a `tcp://` before the address is dropped. Whether the address is one is checked
    /// by [`Config::validate`].
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
    /// The bytes of buffer that one envelope stands for, where a format counts its sizes in envelopes: 1 KiB.
    pub const ENVELOPE_BYTES: u64 = 1 << 10;
    /// The least [`inbox_bytes`](Config::inbox_bytes): 128 KiB.
    pub const MIN_INBOX_BYTES: u64 = 128 << 10;
    /// The least [`outbox_bytes`](Config::outbox_bytes): 64 KiB.
    pub const MIN_OUTBOX_BYTES: u64 = 64 << 10;
    /// The most that `inbox_bytes` and `outbox_bytes` may be: 1 TiB.
    pub const MAX_BUFFER_BYTES: u64 = 1 << 40;
    /// The least [`socket_bytes`](Config::socket_bytes) but 0: 64 KiB.
    pub const MIN_SOCKET_BYTES: u64 = 64 << 10;
    /// The most that [`socket_bytes`](Config::socket_bytes) may be: 1 GiB.
    pub const MAX_SOCKET_BYTES: u64 = 1 << 30;
    /// The most that [`max_envelope_bytes`](Config::max_envelope_bytes) may be: 2 GiB.
    pub const MAX_ENVELOPE_BYTES: u64 = 1 << 31;

    /// The address of the server `pid`, if there is such a server. Looks through the list; a
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

    /// With this name of the cluster.
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

    /// With message ids that start here.
    ///
    /// ```
    /// let config = cluster::Config::new([(100, "127.0.0.1:8001")])?.with_first_message_id(1000);
    /// assert_eq!(config.first_message_id, Some(1000));
    /// # Ok::<(), cluster::ConfigError>(())
    /// ```
    #[must_use]
    pub fn with_first_message_id(mut self, first_message_id: i64) -> Config {
        self.first_message_id = Some(first_message_id);
        self
    }

    /// The defaults, and no server yet.
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
            idle: Idle::default(),
        }
    }
}

/// The setters that only store: one line each says what the field's own documentation does not.
macro_rules! setters {
    ($($(#[doc = $doc:literal])* $name:ident, $field:ident: $type:ty, $example:literal;)*) => {
        impl Config {$(
            $(#[doc = $doc])*
            ///
            /// ```
            /// # use cluster::{Checksum, Connect, Idle, Neighbours, Threading};
            #[doc = concat!("let config = cluster::Config::new([(100, \"127.0.0.1:8001\")])?.", stringify!($name), "(", $example, ");")]
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
    /// With inboxes that take this many bytes from each peer and lane before the application has read them.
    with_inbox_bytes, inbox_bytes: u64, "1 << 20";
    /// With outboxes that hold this many unacknowledged bytes for each peer and lane.
    with_outbox_bytes, outbox_bytes: u64, "4 << 20";
    /// With connections of which the kernel holds at most this many bytes, in each direction.
    with_socket_bytes, socket_bytes: u64, "2 << 20";
    /// With payloads of at most this many bytes.
    with_max_envelope_bytes, max_envelope_bytes: u64, "1 << 20";
    /// With a sign of life this often; [`peer_timeout_ms`](Config::peer_timeout_ms) must be at least twice as long.
    with_heartbeat_interval_ms, heartbeat_interval_ms: u64, "100";
    /// With peers that count as down after this long a silence.
    with_peer_timeout_ms, peer_timeout_ms: u64, "5_000";
    /// With connections made at this moment.
    with_connect, connect: Connect, "Connect::Eager";
    /// With a checksum that covers this much.
    with_checksum, checksum: Checksum, "Checksum::Header";
    /// With servers on the same engine that reach each other like this.
    with_neighbours, neighbours: Neighbours, "Neighbours::Tcp";
    /// With a limit of open files that a start raises, or leaves as it is.
    with_raise_descriptor_limit, raise_descriptor_limit: bool, "false";
    /// With these threads.
    with_threading, threading: Threading, "Threading::Inline";
    /// With event loops that wait like this.
    with_idle, idle: Idle, "Idle { spin_us: 50, yield_us: 0, park: true }";
}
