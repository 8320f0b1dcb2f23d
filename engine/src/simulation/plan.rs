//! What a seed decides before anything happens.

use std::time::Duration;

use super::network::Weather;
use crate::delivery::ARRIVALS;
use crate::testing::Random;

/// The size of a simulation, and how much goes wrong in it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Plan {
    pub(super) machines: usize,
    /// Server number `n` lives on machine `n % machines`; those of one machine share its event loops.
    pub(super) servers: usize,
    /// The event loops of a machine.
    pub(super) loops: usize,
    /// The most dials of a loop that are under way at once.
    pub(super) dials: usize,
    /// Time that an operation of a loop takes.
    pub(super) operation_nanos: u64,
    pub(super) weather: Weather,
    /// So long things go wrong.
    pub(super) chaos: Duration,
    pub(super) window_bytes: u64,
    pub(super) ring_bytes: usize,
    pub(super) checksum_payload: bool,
    pub(super) eager: bool,
    /// The longest envelope that is written.
    pub(super) largest: usize,
    /// One envelope in so many may be dropped; 0: none.
    pub(super) droppable: u64,
    /// So many envelopes at most an outbox writes.
    pub(super) quota: u64,
    /// An application does something at least so often, if it has something to do.
    pub(super) pace_nanos: u64,
    /// The mean pause between faults.
    pub(super) fault_pause_ms: u64,
    /// Servers of one machine reach each other through memory.
    pub(super) memory: bool,
    /// Servers are configured differently, and anew each time they start.
    pub(super) differ: bool,
    /// The arrivals in the queue of an inbox.
    pub(super) arrivals: usize,
    /// One in this many calls of `drain` panics; 0: none.
    pub(super) panics: u64,
    /// A server is flooded with connections that never greet.
    pub(super) flood: bool,
    /// Largest number of events that wait for an application. If they are few, it reads them late and misses some.
    pub(super) events_kept: usize,
    /// One envelope in so many is for one life of its recipient alone; 0: none.
    pub(super) restricted: u64,
    /// The mean pause between replays of what dialers have sent; 0: there are none.
    pub(super) replay_pause_ms: u64,
    /// No application reads as long as things go wrong.
    pub(super) idle_readers: bool,
}

/// The configuration of one life of a server.
pub(super) struct Configuration {
    pub(super) max_envelope_bytes: u64,
    pub(super) heartbeat_interval: Duration,
    pub(super) peer_timeout: Duration,
}

impl Plan {
    /// Returns whether applications miss events.
    pub(super) fn misses_events(&self) -> bool {
        self.events_kept < EVENTS
    }

    pub(super) fn new(random: &mut Random) -> Plan {
        let machines = 2 + random.below(3) as usize;
        let servers = (machines + random.below(3) as usize).min(5);
        let delay_nanos = pick(random, [10_000, 200_000, 5_000_000, 40_000_000]);
        Plan {
            machines,
            servers,
            weather: Weather {
                delay_nanos,
                buffer_bytes: pick(random, [4 * 1024, 32 * 1024, 128 * 1024, 512 * 1024]),
                short: random.one_in(2),
                calm: false,
            },
            chaos: Duration::from_millis(100 + random.below(5000)),
            window_bytes: (128 * 1024) << random.below(3),
            ring_bytes: 1 << (16 + random.below(3)),
            checksum_payload: random.one_in(4),
            eager: random.one_in(2),
            largest: pick(random, [2048, 20 * 1024, 64 * 1024, 300 * 1024]),
            droppable: random.below(4),
            quota: 8 << random.below(5),
            pace_nanos: delay_nanos.clamp(500_000, 20_000_000) << random.below(3),
            fault_pause_ms: 20 << random.below(6),
            memory: random.one_in(2),
            loops: if random.one_in(3) { 2 } else { 1 },
            dials: pick(random, [1, 2, 256]),
            operation_nanos: pick(random, [0, 1000, 20_000]),
            differ: false,
            arrivals: ARRIVALS,
            panics: 0,
            flood: false,
            events_kept: EVENTS,
            restricted: 0,
            replay_pause_ms: 0,
            idle_readers: false,
        }
    }

    /// Draws whether servers are configured differently, and read their events late. `random` is used for nothing else,
    /// so that all else stays as it was for a seed.
    pub(super) fn with_differences(self, random: &mut Random) -> Plan {
        Plan { differ: random.one_in(3), events_kept: pick(random, [EVENTS, EVENTS, EVENTS, 4]), ..self }
    }

    /// Draws how many envelopes are for one life of their recipient. `random` is used for nothing else, so that all
    /// else stays as it was for a seed without any.
    pub(super) fn with_restrictions(self, random: &mut Random) -> Plan {
        Plan { restricted: pick(random, [0, 0, 2, 8]), ..self }
    }

    /// Draws whether a server is flooded. `random` is used for nothing else, so that all else stays as it was for a
    /// seed.
    pub(super) fn with_flood(self, random: &mut Random) -> Plan {
        Plan { flood: random.one_in(8), ..self }
    }

    /// Draws whether connections are played again. `random` is used for nothing else, so that all else stays as it was
    /// for a seed without replays.
    pub(super) fn with_replays(self, random: &mut Random) -> Plan {
        Plan { replay_pause_ms: if random.one_in(4) { 4 << random.below(6) } else { 0 }, ..self }
    }

    /// Draws whether applications read nothing for long. `random` is used for nothing else, so that all else stays as
    /// it was for a seed where they read.
    pub(super) fn with_idle_readers(self, random: &mut Random) -> Plan {
        Plan { idle_readers: random.one_in(16), ..self }
    }

    /// Draws the configuration of a server that starts.
    pub(super) fn configuration(&self, random: &mut Random) -> Configuration {
        let interval = if self.differ { pick(random, [150, 500, 1500]) } else { 500 };
        Configuration {
            max_envelope_bytes: if self.differ { pick(random, [1024, 18_000, 70_000, 1 << 20]) } else { 1 << 20 },
            heartbeat_interval: Duration::from_millis(interval),
            peer_timeout: Duration::from_millis(3 * interval),
        }
    }

    /// Draws how inboxes are read. `random` is used for nothing else, so that all else stays as it was for a seed.
    pub(super) fn with_reading(self, random: &mut Random) -> Plan {
        if random.one_in(2) {
            return self;
        }
        Plan { arrivals: pick(random, [1, 2, 8, 64]), panics: random.below(4), ..self }
    }
}

/// Number of events that the queue of a server holds.
const EVENTS: usize = 1024;

fn pick<T: Copy, const N: usize>(random: &mut Random, from: [T; N]) -> T {
    from[random.below(N as u64) as usize]
}
