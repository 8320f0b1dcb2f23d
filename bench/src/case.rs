//! Measured cases.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::measure::{Load, Pattern, Traffic};

/// Measured case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Case {
    /// A payload goes to another server and comes back.
    RoundTrip,
    /// Payloads go to another server, as fast as they can.
    OneWay,
    /// The same with payloads of 64 B, 1 KiB and 64 KiB in turn.
    Mixed,
    /// Every payload goes to four servers.
    #[serde(rename = "broadcast_4")]
    #[value(name = "broadcast_4")]
    Broadcast4,
    /// Every payload goes to sixteen servers.
    #[serde(rename = "broadcast_16")]
    #[value(name = "broadcast_16")]
    Broadcast16,
    /// Each of five servers sends every payload to the other four.
    AllToAll,
    /// Every payload goes to four servers, of which one takes a message in a millisecond; the other three are counted.
    SlowConsumer,
}

impl Case {
    /// All cases, in the order of tables.
    pub const ALL: [Self; 7] = [
        Self::RoundTrip,
        Self::OneWay,
        Self::Mixed,
        Self::Broadcast4,
        Self::Broadcast16,
        Self::AllToAll,
        Self::SlowConsumer,
    ];

    /// Bytes in a payload; in the largest payload for mixed sizes.
    pub fn sizes(self) -> &'static [usize] {
        match self {
            Self::RoundTrip => &[64, 1 << 10, 64 << 10],
            Self::OneWay => &[64, 1 << 10, 64 << 10, 1 << 20],
            Self::Mixed => &[64 << 10],
            Self::Broadcast4 | Self::Broadcast16 | Self::AllToAll | Self::SlowConsumer => &[64],
        }
    }

    /// Returns the traffic of the case, in which each sender sends `count` payloads; `None` for round trips.
    pub fn traffic(self, size: usize, count: u64) -> Option<Traffic> {
        let load = Load::new(size, count);
        let (pattern, load) = match self {
            Self::RoundTrip => return None,
            Self::OneWay => (Pattern::OneWay, load),
            Self::Mixed => (Pattern::OneWay, Load { mixed: true, ..load }),
            Self::Broadcast4 => (Pattern::Broadcast { receivers: 4 }, load),
            Self::Broadcast16 => (Pattern::Broadcast { receivers: 16 }, load),
            Self::AllToAll => (Pattern::AllToAll { servers: 5 }, load),
            Self::SlowConsumer => (Pattern::SlowConsumer { receivers: 4 }, load),
        };
        Some(Traffic { pattern, load, loops: None })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundTrip => "round trip",
            Self::OneWay => "one way",
            Self::Mixed => "mixed sizes",
            Self::Broadcast4 => "broadcast to 4",
            Self::Broadcast16 => "broadcast to 16",
            Self::AllToAll => "all to all of 5",
            Self::SlowConsumer => "slow consumer",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_has_one_name_in_files_and_on_the_command_line() {
        for case in Case::ALL {
            let named = case.to_possible_value().unwrap();
            assert_eq!(serde_json::to_string(&case).unwrap(), format!("\"{}\"", named.get_name()));
        }
    }

    #[test]
    fn everything_but_round_trips_is_traffic() {
        let with_traffic = Case::ALL.into_iter().filter(|case| case.traffic(64, 2).is_some()).count();
        assert_eq!(with_traffic, Case::ALL.len() - 1);
    }
}
