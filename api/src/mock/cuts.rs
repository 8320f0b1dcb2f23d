//! Who reaches whom.

use std::collections::{BTreeMap, BTreeSet};

use super::Fault;
use crate::Pid;

/// Partitions, isolations and one-way cuts.
#[derive(Debug, Default)]
pub(super) struct Cuts {
    /// The group of each server that a partition names; the others are in one more.
    groups: BTreeMap<Pid, usize>,
    isolated: BTreeSet<Pid>,
    one_way: BTreeSet<(Pid, Pid)>,
}

impl Cuts {
    /// Whether what `from` sends cannot reach `to`.
    #[inline]
    pub(super) fn between(&self, from: Pid, to: Pid) -> bool {
        !self.is_empty()
            && (self.groups.get(&from) != self.groups.get(&to)
                || self.isolated.contains(&from)
                || self.isolated.contains(&to)
                || self.one_way.contains(&(from, to)))
    }

    /// Whether the two cannot keep up a link, for which both directions are needed.
    pub(super) fn apart(&self, one: Pid, other: Pid) -> bool {
        self.between(one, other) || self.between(other, one)
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.isolated.is_empty() && self.one_way.is_empty()
    }

    /// Changes what the fault is about; `false`: nothing of this.
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
