//! The progress of a queue that is read a part at a time.

use crate::time::Time;

/// Time until which everything that had arrived at a queue was read.
///
/// A queue that is found empty was read until now. A queue that is never empty was read until an earlier moment, once
/// as many entries were taken as the queue held at that moment: entries leave it in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    until: Time,
    /// A moment, and the number of entries that are still to be taken of those that the queue held then.
    next: Option<(Time, usize)>,
}

impl Watermark {
    /// Records that `taken` entries were taken now and that `left` entries are left. Returns the time until which
    /// everything was read.
    #[inline]
    pub(crate) fn read(&mut self, taken: usize, left: usize, now: Time) -> Time {
        if left == 0 {
            (self.until, self.next) = (now, None);
            return now;
        }
        self.next = match self.next {
            Some((until, rest)) if rest <= taken => {
                self.until = until;
                None
            }
            Some((until, rest)) => Some((until, rest - taken)),
            None => None,
        };
        self.next.get_or_insert((now, left));
        self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_never_is_empty_is_read_until_some_time_all_the_same() {
        let at = Time::from_nanos;
        let mut read = Watermark::default();
        assert_eq!(read.read(3, 0, at(10)), at(10), "it is empty");
        assert_eq!(read.read(256, 600, at(20)), at(10));
        assert_eq!(read.read(256, 700, at(30)), at(10));
        assert_eq!(read.read(256, 800, at(40)), at(10), "88 of the 600 are left");
        assert_eq!(read.read(256, 900, at(50)), at(20), "those of 20 are read, and those of 50 are next");
        for (time, until) in [(60, 20), (70, 20), (80, 20), (90, 50)] {
            assert_eq!(read.read(256, 900, at(time)), at(until), "{time}");
        }
        assert_eq!(read.read(10, 0, at(100)), at(100));
    }
}
