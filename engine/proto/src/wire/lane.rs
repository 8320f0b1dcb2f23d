//! Lanes: streams of different lanes do not wait for each other, so a bulk transfer does not block an urgent envelope.
//!
//! No code relies on there being two. With `--cfg lanes3` there is a third, for checks only: `ci/lanes` builds engine,
//! library and simulator with it, and has two links deliver on it. On the wire it would need a new protocol version:
//! the greeting has one credit field for each lane (`credit_normal`, `credit_urgent`), so the fields behind them move;
//! a stream's number is `outbox × lanes + lane`; and version 2 takes a grant for a lane above 1 for a violation. The
//! least `inbox_bytes` would have to hold three windows.

/// Lane of a stream, normal or urgent (WIRE.md, section Streams).
///
/// Streams of different lanes do not wait for each other: a bulk transfer causes no head-of-line blocking of urgent
/// envelopes, but for the bytes that the kernel already holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Lane of all envelopes that are not urgent.
    #[default]
    Normal,
    /// Lane of envelopes that must not wait behind a bulk transfer, such as votes and heartbeats.
    Urgent,
    /// Third lane, of envelopes that may wait behind all others.
    #[cfg(lanes3)]
    Bulk,
}

impl Lane {
    /// Number of lanes.
    pub const COUNT: usize = if cfg!(lanes3) { 3 } else { 2 };
    /// All lanes, in the order of their numbers.
    pub const ALL: [Lane; Lane::COUNT] = [
        Lane::Normal,
        Lane::Urgent,
        #[cfg(lanes3)]
        Lane::Bulk,
    ];
    /// All lanes, in the order in which a link sends on them.
    pub const BY_URGENCY: [Lane; Lane::COUNT] = [
        Lane::Urgent,
        Lane::Normal,
        #[cfg(lanes3)]
        Lane::Bulk,
    ];

    /// Number of the lane: 0 for normal, 1 for urgent.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Returns the number on the wire of the stream from outbox `outbox` on `lane` (WIRE.md, section Streams).
#[inline]
pub fn stream_id(outbox: u32, lane: Lane) -> u32 {
    outbox * Lane::COUNT as u32 + lane as u32
}

/// Returns the lane of the stream with number `stream` (WIRE.md, section Streams).
#[inline]
pub fn lane_of(stream: u32) -> Lane {
    Lane::ALL[stream as usize % Lane::COUNT]
}

#[cfg(test)]
mod tests {
    use super::{Lane, lane_of, stream_id};

    #[test]
    fn the_lane_of_a_stream_follows_from_its_number_however_many_lanes_there_are() {
        for (number, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane.index(), number);
            assert_eq!((0..9).map(|outbox| lane_of(stream_id(outbox, lane))).find(|of| *of != lane), None);
        }
        let streams = (0..9).flat_map(|outbox| Lane::ALL.map(|lane| stream_id(outbox, lane)));
        assert!(streams.eq(0..9 * Lane::COUNT as u32), "each number is that of one stream");
    }

    #[test]
    fn a_link_sends_on_every_lane() {
        let mut lanes = Lane::BY_URGENCY;
        lanes.sort_unstable();
        assert_eq!(lanes, Lane::ALL);
    }
}
