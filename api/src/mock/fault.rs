//! Faults that a test injects into a mock cluster, and the places where conditions apply.

use std::fmt;

use super::Conditions;
use super::fault_error::FaultError;
use crate::Pid;

/// Fault in a mock cluster.
///
/// [`Cluster::inject`](super::Cluster::inject) injects it now, [`Cluster::at`](super::Cluster::at) at a given time.
///
/// ```
/// use cluster::mock::{Conditions, Fault, Place};
///
/// let faults = [
///     Fault::partition(&[&[1, 2, 3], &[4, 5]]),
///     Fault::Set(Place::Server(3), Conditions::new().drop(0.1)),
///     Fault::Heal,
/// ];
/// assert_eq!(faults[0].to_string(), "partition {1, 2, 3} | {4, 5}");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// Partitions the cluster: servers of different groups cannot reach each other. Unlisted servers form one more
    /// group. It replaces an earlier partition.
    Partition(Vec<Vec<Pid>>),
    /// Cuts the server off from all others, in both directions.
    Isolate(Pid),
    /// Cuts one direction of a link: messages from `from` do not reach `to`. The other direction is unchanged.
    Cut {
        /// Sender whose messages are cut off.
        from: Pid,
        /// Recipient that the messages do not reach.
        to: Pid,
    },
    /// Removes a [`Cut`](Fault::Cut).
    Mend {
        /// Sender whose messages arrive again.
        from: Pid,
        /// Recipient that the messages reach again.
        to: Pid,
    },
    /// Removes every partition, isolation and cut. Conditions stay.
    Heal,
    /// Sets the conditions at a place, for messages sent from now on. They replace earlier conditions at that place.
    Set(Place, Conditions),
    /// Sets the handling of messages that cannot reach their recipient: `true` holds them until they can, as the real
    /// engine does; `false`, the default, drops them for good.
    HoldWhilePartitioned(bool),
    /// Ends the server without a goodbye. Unsent envelopes in its outboxes are lost.
    Crash(Pid),
}

impl Fault {
    /// Makes a partition into these groups. Unlisted servers form one more group.
    pub fn partition(groups: &[&[Pid]]) -> Fault {
        Fault::Partition(groups.iter().map(|group| group.to_vec()).collect())
    }

    /// Checks that the fault is valid on its own, without the members of a cluster.
    pub(super) fn check(&self) -> Result<(), FaultError> {
        match self {
            Fault::Partition(groups) => {
                let mut pids: Vec<Pid> = groups.iter().flatten().copied().collect();
                pids.sort_unstable();
                match pids.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(pair) => Err(FaultError::NamedTwice { pid: pair[0] }),
                    None => Ok(()),
                }
            }
            Fault::Set(_, conditions) => conditions.check(),
            _ => Ok(()),
        }
    }

    /// Pids of the servers that the fault names.
    pub(super) fn pids(&self) -> Vec<Pid> {
        match self {
            Fault::Partition(groups) => groups.concat(),
            Fault::Isolate(pid) | Fault::Crash(pid) | Fault::Set(Place::Server(pid), _) => vec![*pid],
            Fault::Cut { from, to } | Fault::Mend { from, to } | Fault::Set(Place::Link { from, to }, _) => {
                vec![*from, *to]
            }
            Fault::Heal | Fault::Set(Place::Everywhere, _) | Fault::HoldWhilePartitioned(_) => Vec::new(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Partition(groups) => {
                f.write_str("partition")?;
                for (index, group) in groups.iter().enumerate() {
                    let separator = if index == 0 { "" } else { " |" };
                    let pids: Vec<String> = group.iter().map(Pid::to_string).collect();
                    write!(f, "{separator} {{{}}}", pids.join(", "))?;
                }
                Ok(())
            }
            Fault::Isolate(pid) => write!(f, "isolate {pid}"),
            Fault::Cut { from, to } => write!(f, "cut {from} → {to}"),
            Fault::Mend { from, to } => write!(f, "mend {from} → {to}"),
            Fault::Heal => f.write_str("heal"),
            Fault::Set(place, conditions) => write!(f, "{place}: {conditions}"),
            Fault::HoldWhilePartitioned(true) => f.write_str("hold while partitioned"),
            Fault::HoldWhilePartitioned(false) => f.write_str("drop while partitioned"),
            Fault::Crash(pid) => write!(f, "crash {pid}"),
        }
    }
}

/// Place where conditions apply.
///
/// A message passes four places: everywhere, its sender, its link, and its recipient. The delays of these places add
/// up, and each place may drop the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// Every link.
    Everywhere,
    /// All messages that this server sends, and all that are sent to it.
    Server(Pid),
    /// Messages from one server to one other, in this direction only.
    Link {
        /// Pid of the sender.
        from: Pid,
        /// Pid of the recipient.
        to: Pid,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Everywhere => f.write_str("everywhere"),
            Place::Server(pid) => write!(f, "server {pid}"),
            Place::Link { from, to } => write!(f, "{from} → {to}"),
        }
    }
}
