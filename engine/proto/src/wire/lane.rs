//! Lanes: streams of different lanes do not wait for each other, so a bulk transfer does not block an urgent envelope.

/// Lane of a stream. Streams of different lanes do not wait for each other (WIRE.md, section Streams).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Lane of all envelopes that are not urgent.
    #[default]
    Normal,
    /// Lane of envelopes that must not wait behind a bulk transfer, such as votes and heartbeats.
    Urgent,
}

impl Lane {
    /// Number of lanes.
    pub const COUNT: usize = 2;
    /// All lanes, in the order of their numbers.
    pub const ALL: [Lane; Lane::COUNT] = [Lane::Normal, Lane::Urgent];

    /// Number of the lane: 0 for normal, 1 for urgent.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// Returns the number on the wire of the stream from outbox `outbox` on `lane`.
#[inline]
pub fn stream_id(outbox: u32, lane: Lane) -> u32 {
    outbox * Lane::COUNT as u32 + lane as u32
}

/// Returns the lane of the stream with number `stream`.
#[inline]
pub fn lane_of(stream: u32) -> Lane {
    Lane::ALL[stream as usize % Lane::COUNT]
}
