//! The catalog: servers by their pid.

use std::collections::BTreeMap;

use super::settings::{Config, Member};
use crate::Pid;

/// Servers of a cluster, found by their pid and listed by ascending pid.
///
/// ```
/// use cluster::{Catalog, Config, Member};
///
/// let config = Config::new([(300, "127.0.0.1:8003"), (100, "127.0.0.1:8001")])?;
/// let mut catalog = Catalog::from(&config);
/// assert_eq!(catalog.get(100), Some(&Member::new(100, "127.0.0.1:8001")));
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
    /// Makes a catalog without servers.
    ///
    /// ```
    /// assert!(cluster::Catalog::new().is_empty());
    /// ```
    pub fn new() -> Catalog {
        Catalog::default()
    }

    /// Returns the server `pid`, or `None` if it is not in the catalog.
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

    /// Returns whether the server `pid` is in the catalog.
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

    /// Returns an iterator over the servers, by ascending pid.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let members = [Member::new(2, "b:8002"), Member::new(1, "a:8001")];
    /// let catalog: Catalog = members.into_iter().collect();
    /// assert_eq!(catalog.iter().map(|member| member.pid).collect::<Vec<_>>(), [1, 2]);
    /// ```
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Member> + DoubleEndedIterator {
        self.members.values()
    }

    /// Number of servers.
    ///
    /// ```
    /// assert_eq!(cluster::Catalog::new().len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Returns whether the catalog has no servers.
    ///
    /// ```
    /// assert!(cluster::Catalog::new().is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Adds a server. Returns the previous server with this pid, if there was one.
    ///
    /// ```
    /// use cluster::{Catalog, Member};
    ///
    /// let mut catalog = Catalog::new();
    /// let (old, new) = (Member::new(100, "old:8001"), Member::new(100, "new:8001"));
    /// assert_eq!(catalog.insert(old.clone()), None);
    /// assert_eq!(catalog.insert(new), Some(old));
    /// ```
    pub fn insert(&mut self, member: Member) -> Option<Member> {
        self.members.insert(member.pid, member)
    }

    /// Removes the server `pid` and returns it, if it is in the catalog.
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
    /// Collects members. If two members have the same pid, the later one stays.
    fn from_iter<I: IntoIterator<Item = Member>>(members: I) -> Catalog {
        Catalog { members: members.into_iter().map(|member| (member.pid, member)).collect() }
    }
}
