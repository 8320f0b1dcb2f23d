//! What can be done to a mock cluster, and where.

use std::fmt;

use super::Conditions;
use super::fault_error::FaultError;
use crate::Pid;

/// Something that happens to a mock cluster: now ([`Cluster::inject`](super::Cluster::inject)) or at a given time
/// ([`Cluster::at`](super::Cluster::at)).
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
    /// Servers of different groups do not reach each other. Servers that are not named form one more group. Takes the place of
    /// an earlier partition.
    Partition(Vec<Vec<Pid>>),
    /// The server reaches nobody, and nobody reaches it.
    Isolate(Pid),
    /// What `from` sends does not reach `to`. The other way is as it was.
    Cut {
        /// Who is not heard.
        from: Pid,
        /// Who does not hear.
        to: Pid,
    },
    /// Takes back a [`Cut`](Fault::Cut).
    Mend {
        /// Who is heard again.
        from: Pid,
        /// Who hears again.
        to: Pid,
    },
    /// Takes back every partition, isolation and cut. Conditions stay.
    Heal,
    /// The conditions at a place, from now on, for what is sent from now on.
    Set(Place, Conditions),
    /// Whether what cannot reach its recipient waits until it can (`true`), as on the real engine, or is dropped and stays
    /// dropped (`false`, the default).
    HoldWhilePartitioned(bool),
    /// The server ends without a word. What its outboxes had not sent is gone.
    Crash(Pid),
}

impl Fault {
    /// A partition into these groups.
    pub fn partition(groups: &[&[Pid]]) -> Fault {
        Fault::Partition(groups.iter().map(|group| group.to_vec()).collect())
    }

    /// Whether it makes sense.
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

    /// The servers that it names.
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

/// Where conditions hold. A message passes those of all places on its way: everywhere, its sender's, its link's, its
/// recipient's. Their delays add up, and each has its chance to drop it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// On every link.
    Everywhere,
    /// For all that this server sends, and all that is sent to it.
    Server(Pid),
    /// For what one server sends to one other; not the other way.
    Link {
        /// Who sends.
        from: Pid,
        /// Who receives.
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
