//! Messages that one server receives: a stream from each of several senders.

use super::{Arrivals, Checker, Corrupt, Traffic, number};

/// Consumer of messages in the order in which they arrive, from any sender.
pub trait Sink {
    /// Takes the next message of a sender.
    fn take_from(&mut self, sender: usize, payload: &[u8]) -> Result<(), Corrupt>;

    /// Returns whether all messages have arrived.
    fn is_complete(&self) -> bool;
}

impl Sink for Checker {
    #[inline]
    fn take_from(&mut self, _: usize, payload: &[u8]) -> Result<(), Corrupt> {
        self.take(payload)
    }

    #[inline]
    fn is_complete(&self) -> bool {
        self.remaining() == 0
    }
}

/// Streams of all senders, each verified by itself.
#[derive(Debug)]
pub struct Receipts {
    streams: Vec<Option<Checker>>,
    /// Number of streams that are not complete.
    missing: usize,
}

impl Receipts {
    /// Returns the receipts that `server` expects.
    pub fn of(traffic: &Traffic, server: usize) -> Self {
        let senders = traffic.senders(server);
        let stream = |sender| senders.contains(&sender).then(|| Checker::new(traffic.load));
        Self { streams: (0..traffic.servers()).map(stream).collect(), missing: senders.len() }
    }

    /// Returns the stream, if there is only one. [`Sink::is_complete`] of the receipts does not notice what that stream
    /// takes.
    pub fn only(&mut self) -> Option<&mut Checker> {
        let mut streams = self.streams.iter_mut().flatten();
        streams.next().filter(|_| streams.next().is_none())
    }

    /// Returns all streams with their senders, for one thread each.
    pub fn streams(&mut self) -> impl Iterator<Item = (usize, &mut Checker)> {
        let streams = self.streams.iter_mut().enumerate();
        streams.filter_map(|(sender, stream)| Some((sender, stream.as_mut()?)))
    }

    /// Returns the arrivals of each stream, or an error with the number of lost messages.
    pub fn arrivals(&self) -> Result<Vec<Arrivals>, String> {
        let lost: u64 = self.streams.iter().flatten().map(Checker::remaining).sum();
        if lost > 0 {
            return Err(format!("{lost} messages lost"));
        }
        Ok(self.streams.iter().flatten().filter_map(Checker::arrivals).collect())
    }
}

impl Sink for Receipts {
    #[inline]
    fn take_from(&mut self, sender: usize, payload: &[u8]) -> Result<(), Corrupt> {
        let Some(Some(stream)) = self.streams.get_mut(sender) else { return Err(Corrupt::Stranger { sender }) };
        stream.take(payload)?;
        self.missing -= usize::from(stream.remaining() == 0);
        Ok(())
    }

    #[inline]
    fn is_complete(&self) -> bool {
        self.missing == 0
    }
}

/// Check of a slow consumer: messages may be missing, but those that arrive are in order and arrive once.
#[derive(Debug, Default)]
pub struct Rising {
    last: Option<u64>,
}

impl Rising {
    /// Takes the next message.
    pub fn take(&mut self, payload: &[u8]) -> Result<(), Corrupt> {
        let found = number(payload).ok_or(Corrupt::Length { expected: 8, found: payload.len() })?;
        if self.last.is_some_and(|last| found <= last) {
            return Err(Corrupt::Sequence { expected: self.last.map_or(0, |last| last + 1), found });
        }
        self.last = Some(found);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::{Load, Pattern};

    fn payload(sequence: u64) -> [u8; 8] {
        sequence.to_le_bytes()
    }

    #[test]
    fn each_sender_has_a_stream_of_its_own() {
        let traffic = Traffic { pattern: Pattern::AllToAll { servers: 3 }, ..Traffic::one_way(Load::new(8, 2)) };
        let mut receipts = Receipts::of(&traffic, 1);
        assert!(receipts.only().is_none());
        assert_eq!(receipts.take_from(1, &payload(0)), Err(Corrupt::Stranger { sender: 1 }));
        for (sender, sequence) in [(0, 0), (2, 0), (2, 1)] {
            receipts.take_from(sender, &payload(sequence)).unwrap();
            assert!(!receipts.is_complete());
        }
        assert_eq!(receipts.arrivals().unwrap_err(), "1 messages lost");
        receipts.take_from(0, &payload(1)).unwrap();
        assert!(receipts.is_complete());
        assert_eq!(receipts.arrivals().unwrap().iter().map(|arrived| arrived.messages).sum::<u64>(), 4);
        assert!(receipts.take_from(0, &payload(2)).is_err(), "a message too many");
    }

    #[test]
    fn gaps_are_let_pass_and_repetition_is_not() {
        let mut rising = Rising::default();
        assert!([3, 4, 9].iter().all(|&sequence| rising.take(&payload(sequence)).is_ok()));
        assert_eq!(rising.take(&payload(9)), Err(Corrupt::Sequence { expected: 10, found: 9 }));
    }
}
