//! What to do when there is nothing to do.

use std::time::Duration;

/// What a loop, or an application at its inbox, does when there is nothing to do: first it spins, then it yields its core
/// to others again and again, then it parks. A parked thread uses no CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleStrategy {
    /// How long to spin.
    pub spin: Duration,
    /// How long to yield after that.
    pub yielding: Duration,
    /// Whether to park after that; otherwise it goes on yielding, or spinning if it does not yield.
    pub park: bool,
}

impl IdleStrategy {
    /// Parks at once.
    pub const PARK: IdleStrategy = IdleStrategy { spin: Duration::ZERO, yielding: Duration::ZERO, park: true };
    /// Spins for ever: the lowest latency, for a core of one's own.
    pub const SPIN: IdleStrategy = IdleStrategy { spin: Duration::MAX, yielding: Duration::ZERO, park: false };

    /// What to do after `idle` without work.
    #[inline]
    pub fn after(&self, idle: Duration) -> Step {
        if idle < self.spin {
            Step::Spin
        } else if idle < self.spin.saturating_add(self.yielding) {
            Step::Yield
        } else if self.park {
            Step::Park
        } else if self.yielding.is_zero() {
            Step::Spin
        } else {
            Step::Yield
        }
    }

    /// Whether the first step is to park, so that no clock needs to be read.
    #[inline]
    pub fn parks_at_once(&self) -> bool {
        self.park && self.spin.is_zero() && self.yielding.is_zero()
    }
}

impl Default for IdleStrategy {
    fn default() -> IdleStrategy {
        IdleStrategy::PARK
    }
}

/// What to do next when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Look again at once.
    Spin,
    /// Let another thread run, then look again.
    Yield,
    /// Sleep until there is something.
    Park,
}
