//! Idle strategies: spinning, yielding and parking of threads without work.

use std::cell::Cell;
use std::thread;
use std::time::{Duration, Instant};

/// Idle strategy of a loop, or of an application that waits at its inbox.
///
/// The thread first spins (busy polling), then repeatedly yields its core to other threads, then parks. A parked thread
/// uses no CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleStrategy {
    /// Time to spin.
    pub spin: Duration,
    /// Time to yield after spinning.
    pub yielding: Duration,
    /// Set if the thread parks after that. Otherwise it continues to yield, or to spin if `yielding` is zero.
    pub park: bool,
}

impl IdleStrategy {
    /// Parks at once.
    pub const PARK: IdleStrategy = IdleStrategy { spin: Duration::ZERO, yielding: Duration::ZERO, park: true };
    /// Spins without end (busy polling): the lowest latency, for a thread with a core of its own.
    pub const SPIN: IdleStrategy = IdleStrategy { spin: Duration::MAX, yielding: Duration::ZERO, park: false };

    /// Returns the next step after `idle` time without work.
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

    /// Returns whether the first step is to park, so that no clock needs to be read.
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

/// Shortest yield after which another thread is assumed to hold the core.
const LONG_YIELD: Duration = Duration::from_millis(1);
/// Largest part of a long yield that the work after it may take, as a divisor: the work counts as little if it takes at
/// most an eighth of the yield.
const LITTLE: u32 = 8;
/// Time for which a thread parks instead of yielding: at first, and at most, after parking was right several times in a
/// row.
const FIRST_PARKING: Duration = Duration::from_millis(100);
const LONGEST_PARKING: Duration = Duration::from_secs(10);

/// Knowledge of a thread about the core that it runs on.
///
/// A thread that yields to one that never rests (for example, a sender that spins until its next send time) waits until
/// the time slice of that thread is over: some milliseconds. A thread that sleeps instead is woken, and mostly runs
/// sooner. But where all threads always have work, yields are as long, and a sleep and a wake-up for every few messages
/// are slower. So a thread parks, for a while, when it had little to do after a long yield.
#[derive(Clone, Copy, Debug)]
struct Core {
    /// Duration and end of the last yield, if it was long and the work that followed is not over.
    yielded: Option<(Duration, Instant)>,
    /// Time until which parking is better than yielding.
    crowded_until: Option<Instant>,
    parking: Duration,
}

impl Core {
    const UNKNOWN: Core = Core { yielded: None, crowded_until: None, parking: FIRST_PARKING };

    fn is_crowded(&self, now: Instant) -> bool {
        self.crowded_until.is_some_and(|until| now < until)
    }

    fn yielded(&mut self, began: Instant, now: Instant) {
        let took = now - began;
        self.yielded = (took >= LONG_YIELD).then_some((took, now));
    }

    /// Records that all work is done.
    fn rests(&mut self, now: Instant) {
        let Some((took, ended)) = self.yielded.take() else { return };
        if (now - ended) * LITTLE > took {
            return;
        }
        let again = self.crowded_until.is_some_and(|until| now < until + self.parking);
        self.parking = if again { (2 * self.parking).min(LONGEST_PARKING) } else { FIRST_PARKING };
        self.crowded_until = Some(now + self.parking);
    }
}

thread_local! {
    static CORE: Cell<Core> = const { Cell::new(Core::UNKNOWN) };
}

fn of_this_core<T>(learn: impl FnOnce(&mut Core) -> T) -> T {
    let mut core = CORE.get();
    let learned = learn(&mut core);
    CORE.set(core);
    learned
}

/// Backoff of a thread that finds no work: it spins, then yields, then parks, as its [`IdleStrategy`] says.
#[derive(Debug)]
pub struct Backoff {
    strategy: IdleStrategy,
    /// Time since which there has been no work.
    since: Option<Instant>,
    /// Time of the last [`step`](Backoff::step) that read the clock.
    looked: Option<Instant>,
}

impl Backoff {
    /// Makes the backoff of a thread that has just found work.
    #[inline]
    pub fn new(strategy: IdleStrategy) -> Backoff {
        Backoff { strategy, since: None, looked: None }
    }

