//! One fault.

use serde::{Deserialize, Serialize};

use crate::clock::{MILLISECOND, SECOND};

/// Kind of fault of a server, or of the network between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Kills the server with SIGKILL; at the end it is started again.
    Kill,
    /// Tells the server to stop, which it does in its own time; at the end it is started again.
    Leave,
    /// Stops the server with SIGSTOP; at the end it gets SIGCONT.
    Stop,
    /// Takes the server's network link down.
    LinkDown,
    /// Loses all packets from `node` to `other`.
    OneWay,
    /// Resets the connections between `node` and `other`; those through a proxy at random bytes.
    Reset,
    /// Limits what `node` sends to `amount` Mbit/s.
    Throttle,
    /// Makes the application read nothing.
    Slow,
    /// Leaves the server without free descriptors, and resets all its connections.
    Descriptors,
    /// Limits the memory to `amount` MiB beyond the memory in use.
    Memory,
    /// Makes `node` remove its peer `other`, and add it again.
    Remove,
    /// Sends to the two servers again what they have sent to each other.
    Replay,
    /// Changes segments between the two servers: see [`Lie`](super::Lie).
    Lie,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 13] = [
        Kind::Kill,
        Kind::Leave,
        Kind::Stop,
        Kind::LinkDown,
        Kind::OneWay,
        Kind::Reset,
        Kind::Throttle,
        Kind::Slow,
        Kind::Descriptors,
        Kind::Memory,
        Kind::Remove,
        Kind::Replay,
        Kind::Lie,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "SIGKILL and restart",
            Kind::Leave => "stop and restart",
            Kind::Stop => "SIGSTOP, SIGCONT",
            Kind::LinkDown => "link down, up",
            Kind::OneWay => "packets lost one way",
            Kind::Reset => "connection reset",
            Kind::Throttle => "throughput limit",
            Kind::Slow => "slow consumer",
            Kind::Descriptors => "no descriptors",
            Kind::Memory => "memory limit",
            Kind::Remove => "peer removed, added",
            Kind::Replay => "connections replayed",
            Kind::Lie => "lie told",
        }
    }

    /// Returns whether the fault requires a network of namespaces.
    pub fn needs_network(self) -> bool {
        matches!(self, Kind::LinkDown | Kind::OneWay | Kind::Throttle)
    }

    /// Returns whether the fault is one of the process: such faults of one server do not overlap.
    pub fn is_of_process(self) -> bool {
        matches!(self, Kind::Kill | Kind::Leave | Kind::Stop | Kind::Slow | Kind::Descriptors | Kind::Memory)
    }

    /// Returns whether the fault is between `node` and `other`, rather than about all connections of `node`.
    pub fn is_of_pair(self) -> bool {
        matches!(self, Kind::OneWay | Kind::Reset | Kind::Remove) || self.is_of_proxy()
    }

    /// Returns whether a proxy performs the fault: the two servers must talk through one.
    pub fn is_of_proxy(self) -> bool {
        matches!(self, Kind::Replay | Kind::Lie)
    }

    /// Returns whether the fault ends with another run of the server.
    pub fn restarts(self) -> bool {
        matches!(self, Kind::Kill | Kind::Leave)
    }

    /// Returns whether peers may lose their connection by the fault. A slow application, a lack of memory, and replayed
    /// bytes are no reason to.
    pub fn may_disconnect(self) -> bool {
        !matches!(self, Kind::Slow | Kind::Memory | Kind::Replay)
    }

    /// Returns whether the fault may keep messages between two servers from flowing.
    pub fn may_impede(self) -> bool {
        self != Kind::Replay
    }

    /// Returns the least nanoseconds until a proxy has done what it was told.
    pub fn least_time(self) -> u64 {
        match self {
            Kind::Reset => RESET_TIME,
            Kind::Replay => REPLAY_TIME,
            Kind::Lie => LIE_TIME,
            _ => 0,
        }
    }
}

/// Planned fault. Servers are counted from 0; times are nanoseconds from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub node: usize,
    /// Other server, for faults between two.
    pub other: usize,
    pub begin: u64,
    pub end: u64,
    /// Amount as described for [`Kind`]; for other kinds a number to draw from.
    pub amount: u64,
}

/// Injected fault. Servers are pids; times are those of [`now`](crate::clock::now).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    pub kind: Kind,
    pub pid: u64,
    /// Other server, for faults between two.
    pub other: Option<u64>,
    /// Time before the fault began.
    pub begin: u64,
    /// Time at which the fault had begun: `ip` or `tc` may take a while.
    pub in_force: u64,
    /// Time before the end of the fault began. The end may take a while too, and the fault may have no effect from then
    /// on.
    #[serde(default = "never")]
    pub ends: u64,
    /// Time after the fault ended. A killed server was started again before this time.
    pub end: u64,
    pub amount: u64,
}

/// The time of what has not happened.
fn never() -> u64 {
    u64::MAX
}

impl Injected {
    /// Returns whether the fault affects the connection of these two servers.
    pub fn touches(&self, one: u64, two: u64) -> bool {
        match self.other {
            Some(other) => (self.pid, other) == (one, two) || (self.pid, other) == (two, one),
            None => self.pid == one || self.pid == two,
        }
    }
}

/// Time in which the proxy waits for its random byte.
const RESET_TIME: u64 = 120 * MILLISECOND;
/// Time after which everything that is replayed has ended.
pub const REPLAY_TIME: u64 = 3 * SECOND;
/// Time after which a lie that found no segment is not told any more.
pub const LIE_TIME: u64 = 1_500 * MILLISECOND;
