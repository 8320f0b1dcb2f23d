//! Tests of what a slow reader is told, and of the bound on unread events.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::time::Time;

fn at(seconds: u64) -> Time {
    Time::default() + Duration::from_secs(seconds)
}

fn up(pid: Pid, run: u8) -> Event {
    Event::Up { pid, incarnation: [run; 16] }
}

fn down(pid: Pid) -> Event {
    Event::Down { pid, reason: DownReason::Silent }
}

fn read_all(queue: &EventQueue) -> Vec<Event> {
    std::iter::from_fn(|| queue.pop()).collect()
}

fn dropped(pid: Pid, count: u64, reason: DropReason) -> Event {
    Event::Dropped { pid, count, reason }
}

#[test]
fn drops_of_one_peer_and_reason_are_one_event_until_it_is_read() {
    let queue = EventQueue::new([1, 2], at(0));
    let mut unreported = [UnreportedDrops::default(), UnreportedDrops::default()];
    for count in 1..=1000 {
        queue.dropped(&mut unreported[0], 1, count, DropReason::Expired);
        queue.dropped(&mut unreported[1], 2, 1, DropReason::Expired);
        queue.dropped(&mut unreported[0], 1, 2, DropReason::BestEffort);
    }
    assert_eq!(queue.sizes().0, 3);
    let told = [dropped(1, 500_500, DropReason::Expired), dropped(2, 1000, DropReason::Expired)];
    assert_eq!(read_all(&queue), [&told[..], &[dropped(1, 2000, DropReason::BestEffort)]].concat());
    queue.dropped(&mut unreported[0], 1, 5, DropReason::Expired);
    // Drops after another event are reported after it.
    unreported[0].begin_anew();
    queue.push(down(1), at(1));
    queue.dropped(&mut unreported[0], 1, 6, DropReason::Expired);
    let five_and_six = [5, 6].map(|count| dropped(1, count, DropReason::Expired));
    assert_eq!(read_all(&queue), [five_and_six[0].clone(), down(1), five_and_six[1].clone()]);
    assert_eq!(queue.missed(), 0);
}

#[test]
fn counting_beside_a_reader_loses_nothing() {
    let queue = EventQueue::new([1], at(0));
    let reader = {
        let queue = queue.clone();
        std::thread::spawn(move || {
            let mut sum = 0;
            while sum < 100_000 {
                match queue.pop() {
                    Some(Event::Dropped { count, .. }) => {
                        assert!(count > 0);
                        sum += count;
                    }
                    None => std::thread::yield_now(),
                    other => panic!("{other:?}"),
                }
            }
            sum
        })
    };
    let mut unreported = UnreportedDrops::default();
    for _ in 0..100_000 {
        queue.dropped(&mut unreported, 1, 1, DropReason::Expired);
    }
    assert_eq!(reader.join().unwrap(), 100_000);
    assert_eq!(queue.pop(), None);
}