    /// Returns the next step. For [`Step::Park`], the caller sleeps until there is work.
    #[inline]
    pub fn step(&mut self) -> Step {
        if self.strategy.parks_at_once() {
            return Step::Park;
        }
        let Some(since) = self.since else { return Step::Spin };
        let now = Instant::now();
        self.looked = Some(now);
        match self.strategy.after(now - since) {
            Step::Yield if self.strategy.park && CORE.get().is_crowded(now) => Step::Park,
            step => step,
        }
    }

    /// Records that there was work.
    #[inline]
    pub fn worked(&mut self) {
        self.since = None;
    }

    /// Records that there was no work, and spins or yields if `step` says so. `step` is the last result of
    /// [`step`](Backoff::step).
    #[inline]
    pub fn rest(&mut self, step: Step) {
        match step {
            Step::Spin => std::hint::spin_loop(),
            Step::Yield => {
                thread::yield_now();
                let now = Instant::now();
                let began = self.looked.unwrap_or(now);
                of_this_core(|core| core.yielded(began, now));
                return;
            }
            Step::Park => {}
        }
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            of_this_core(|core| core.rests(now));
        }
    }
}

/// Next step of a thread without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Spins: checks for work again at once.
    Spin,
    /// Yields: lets another thread run, then checks for work again.
    Yield,
    /// Parks: sleeps until there is work.
    Park,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Simulates a yield of `yielded` milliseconds and then `work`. Returns the time for which the thread parks from
    /// then on.
    fn parking(core: &mut Core, now: &mut Instant, yielded: u32, work: Duration) -> Option<Duration> {
        let began = *now;
        *now += yielded * MS;
        core.yielded(began, *now);
        *now += work;
        core.rests(*now);
        core.is_crowded(*now).then(|| core.crowded_until.expect("it is crowded") - *now)
    }

    #[test]
    fn a_thread_parks_when_it_had_little_to_do_after_a_long_yield() {
        let (mut core, mut now) = (Core::UNKNOWN, Instant::now());
        assert_eq!(parking(&mut core, &mut now, 0, MS / 100), None, "short yields are what yields are for");
        assert_eq!(parking(&mut core, &mut now, 4, MS), None, "much to do");
        core.rests(now + MS);
        assert!(!core.is_crowded(now), "a yield is judged once");
        assert_eq!(parking(&mut core, &mut now, 4, MS / 4), Some(100 * MS));
    }

    #[test]
    fn it_parks_for_longer_while_that_is_right_again_and_again() {
        let (mut core, mut now) = (Core::UNKNOWN, Instant::now());
        for expected in [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            assert_eq!(parking(&mut core, &mut now, 4, MS / 4), Some(expected * MS));
            now += expected * MS;
            assert!(!core.is_crowded(now));
        }
        now += LONGEST_PARKING;
        assert_eq!(parking(&mut core, &mut now, 4, MS / 4), Some(100 * MS), "that was long ago");
    }

    #[test]
    fn a_loop_that_may_not_park_goes_on_yielding() {
        let strategy = IdleStrategy { spin: Duration::ZERO, yielding: Duration::MAX, park: true };
        for (park, expected) in [(true, Step::Park), (false, Step::Yield)] {
            let mut backoff = Backoff::new(IdleStrategy { park, ..strategy });
            assert_eq!(backoff.step(), Step::Spin, "it has not looked yet");
            backoff.rest(Step::Spin);
            assert_eq!(backoff.step(), Step::Yield);
            of_this_core(|core| core.crowded_until = Some(Instant::now() + LONGEST_PARKING));
            assert_eq!(backoff.step(), expected);
            of_this_core(|core| *core = Core::UNKNOWN);
        }
    }
}
