//! The catalog: the servers by their number.

use std::collections::BTreeMap;

use super::settings::{Config, Member};
use crate::Pid;

/// The servers of a cluster, found by their pid and listed in the order of their pids.
///
/// ```
/// use cluster::{Catalog, Config, Member};
///
/// let config = Config::new([(300, "127.0.0.1:8003"), (100, "127.0.0.1:8001")])?;
/// let mut catalog = Catalog::from(&config);
/// assert_eq!(catalog.get(100).map(|member| member.address.as_str()), Some("127.0.0.1:8001"));
///
/// catalog.insert(Member::new(200, "127.0.0.1:8002"));
/// let pids: Vec<_> = catalog.iter().map(|member| member.pid).collect();
/// assert_eq!(pids, [100, 200, 300]);
/// # Ok::<(), cluster::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    members: BTreeMap<Pid, Member>,
}

impl Catalog {
    /// A catalog without servers.
    ///
    /// ```
    /// assert!(cluster::Catalog::new().is_empty());
    /// ```
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// The server `pid`, if it is known.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let catalog: Catalog = [Member::new(100, "127.0.0.1:8001")].into_iter().collect();
    /// assert_eq!(catalog.get(100), Some(&Member::new(100, "127.0.0.1:8001")));
    /// assert_eq!(catalog.get(200), None);
    /// ```
    pub fn get(&self, pid: Pid) -> Option<&Member> {
        self.members.get(&pid)
    }

    /// Whether the server `pid` is known.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let catalog: Catalog = [Member::new(100, "127.0.0.1:8001")].into_iter().collect();
    /// assert!(catalog.contains(100) && !catalog.contains(200));
    /// ```
    pub fn contains(&self, pid: Pid) -> bool {
        self.members.contains_key(&pid)
    }

    /// The servers, lowest pid first.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let catalog: Catalog = [Member::new(2, "b:8002"), Member::new(1, "a:8001")].into_iter().collect();
    /// assert_eq!(catalog.iter().map(|member| member.pid).collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> + DoubleEndedIterator {
        self.members.values()
    }

    /// How many servers there are.
    ///
    /// ```
    /// assert_eq!(cluster::Catalog::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no server.
    ///
    /// ```
    /// assert!(cluster::Catalog::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a server; returns the one that had the same pid before, if there was one.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let mut catalog = Catalog::new();
    /// assert_eq!(catalog.insert(Member::new(100, "old:8001")), None);
    /// assert_eq!(catalog.insert(Member::new(100, "new:8001")), Some(Member::new(100, "old:8001")));
    /// ```
    pub fn insert(&mut self, member: Member) -> Option<Member> {
        self.members.insert(member.pid, member)
    }

    /// Removes the server `pid` and returns it, if it was known.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let mut catalog: Catalog = [Member::new(100, "127.0.0.1:8001")].into_iter().collect();
    /// assert_eq!(catalog.remove(100), Some(Member::new(100, "127.0.0.1:8001")));
    /// assert_eq!(catalog.remove(100), None);
    /// ```
    pub fn remove(&mut self, pid: Pid) -> Option<Member> {
        self.members.remove(&pid)
    }
}

impl From<&Config> for Catalog {
    fn from(config: &Config) -> Catalog {
        config.servers.iter().cloned().collect()
    }
}

impl FromIterator<Member> for Catalog {
    /// Where two members have the same pid, the later one stays.
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Catalog {
        Catalog { members: members.into_iter().map(|member| (member.pid, member)).collect() }
    }
}