#[test]
fn a_reader_that_fell_behind_is_told_the_newest_state_of_each_peer() {
    let queue = EventQueue::new(1..=4, at(0));
    let mut unreported = UnreportedDrops::default();
    queue.push(up(1, 1), at(1));
    queue.push(up(2, 1), at(1));
    queue.push(Event::Refused { pid: 3, reason: RefusalReason::Version }, at(1));
    queue.push(Event::DialFailed { error: "few".to_owned() }, at(1));
    queue.push(down(2), at(1));
    queue.dropped(&mut unreported, 2, 7, DropReason::Expired);
    unreported.begin_anew();
    for second in 2..600 {
        queue.push(up(4, 1), at(second));
        queue.push(down(4), at(second));
    }
    queue.dropped(&mut unreported, 2, 8, DropReason::Expired);
    let told = read_all(&queue);
    let Event::Missed { count } = told[0] else { panic!("{:?}", told[0]) };
    // Missed: the first `Up` of peer 2, and all events of peer 4 older than the newest 1,024, except one.
    assert_eq!((count, queue.missed()), (count, 1 + 2 * 598 + 1 - 1024 - 1));
    let expected = [
        Event::DialFailed { error: "few".to_owned() },
        up(1, 1),
        down(2),
        dropped(2, 7, DropReason::Expired),
        Event::Refused { pid: 3, reason: RefusalReason::Version },
    ];
    assert_eq!(told[1..6], expected);
    assert!(matches!(told[6], Event::Up { pid: 4, .. } | Event::Down { pid: 4, .. }), "{:?}", told[6]);
    assert_eq!(told[told.len() - 2..], [down(4), dropped(2, 8, DropReason::Expired)]);
    assert_eq!(told.len(), 1 + 6 + 1024);
    // `Up` and `Down` alternate to the end, as if no event had been missed.
    assert!(told[6..told.len() - 1].windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(queue.pop(), None);
    queue.push(up(2, 2), at(700));
    assert_eq!(read_all(&queue), [up(2, 2)], "it is told once");
}

/// A newer state replaces the refusal that came before it.
#[test]
fn an_old_refusal_is_not_told_behind_a_newer_state() {
    let queue = EventQueue::new([1, 2], at(0));
    queue.push(Event::Refused { pid: 1, reason: RefusalReason::UnknownPeer }, at(0));
    queue.push(up(1, 1), at(1));
    for _ in 0..512 {
        queue.push(up(2, 1), at(1));
        queue.push(down(2), at(1));
    }
    assert_eq!(read_all(&queue)[..2], [Event::Missed { count: 1 }, up(1, 1)]);
}

#[test]
fn a_refusal_is_repeated_when_it_was_read() {
    let queue = EventQueue::new([1], at(0));
    let refused = |reason| Event::Refused { pid: 1, reason };
    for reason in
        [RefusalReason::UnknownPeer, RefusalReason::UnknownPeer, RefusalReason::Version, RefusalReason::Version]
    {
        queue.push(refused(reason), at(1));
    }
    assert_eq!(read_all(&queue), [refused(RefusalReason::UnknownPeer), refused(RefusalReason::Version)]);
    queue.push(refused(RefusalReason::Version), at(1));
    queue.push(up(1, 1), at(1));
    queue.push(down(1), at(1));
    queue.push(refused(RefusalReason::Version), at(1));
    assert_eq!(read_all(&queue).len(), 4);
}

#[test]
fn peers_that_come_and_go_and_a_reader_that_never_reads_take_no_memory() {
    let queue = EventQueue::new([1], at(0));
    queue.push(up(1, 1), at(0));
    for pid in 2..20_000 {
        queue.push(Event::Added { pid }, at(pid));
        queue.push(up(pid, 1), at(pid));
        queue.dropped(&mut UnreportedDrops::default(), pid, 1, DropReason::PeerRemoved);
        queue.push(Event::Removed { pid }, at(pid));
        let (entries, newest, peers) = queue.sizes();
        assert!(entries <= 1024 && newest <= 2 && peers <= 2, "{entries}, {newest}, {peers}");
    }
    let told = read_all(&queue);
    assert_eq!((told[1].clone(), told.len()), (up(1, 1), 2 + 1024));
}

#[test]
fn the_state_of_a_peer_is_what_its_last_event_said() {
    let queue = EventQueue::new([1], at(0));
    let state = |seconds| queue.peer_state(1, at(seconds));
    let is = |link, seconds| Some(PeerState { link, elapsed: Duration::from_secs(seconds) });
    assert_eq!(state(3), is(LinkState::Idle, 3));
    queue.connects(1, at(4));
    queue.connects(1, at(5));
    assert_eq!(state(6), is(LinkState::Connecting, 2));
    queue.push(up(1, 7), at(7));
    assert_eq!(state(9), is(LinkState::Up { incarnation: [7; 16] }, 2));
    queue.push(down(1), at(10));
    queue.push(Event::Refused { pid: 1, reason: RefusalReason::Stopping }, at(11));
    queue.connects(1, at(11));
    assert_eq!(state(12), is(LinkState::Down { reason: DownReason::Silent }, 2));
    assert_eq!(queue.peer_state(2, at(12)), None);
    queue.push(Event::Removed { pid: 1 }, at(13));
    assert_eq!(state(13), None);
    queue.push(Event::Added { pid: 1 }, at(14));
    assert_eq!(state(14), is(LinkState::Idle, 0));
}

#[test]
fn panics_of_one_kind_are_one_event_until_it_is_read() {
    let queue = EventQueue::new([1], at(0));
    let panicked = |callback, count, text: &str| Event::CallbackPanicked { callback, count, message: text.to_owned() };
    for (callback, text) in [(Callback::Waker, "first"), (Callback::BodyDrop, "body"), (Callback::Waker, "second")] {
        queue.panicked(callback, text.to_owned());
    }
    assert_eq!(read_all(&queue), [panicked(Callback::Waker, 2, "first"), panicked(Callback::BodyDrop, 1, "body")]);
    // The event is kept and keeps counting, however many events come in between.
    queue.panicked(Callback::Waker, "third".to_owned());
    for _ in 0..1024 {
        queue.push(up(1, 1), at(1));
        queue.push(down(1), at(1));
    }
    queue.panicked(Callback::Waker, "fourth".to_owned());
    let told = read_all(&queue);
    assert!(matches!(told[0], Event::Missed { .. }), "{:?}", told[0]);
    assert_eq!(told[1], panicked(Callback::Waker, 2, "third"));
    assert!(told[2..].iter().all(|event| !matches!(event, Event::CallbackPanicked { .. })));
}

#[test]
fn a_panic_of_the_waker_of_events_is_an_event_too() {
    struct Panicking;
    impl std::task::Wake for Panicking {
        fn wake(self: Arc<Self>) {
            std::panic::resume_unwind(Box::new("a waker"));
        }
    }
    let queue = EventQueue::new([1], at(0));
    queue.waker().register(&Arc::new(Panicking).into());
    queue.push(up(1, 1), at(1));
    let panicked = Event::CallbackPanicked { callback: Callback::Waker, count: 1, message: "a waker".to_owned() };
    assert_eq!(read_all(&queue), [up(1, 1), panicked]);
}

/// A waiting reader checks only the flag.
#[test]
fn an_event_wakes_the_waiting_reader() {
    struct Woken(std::sync::atomic::AtomicBool);
    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.store(true, std::sync::atomic::Ordering::SeqCst);
        }
    }
    let queue = EventQueue::new([1], at(0));
    assert_eq!(queue.pop(), None);
    let woken = Arc::new(Woken(false.into()));
    queue.waker().register(&woken.clone().into());
    queue.dropped(&mut UnreportedDrops::default(), 1, 1, DropReason::Expired);
    assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(queue.pop(), Some(dropped(1, 1, DropReason::Expired)));
}
