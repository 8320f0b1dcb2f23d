//! The limit of open files. In a process of its own, whose limit is changed.

use std::net::TcpListener;
use std::sync::Mutex;

use cluster::{Config, Neighbours, Pid};

/// The limit is the process's.
static ALONE: Mutex<()> = Mutex::new(());

/// The soft and the hard limit of open files.
fn limit() -> (u64, u64) {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes one rlimit.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
    (limit.rlim_cur, limit.rlim_max)
}

fn set_soft_limit(soft: u64) {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: limit().1 };
    // SAFETY: the kernel reads one rlimit.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
}

/// Two servers that reach each other over TCP, and leave the limit as it is.
fn config() -> Config {
    let free = |_| TcpListener::bind("127.0.0.1:0").unwrap();
    let members = [1, 2].map(free);
    let members = [1, 2].into_iter().zip(members.each_ref().map(|each| each.local_addr().unwrap().to_string()));
    let members: Vec<(Pid, String)> = members.collect();
    Config::new(members)
        .unwrap()
        .with_cluster(format!("descriptors-{}", std::process::id()))
        .with_neighbours(Neighbours::Tcp)
        .with_raise_descriptor_limit(false)
}

#[test]
fn the_limit_is_raised_unless_the_configuration_says_otherwise() {
    let _alone = ALONE.lock().unwrap();
    let (before, hard) = limit();
    assert!(hard > 300, "nothing to raise");
    set_soft_limit(300);
    let config = config();
    let one = cluster::start(1, &config).unwrap();
    assert_eq!(limit().0, 300);
    let two = cluster::start(2, &config.with_raise_descriptor_limit(true)).unwrap();
    assert_eq!(limit().0, hard);
    drop((one, two));
    set_soft_limit(before);
}
