//! That a seed is a history, and that histories are as they should be.

use super::simulate;

#[test]
fn two_hundred_seeds_keep_every_promise_and_give_the_same_history_twice() {
    for seed in 0..200 {
        let once = simulate(seed, None);
        assert_eq!(once.failure, None, "seed {seed}");
        assert_eq!(simulate(seed, None), once, "seed {seed}: the same twice");
    }
}

#[test]
fn who_reads_along_changes_nothing() {
    let mut lines = 0;
    let read = simulate(7, Some(&mut |_| lines += 1));
    assert_eq!(simulate(7, None), read);
    assert!(lines > 100);
}
