//! Lanes: the streams between two servers that do not wait for each other.

/// A lane: streams to one peer that do not wait for each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Everything that is not urgent.
    #[default]
    Normal,
    /// Votes, heartbeats: what must not wait behind a bulk transfer.
    Urgent,
}

impl Lane {
    /// Number of lanes.
    pub const COUNT: usize = 2;
    /// All lanes, in the order of their numbers.
    pub const ALL: [Lane; Lane::COUNT] = [Lane::Normal, Lane::Urgent];

    /// The lane's number: 0 for normal, 1 for urgent.
    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }
}

/// The number of the stream of outbox `outbox` on `lane`, as the wire names it.
pub fn stream_id(outbox: u32, lane: Lane) -> u32 {
    outbox * Lane::COUNT as u32 + lane as u32
}

/// The lane of a stream.
pub fn lane_of(stream: u32) -> Lane {
    Lane::ALL[stream as usize % Lane::COUNT]
}
