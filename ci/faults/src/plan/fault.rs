//! One fault.

use serde::{Deserialize, Serialize};

use crate::clock::{MILLISECOND, SECOND};

/// What is done to a server, or to the network between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// SIGKILL; at the end it is started again.
    Kill,
    /// It is told to stop, and does so in its own time; at the end it is started again.
    Leave,
    /// SIGSTOP; at the end SIGCONT.
    Stop,
    /// The cable is pulled.
    LinkDown,
    /// What `node` sends to `other` is lost.
    OneWay,
    /// The connections between `node` and `other` are reset, at random bytes where they go through a proxy.
    Reset,
    /// `node` sends at most `amount` Mbit/s.
    Throttle,
    /// The application reads nothing.
    Slow,
    /// No descriptor is left, and all connections are reset.
    Descriptors,
    /// No more than `amount` MiB of memory beyond what is in use.
    Memory,
    /// `node` removes its peer `other`, and adds it again.
    Remove,
    /// Somebody says again to the two servers what they have said to each other.
    Replay,
    /// Somebody between the two servers changes what they say: see [`Lie`](super::Lie).
    Lie,
}

impl Kind {
    /// Every kind.
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

    /// Whether it takes a network of namespaces.
    pub fn needs_network(self) -> bool {
        matches!(self, Kind::LinkDown | Kind::OneWay | Kind::Throttle)
    }

    /// Whether it happens to the process: such faults of one server do not overlap.
    pub fn is_of_process(self) -> bool {
        matches!(self, Kind::Kill | Kind::Leave | Kind::Stop | Kind::Slow | Kind::Descriptors | Kind::Memory)
    }

    /// Whether it is between `node` and `other`, and not about all connections of `node`.
    pub fn is_of_pair(self) -> bool {
        matches!(self, Kind::OneWay | Kind::Reset | Kind::Remove) || self.is_of_proxy()
    }

    /// Returns whether a proxy does it: the two servers must talk through one.
    pub fn is_of_proxy(self) -> bool {
        matches!(self, Kind::Replay | Kind::Lie)
    }

    /// Whether the server is another run afterwards.
    pub fn restarts(self) -> bool {
        matches!(self, Kind::Kill | Kind::Leave)
    }

    /// Returns whether peers may lose their connection by it. A slow application, or one short of memory, is no reason
    /// to, nor is what somebody else says.
    pub fn may_disconnect(self) -> bool {
        !matches!(self, Kind::Slow | Kind::Memory | Kind::Replay)
    }

    /// Returns whether it may keep messages between two servers from flowing.
    pub fn may_impede(self) -> bool {
        self != Kind::Replay
    }

    /// Nanoseconds that it takes at least until a proxy has done what it was told.
    pub fn least_time(self) -> u64 {
        match self {
            Kind::Reset => RESET_TIME,
            Kind::Replay => REPLAY_TIME,
            Kind::Lie => LIE_TIME,
            _ => 0,
        }
    }
}

/// A fault as it is planned. Servers are counted from 0; times are nanoseconds from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub kind: Kind,
    pub node: usize,
    /// The other server, where there is one.
    pub other: usize,
    pub begin: u64,
    pub end: u64,
    /// See [`Kind`]; otherwise a number to draw from.
    pub amount: u64,
}

/// A fault as it was injected. Servers are pids, times those of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Injected {
    pub kind: Kind,
    pub pid: u64,
    /// The other server, for faults between two.
    pub other: Option<u64>,
    /// Before it began.
    pub begin: u64,
    /// When it had begun: what makes a fault, `ip` or `tc`, may take its time.
    pub in_force: u64,
    /// Before its end began: what ends a fault may take its time too, and it may be felt no more from then on.
    pub ends: u64,
    /// After it ended; the time at which a killed server was started again is before this.
    pub end: u64,
    pub amount: u64,
}

impl Injected {
    /// Whether it is felt between these two servers.
    pub fn touches(&self, one: u64, two: u64) -> bool {
        match self.other {
            Some(other) => (self.pid, other) == (one, two) || (self.pid, other) == (two, one),
            None => self.pid == one || self.pid == two,
        }
    }
}

/// The proxy waits for its random byte.
const RESET_TIME: u64 = 120 * MILLISECOND;
/// After this time everything that is played again has ended.
pub const REPLAY_TIME: u64 = 3 * SECOND;
/// A lie that there was no segment for is not told later than this.
pub const LIE_TIME: u64 = 1_500 * MILLISECOND;
