//! Entry of a log: 40 bytes, so that a truncated log loses only its last entry.

use cluster::Pid;

use crate::payload::Stream;

/// Kind of an entry. `first` and `second` are the entry's two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The server has started.
    Started = 1,
    /// Sequence numbers below `first` may be used from now on. The entry is written before any of them is used.
    Reserved,
    /// The outbox accepted the numbers `first` to `second`. The time is from before the call.
    Accepted,
    /// The outbox returned the numbers `first` to `second`, for want of room.
    Full,
    /// The outbox returned the numbers `first` to `second`, for another reason.
    GivenBack,
    /// The inbox delivered the numbers `first` to `second`, from run `run` of the peer.
    Received,
    /// A message of `first` bytes arrived changed, or names another sender than its envelope.
    Corrupt,
    /// Among the messages from this peer in the last second, `second` took `first` nanoseconds.
    Latency,
    /// The peer is up.
    Up,
    /// The peer is down, for the reason `first`: see [`crate::node::reason`]. `second` bytes were lost with it.
    Down,
    /// The peer was restarted.
    Restarted,
    /// The peer refuses this server.
    Refused,
    /// Accepts or dials fail for now, or succeed again.
    Shortage,
    /// `first` events were lost because they were not read in time.
    Missed,
    /// `first` bytes of memory are in use.
    Memory,
    /// The server sends nothing more.
    Quiet,
    /// The stop could not deliver `first` messages.
    Undelivered,
    /// `stats` counts `first` messages out and `second` messages in.
    Account,
    /// The stop took `first` nanoseconds.
    Stopped,
    /// The server has read all messages that had arrived before the stop.
    Drained,
    /// The outbox returned the numbers `first` to `second`: the peer was unknown, because it was removed.
    Unknown,
    /// The numbers `first` to `second` went to all peers while this one was being removed or added: it may be among
    /// them.
    Uncertain,
    /// A flush that began at `second` found all numbers up to `first` acknowledged.
    Flushed,
    /// The peer is about to be removed.
    Removing,
    /// The peer was removed; it had not acknowledged `first` messages.
    Removed,
    /// The peer was added again.
    Added,
    /// The outbox accepted the numbers `first` to `second` for a peer that had been removed.
    Misaddressed,
    /// Number `first` arrived from run `run` of the peer, which sent it after it had been removed.
    Uninvited,
    /// The server was told that the peer was added.
    AddedEvent,
    /// The server was told that the peer was removed.
    RemovedEvent,
    /// The server was told that `first` messages were dropped, for the reason `second`: see
    /// [`crate::node::drop_reason`].
    Dropped,
    /// `stats` counts `first` messages dropped as expired, and `second` as best effort.
    Perished,
    /// `stats` counts `first` messages dropped with a removed peer, and `second` at the stop.
    GivenUp,
    /// The process runs, and has not begun to start the server.
    Running,
    /// The peer and this server have contradicted each other about their streams, and have reset them.
    Reset,
}

/// Entry of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    pub kind: Kind,
    pub stream: Stream,
    pub run: u32,
    pub peer: Pid,
    pub time: u64,
    pub first: u64,
    pub second: u64,
}

/// Bytes in an entry.
pub const RECORD_BYTES: usize = 40;

impl Record {
    /// Returns an entry that has only a kind and a time.
    pub fn at(kind: Kind, time: u64) -> Record {
        Record { kind, stream: Stream::Normal, run: 0, peer: 0, time, first: 0, second: 0 }
    }

    /// Returns an entry about a peer.
    pub fn about(kind: Kind, peer: Pid, time: u64) -> Record {
        Record { peer, ..Record::at(kind, time) }
    }

    /// Returns the entry with these two numbers.
    pub fn with(self, first: u64, second: u64) -> Record {
        Record { first, second, ..self }
    }

    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let head =
            u64::from(self.kind as u8) | u64::from(self.stream.code()) << 8 | MARK << 16 | u64::from(self.run) << 32;
        let mut bytes = [0; RECORD_BYTES];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip([head, self.peer, self.time, self.first, self.second]) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// Decodes an entry; `None` if the bytes are no entry.
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Record> {
        let mut words = [0; RECORD_BYTES / 8];
        for (word, chunk) in words.iter_mut().zip(bytes.chunks_exact(8)) {
            *word = u64::from_le_bytes(chunk.try_into().ok()?);
        }
        let [head, peer, time, first, second] = words;
        if (head >> 16) & 0xFFFF != MARK {
            return None;
        }
        let code = u8::try_from(head & 0xFF).ok()?;
        let kind = KINDS.into_iter().find(|kind| *kind as u8 == code)?;
        let stream = Stream::from_code(u8::try_from((head >> 8) & 0xFF).ok()?)?;
        Some(Record { kind, stream, run: u32::try_from(head >> 32).ok()?, peer, time, first, second })
    }
}

/// Mark in every entry, by which a misaligned log is noticed.
const MARK: u64 = 0xC1A5;

const KINDS: [Kind; 35] = [
    Kind::Started,
    Kind::Reserved,
    Kind::Accepted,
    Kind::Full,
    Kind::GivenBack,
    Kind::Received,
    Kind::Corrupt,
    Kind::Latency,
    Kind::Up,
    Kind::Down,
    Kind::Restarted,
    Kind::Refused,
    Kind::Shortage,
    Kind::Missed,
    Kind::Memory,
    Kind::Quiet,
    Kind::Undelivered,
    Kind::Account,
    Kind::Stopped,
    Kind::Drained,
    Kind::Unknown,
    Kind::Uncertain,
    Kind::Flushed,
    Kind::Removing,
    Kind::Removed,
    Kind::Added,
    Kind::Misaddressed,
    Kind::Uninvited,
    Kind::AddedEvent,
    Kind::RemovedEvent,
    Kind::Dropped,
    Kind::Perished,
    Kind::GivenUp,
    Kind::Running,
    Kind::Reset,
];

#[cfg(test)]
mod tests {
    use super::{KINDS, Record};
    use crate::payload::Stream;

    #[test]
    fn entries_come_back_as_they_were() {
        for (index, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            let record =
                Record { stream: Stream::Broadcast, run: 9, ..Record::about(kind, 4, u64::MAX).with(1, u64::MAX) };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        assert_eq!(Record::decode(&[0; 40]), None);
    }
}
