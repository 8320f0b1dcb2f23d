//! The bound on one kind of work in a turn of a loop.

/// Work of one kind that a turn of a loop may still do: 256 operations, or 1 MiB.
///
/// Both operations and bytes count, so that neither many short operations nor a few long ones delay all other work.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    operations: usize,
}

/// Operations in one turn.
const OPERATIONS: usize = 256;
/// Bytes that count as one more operation.
const OPERATION_BYTES: usize = 4096;

impl Default for Budget {
    fn default() -> Budget {
        Budget { operations: OPERATIONS }
    }
}

impl Budget {
    /// Returns an eighth of a budget, for work that makes more work while there is too much already.
    pub fn reduced() -> Budget {
        Budget { operations: OPERATIONS / 8 }
    }

    /// Returns whether the turn may do another operation.
    #[inline]
    pub fn is_left(self) -> bool {
        self.operations > 0
    }

    /// Counts one operation that moves `bytes` bytes.
    #[inline]
    pub fn spend(&mut self, bytes: usize) {
        let operations = 1 + bytes / OPERATION_BYTES;
        self.operations = self.operations.saturating_sub(operations);
        #[cfg(any(test, feature = "simulation"))]
        SPENT.set(SPENT.get() + operations as u64);
    }
}

#[cfg(any(test, feature = "simulation"))]
thread_local! {
    static SPENT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// Returns the number of operations of all kinds on this thread since the last call: the cost of a turn in the
/// simulator.
#[cfg(any(test, feature = "simulation"))]
pub(crate) fn take_spent() -> u64 {
    SPENT.take()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_short_operations_and_a_few_long_ones_use_it_up() {
        for (bytes, most) in [(0, 256), (64, 256), (4096, 128), (260 * 1024, 4)] {
            let mut budget = Budget::default();
            let mut operations = 0;
            while budget.is_left() {
                budget.spend(bytes);
                operations += 1;
            }
            assert_eq!(operations, most, "{bytes} bytes each");
        }
    }
}
