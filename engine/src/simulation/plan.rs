//! Decisions of a seed before the simulation starts.

use std::time::Duration;

use fastrand::Rng;

use super::network::Weather;
use crate::delivery::ARRIVALS;
use crate::testing::one_in;

/// Size of a simulation, and the faults in it.
#[derive(Clone, Debug, Hash)]
pub(super) struct Plan {
    pub(super) machines: usize,
    /// Number of servers. Server `n` runs on machine `n % machines`. Servers of one machine share its event loops.
    pub(super) servers: usize,
    /// Event loops of a machine.
    pub(super) loops: usize,
    /// Most dials of an event loop that are under way at once.
    pub(super) dials: usize,
    /// Time that an operation of an event loop takes, in nanoseconds.
    pub(super) operation_nanos: u64,
    pub(super) weather: Weather,
    /// Time during which faults occur.
    pub(super) chaos: Duration,
    pub(super) window_bytes: u64,
    pub(super) ring_bytes: usize,
    pub(super) checksum_payload: bool,
    pub(super) eager: bool,
    /// Limit on the payload bytes of an envelope.
    pub(super) largest: usize,
    /// One in `droppable + 1` envelopes may be dropped. 0 if none may.
    pub(super) droppable: u64,
    /// Limit on the envelopes that an outbox writes.
    pub(super) quota: u64,
    /// Longest pause between actions of an application that has something to do, in nanoseconds.
    pub(super) pace_nanos: u64,
    /// Mean pause between faults, in milliseconds.
    pub(super) fault_pause_ms: u64,
    /// Servers of one machine connect through memory.
    pub(super) memory: bool,
    /// Servers have different configurations, which are drawn anew at each start.
    pub(super) differ: bool,
    /// Number of arrivals that the queue of an inbox holds.
    pub(super) arrivals: usize,
    /// One in this many calls of `drain` panics. 0 if none does.
    pub(super) panics: u64,
    /// A server is flooded with connections that never greet.
    pub(super) flood: bool,
    /// Most unread events of an application. If they are few, the application reads them late and misses some.
    pub(super) events_kept: usize,
    /// One in this many envelopes is for one life of its recipient only. 0 if none is.
    pub(super) restricted: u64,
    /// Mean pause between replays of what dialers have sent, in milliseconds. 0 if there are none.
    pub(super) replay_pause_ms: u64,
    /// No application reads while faults occur.
    pub(super) idle_readers: bool,
}

/// Configuration of one life of a server.
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

    pub(super) fn new(random: &mut Rng) -> Plan {
        let machines = 2 + random.usize(..3);
        let servers = (machines + random.usize(..3)).min(5);
        let delay_nanos = pick(random, [10_000, 200_000, 5_000_000, 40_000_000]);
        Plan {
            machines,
            servers,
            weather: Weather {
                delay_nanos,
                buffer_bytes: pick(random, [4 * 1024, 32 * 1024, 128 * 1024, 512 * 1024]),
                short: random.bool(),
                calm: false,
            },
            chaos: Duration::from_millis(100 + random.u64(..5000)),
            window_bytes: (128 * 1024) << random.u64(..3),
            ring_bytes: 1 << (16 + random.u64(..3)),
            checksum_payload: one_in(random, 4),
            eager: random.bool(),
            largest: pick(random, [2048, 20 * 1024, 64 * 1024, 300 * 1024]),
            droppable: random.u64(..4),
            quota: 8 << random.u64(..5),
            pace_nanos: delay_nanos.clamp(500_000, 20_000_000) << random.u64(..3),
            fault_pause_ms: 20 << random.u64(..6),
            memory: random.bool(),
            loops: if one_in(random, 3) { 2 } else { 1 },
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

    /// Draws whether servers have different configurations, and whether they read events late. `random` is used for
    /// nothing else, so that the rest of a seed's decisions stays as it was.
    pub(super) fn with_differences(self, random: &mut Rng) -> Plan {
        Plan { differ: one_in(random, 3), events_kept: pick(random, [EVENTS, EVENTS, EVENTS, 4]), ..self }
    }

    /// Draws the share of envelopes that are for one life of their recipient. `random` is used for nothing else, so
    /// that a seed without such envelopes stays as it was.
    pub(super) fn with_restrictions(self, random: &mut Rng) -> Plan {
        Plan { restricted: pick(random, [0, 0, 2, 8]), ..self }
    }

    /// Draws whether a server is flooded. `random` is used for nothing else, so that the rest of a seed's decisions
    /// stays as it was.
    pub(super) fn with_flood(self, random: &mut Rng) -> Plan {
        Plan { flood: one_in(random, 8), ..self }
    }

    /// Draws whether connections are replayed. `random` is used for nothing else, so that a seed without replays stays
    /// as it was.
    pub(super) fn with_replays(self, random: &mut Rng) -> Plan {
        Plan { replay_pause_ms: if one_in(random, 4) { 4 << random.u64(..6) } else { 0 }, ..self }
    }

    /// Draws whether applications read nothing while faults occur. `random` is used for nothing else, so that a seed in
    /// which they read stays as it was.
    pub(super) fn with_idle_readers(self, random: &mut Rng) -> Plan {
        Plan { idle_readers: one_in(random, 16), ..self }
    }

    /// Draws the configuration of a server that starts.
    pub(super) fn configuration(&self, random: &mut Rng) -> Configuration {
        let interval = if self.differ { pick(random, [150, 500, 1500]) } else { 500 };
        Configuration {
            max_envelope_bytes: if self.differ { pick(random, [1024, 18_000, 70_000, 1 << 20]) } else { 1 << 20 },
            heartbeat_interval: Duration::from_millis(interval),
            peer_timeout: Duration::from_millis(3 * interval),
        }
    }

    /// Draws the ways in which inboxes are read. `random` is used for nothing else, so that the rest of a seed's
    /// decisions stays as it was.
    pub(super) fn with_reading(self, random: &mut Rng) -> Plan {
        if random.bool() {
            return self;
        }
        Plan { arrivals: pick(random, [1, 2, 8, 64]), panics: random.u64(..4), ..self }
    }
}

/// Number of events that a server's queue holds.
const EVENTS: usize = 1024;

fn pick<T: Copy, const N: usize>(random: &mut Rng, from: [T; N]) -> T {
    from[random.usize(..N)]
}
