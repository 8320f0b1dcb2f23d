//! Reachability between servers.

use std::collections::{BTreeMap, BTreeSet};

use super::Fault;
use crate::Pid;

/// Partitions, isolations and one-way cuts.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// Group of each server that a partition names. All others form one more group.
    groups: BTreeMap<Pid, usize>,
    isolated: BTreeSet<Pid>,
    one_way: BTreeSet<(Pid, Pid)>,
}

impl Cuts {
    /// Returns whether messages from `from` cannot reach `to`.
    #[inline]
    pub(super) fn between(&self, from: Pid, to: Pid) -> bool {
        !self.is_empty()
            && (self.groups.get(&from) != self.groups.get(&to)
                || self.isolated.contains(&from)
                || self.isolated.contains(&to)
                || self.one_way.contains(&(from, to)))
    }

    /// Returns whether the two servers cannot keep a link, which needs both directions.
    pub(super) fn apart(&self, one: Pid, other: Pid) -> bool {
        self.between(one, other) || self.between(other, one)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.isolated.is_empty() && self.one_way.is_empty()
    }

    /// Applies a fault that changes reachability. Returns `false` for any other fault.
    pub(super) fn change(&mut self, fault: &Fault) -> bool {
        match fault {
            Fault::Partition(groups) => {
                let numbered = groups.iter().enumerate();
                self.groups =
                    numbered.flat_map(|(number, group)| group.iter().map(move |pid| (*pid, number))).collect();
            }
            Fault::Isolate(pid) => _ = self.isolated.insert(*pid),
            Fault::Cut { from, to } => _ = self.one_way.insert((*from, *to)),
            Fault::Mend { from, to } => _ = self.one_way.remove(&(*from, *to)),
            Fault::Heal => *self = Cuts::default(),
            _ => return false,
        }
        true
    }
}
