//! Load of the machine by other processes during a measurement.

use std::fmt;
use std::fs;

use serde::{Deserialize, Serialize};

/// Processor time so far, in the kernel's ticks.
#[derive(Debug, Clone, Copy)]
pub struct Watch {
    all: u64,
    idle: u64,
    stolen: u64,
    own: u64,
}

/// Shares of all processor time since a watch began.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    /// Share used by other processes and by the kernel for them.
    pub others: f64,
    /// Share used by other virtual machines.
    pub stolen: f64,
}

impl Watch {
    /// Begins to watch. Counts that the kernel does not provide are zero.
    pub fn begin() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let own = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        Self::of(&stat, &own)
    }

    /// Returns the shares since the watch began.
    pub fn end(&self) -> Noise {
        self.until(&Self::begin())
    }

    fn of(stat: &str, own: &str) -> Self {
        let numbers = |text: &str| text.split_whitespace().filter_map(|cell| cell.parse().ok()).collect::<Vec<u64>>();
        // The columns are user nice system idle iowait irq softirq steal; the later ones are already counted in these.
        let machine = numbers(stat.lines().next().unwrap_or_default());
        let at = |index: usize| machine.get(index).copied().unwrap_or(0);
        // The name, in parentheses, may hold blanks. Behind it come the state and other fields; the fields 12 to 15 are
        // the user and system time of this process and of its children that have ended.
        let own: Vec<&str> = own.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let time = |index: usize| own.get(index).and_then(|cell| cell.parse().ok()).unwrap_or(0);
        let own = (11..=14).map(time).sum();
        Self { all: machine.iter().take(8).sum(), idle: at(3) + at(4), stolen: at(7), own }
    }

    fn until(&self, end: &Self) -> Noise {
        let all = end.all.saturating_sub(self.all).max(1);
        let stolen = end.stolen.saturating_sub(self.stolen);
        let unused = end.idle.saturating_sub(self.idle) + stolen + end.own.saturating_sub(self.own);
        Noise { others: all.saturating_sub(unused) as f64 / all as f64, stolen: stolen as f64 / all as f64 }
    }
}

impl Noise {
    /// Returns whether the machine was so busy that ratios are unreliable: two threads no longer have a core each.
    pub fn is_loud(&self) -> bool {
        self.others + self.stolen > LOUD
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (others, stolen) = (self.others * 100.0, self.stolen * 100.0);
        write!(f, "during the run others used {others:.1} % of the machine, other machines {stolen:.1} %")
    }
}

/// Share above which a run is not judged. An idle machine shows 1 to 3 %: interrupts, and the kernel's threads.
const LOUD: f64 = 0.1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_the_difference() {
        let before = Watch::of("cpu  100 0 100 800 0 0 0 0 0 0\n", "7 (a b) S 1 1 1 0 -1 0 0 0 0 0 50 50 0 0\n");
        let after = Watch::of("cpu  160 0 120 900 0 0 0 20 0 0\n", "7 (a b) S 1 1 1 0 -1 0 0 0 0 0 70 60 7 3\n");
        let noise = before.until(&after);
        assert_eq!((noise.others, noise.stolen), (0.2, 0.1));
        assert!(noise.is_loud());
    }

    #[test]
    fn this_machine_can_be_read() {
        let watch = Watch::begin();
        assert!(watch.all > 0 && watch.idle <= watch.all, "{watch:?}");
    }
}
