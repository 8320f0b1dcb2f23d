//! Servers where io_uring is forbidden: they run on epoll, and say so.

use std::thread;

use cluster::{Driver, Engine, Envelope, Event, Idle, Server, StartError, Threading};

use crate::support::{Cluster, is_io_uring_forbidden, receive, refusing, send};

const DEDICATED: Threading = Threading::Dedicated { shards: 1 };

/// Forbids io_uring to this thread and to those that it starts.
fn forbid_io_uring() {
    seccompiler::apply_filter(&refusing([libc::SYS_io_uring_setup], libc::EPERM)).unwrap();
}

#[test]
fn a_server_falls_back_to_epoll_and_says_why() {
    thread::spawn(|| {
        forbid_io_uring();
        let mut cluster = Cluster::new([1, 2]).with(|config| config.with_threading(DEDICATED));
        let [mut one, mut two] = [1, 2].map(|pid| cluster.start_with_all_events(pid));
        for server in [&mut one, &mut two] {
            assert_eq!(server.engine().driver(), Driver::Epoll);
            let fallback = server.engine().fallback().unwrap().to_string();
            assert!(fallback.contains("io_uring_setup") && fallback.contains("allow"), "{fallback}");
            assert_eq!(server.events().try_next(), Some(Event::EpollFallback { reason: fallback }));
        }
        send(one.outbox(), Envelope::to(2).body("hello"));
        assert_eq!(receive(two.inbox()).msg, "hello");
    })
    .join()
    .unwrap();
}

#[test]
fn a_configured_driver_is_used_or_refused() {
    thread::spawn(|| {
        forbid_io_uring();
        let mut cluster = Cluster::new([1]).with(|config| config.with_driver(Driver::Epoll).with_threading(DEDICATED));
        let mut chosen = cluster.start_with_all_events(1);
        assert!(chosen.engine().fallback().is_none());
        assert_eq!(chosen.events().try_next(), None, "a choice is no fallback");
        let only = Cluster::fixed([2]).with(|config| config.with_driver(Driver::IoUring).with_threading(DEDICATED));
        let error = cluster::start(2, &only.config).unwrap_err();
        assert!(matches!(&error, StartError::Engine(_)) && error.to_string().contains("seccomp"), "{error}");
    })
    .join()
    .unwrap();
}

/// Servers that ask for different drivers cannot share an engine.
#[test]
fn each_driver_has_a_shared_engine_of_its_own() {
    let share = |driver| Engine::start(Threading::Shared, Idle::default(), driver).unwrap();
    let epoll = share(Driver::Epoll);
    assert_eq!((epoll.driver(), share(Driver::Epoll).driver()), (Driver::Epoll, Driver::Epoll));
    if !is_io_uring_forbidden() {
        assert_eq!(share(Driver::IoUring).driver(), Driver::IoUring);
    }
}
