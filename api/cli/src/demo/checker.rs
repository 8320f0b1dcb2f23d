//! Check of the messages from one server: all of them, once, in order.

use std::collections::BTreeSet;

/// Counts of correct and faulty messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Messages that arrived, each counted once.
    pub delivered: u64,
    /// Repeated arrivals of messages.
    pub duplicates: u64,
    /// Messages that arrived after a later one.
    pub out_of_order: u64,
    /// Arrivals that do not match any sent message.
    pub corrupt: u64,
}

impl Findings {
    pub fn add(&mut self, other: &Findings) {
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.out_of_order += other.out_of_order;
        self.corrupt += other.corrupt;
    }
}

/// Checker of the message numbers 0, 1, 2 … of one sender.
#[derive(Debug)]
pub struct Checker {
    count: u64,
    /// Next expected number. All lower numbers have arrived, except for those in `skipped`.
    next: u64,
    skipped: BTreeSet<u64>,
    findings: Findings,
}

impl Checker {
    /// Makes a checker for a sender of `count` messages.
    pub fn new(count: u64) -> Checker {
        Checker { count, next: 0, skipped: BTreeSet::new(), findings: Findings::default() }
    }

    /// Records the arrival of message `number`. Returns whether it is the first.
    #[inline]
    pub fn arrived(&mut self, number: u64) -> bool {
        if number == self.next && number < self.count {
            self.next += 1;
            self.findings.delivered += 1;
            return true;
        }
        self.unexpected(number)
    }

    /// Records an arrival that does not match any sent message.
    pub fn corrupt(&mut self) {
        self.findings.corrupt += 1;
    }

    pub fn findings(&self) -> &Findings {
        &self.findings
    }

    #[cold]
    fn unexpected(&mut self, number: u64) -> bool {
        if number >= self.count {
            self.findings.corrupt += 1;
            return false;
        }
        if number > self.next {
            self.skipped.extend(self.next..number);
            self.next = number + 1;
        } else if self.skipped.remove(&number) {
            self.findings.out_of_order += 1;
        } else {
            self.findings.duplicates += 1;
            return false;
        }
        self.findings.delivered += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Checker, Findings};

    fn findings(count: u64, numbers: &[u64]) -> Findings {
        let mut checker = Checker::new(count);
        for number in numbers {
            checker.arrived(*number);
        }
        *checker.findings()
    }

    #[test]
    fn everything_in_order() {
        assert_eq!(findings(4, &[0, 1, 2, 3]), Findings { delivered: 4, ..Findings::default() });
    }

    #[test]
    fn what_arrives_twice_is_counted_once() {
        assert_eq!(findings(2, &[0, 0, 1, 1, 0]), Findings { delivered: 2, duplicates: 3, ..Findings::default() });
    }

    #[test]
    fn what_arrives_late_is_delivered_out_of_order() {
        assert_eq!(findings(5, &[0, 3, 1, 2, 4]), Findings { delivered: 5, out_of_order: 2, ..Findings::default() });
        assert_eq!(findings(5, &[4, 0]), Findings { delivered: 2, out_of_order: 1, ..Findings::default() });
    }

    #[test]
    fn what_is_missing_is_not_delivered() {
        assert_eq!(findings(5, &[0, 1, 4]), Findings { delivered: 3, ..Findings::default() });
    }

    #[test]
    fn a_number_that_was_never_sent_is_corrupt() {
        assert_eq!(findings(2, &[0, 2, 1, u64::MAX]), Findings { delivered: 2, corrupt: 2, ..Findings::default() });
    }
}
