//! One entry of a log: 40 bytes, so that a log that was cut short loses its last entry and nothing else.

use cluster::Pid;

use crate::payload::Stream;

/// What an entry says. `first` and `second` are the entry's two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// The server has started.
    Started = 1,
    /// Sequence numbers below `first` may be used from now on: written before any of them is.
    Reserved,
    /// The outbox took `first` to `second`; the time is from before it did.
    Accepted,
    /// The outbox gave `first` to `second` back: no room.
    Full,
    /// The outbox gave `first` to `second` back: for another reason.
    GivenBack,
    /// `first` to `second` came out of the inbox, from run `run` of the peer.
    Received,
    /// A message came that was not as it was sent, or that names another sender than the envelope; `first` bytes.
    Corrupt,
    /// Of the messages from this peer in the last second, `second` took `first` nanoseconds.
    Latency,
    /// The peer is up.
    Up,
    /// The peer is down; `first` is the reason: see [`crate::node::reason`]. `second` bytes were lost with it.
    Down,
    /// The peer was restarted.
    Restarted,
    /// The peer refuses us.
    Refused,
    /// Accepts or dials fail for now, or succeed again.
    Shortage,
    /// `first` events were lost because nobody read them.
    Missed,
    /// `first` bytes of memory are in use.
    Memory,
    /// Nothing more is sent.
    Quiet,
    /// The stop could not deliver `first` messages.
    Undelivered,
    /// `stats`: `first` messages out, `second` in.
    Account,
    /// The stop has taken `first` nanoseconds.
    Stopped,
    /// Everything that had arrived before the stop was read.
    Drained,
    /// The outbox gave `first` to `second` back: the peer was not known, because it was removed.
    Unknown,
    /// `first` to `second` went to all peers while this one was being removed or added: it may be among them.
    Uncertain,
    /// A flush that began at `second` found everything up to number `first` acknowledged.
    Flushed,
    /// The peer is about to be removed.
    Removing,
    /// The peer was removed; it had not acknowledged `first` messages.
    Removed,
    /// The peer was added again.
    Added,
    /// The outbox took `first` to `second` for a peer that had been removed.
    Misaddressed,
    /// Number `first` came from run `run` of the peer, which sent it after it had been removed.
    Uninvited,
    /// An event: the peer was added.
    AddedEvent,
    /// An event: the peer was removed.
    RemovedEvent,
    /// An event: `first` messages were given up; `second` is the reason: see [`crate::node::drop_reason`].
    Dropped,
    /// `stats`: `first` messages were given up as stale, `second` because they were best effort.
    Perished,
    /// `stats`: `first` messages were given up because the peer was removed, `second` because of the stop.
    GivenUp,
    /// The process runs, and has not begun to start the server.
    Running,
    /// The peer and this server have contradicted each other about their streams, and begin anew.
    Reset,
}

/// An entry of a log.
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

/// Bytes of an entry.
pub const RECORD_BYTES: usize = 40;

impl Record {
    /// An entry that only says when.
    pub fn at(kind: Kind, time: u64) -> Record {
        Record { kind, stream: Stream::Normal, run: 0, peer: 0, time, first: 0, second: 0 }
    }

    /// An entry about a peer.
    pub fn about(kind: Kind, peer: Pid, time: u64) -> Record {
        Record { peer, ..Record::at(kind, time) }
    }

    /// The same with these numbers.
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

    /// The entry that these bytes are; `None` when they are none.
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

/// Stands in every entry, so that a log that lost its step is noticed.
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
