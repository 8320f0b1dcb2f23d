//! What the users of the older libraries' mock rely on.

use std::time::Duration;

use cluster::mock::{Cluster, Conditions, Place, Time};
use cluster::{BROADCAST, Envelope, Server};

use super::{broadcast, cluster, take_all};
use crate::support::eventually;

#[test]
fn a_partition_delivers_exactly_within_its_groups() {
    let (cluster, mut servers) = cluster(1, 5);
    cluster.partition(&[&[1, 2, 3], &[4, 5]]).unwrap();
    broadcast(&mut servers, 100);
    cluster.run_until_idle();
    assert_eq!(take_all(&mut servers), 100 * (3 * 2 + 2));
    assert_eq!(cluster.totals().cut, 100 * (5 * 4 - (3 * 2 + 2)));
    cluster.heal();
    broadcast(&mut servers, 100);
    cluster.run_until_idle();
    assert_eq!(take_all(&mut servers), 100 * 5 * 4, "what was dropped stays dropped");
}

#[test]
fn a_partition_delivers_exactly_within_its_groups_in_real_time() {
    let cluster = Cluster::new(1);
    let mut servers = cluster.add_servers(1..=5).unwrap();
    for (partitioned, expected) in [(true, 100 * (3 * 2 + 2)), (false, 100 * 5 * 4)] {
        if partitioned {
            cluster.partition(&[&[1, 2, 3], &[4, 5]]).unwrap();
        } else {
            cluster.heal();
        }
        broadcast(&mut servers, 100);
        let mut taken = 0;
        eventually("delivery", || {
            taken += take_all(&mut servers);
            let totals = cluster.totals();
            (taken >= expected && totals.sent == totals.delivered + totals.dropped()).then_some(())
        });
        assert_eq!(taken, expected);
    }
}

#[test]
fn chance_drops_about_its_share() {
    let (cluster, mut servers) = cluster(2, 5);
    cluster.set(Place::Everywhere, Conditions::new().drop(0.3)).unwrap();
    let mut taken = 0;
    for _ in 0..100 {
        for _ in 0..100 {
            servers[0].outbox().send(Envelope::to(BROADCAST).body("all")).unwrap();
        }
        cluster.run_until_idle();
        taken += take_all(&mut servers);
    }
    let share = 1.0 - taken as f64 / 40_000.0;
    assert!((0.29..0.31).contains(&share), "{share}");
    assert_eq!(cluster.totals().lost, 40_000 - taken as u64);
}

#[test]
fn delays_reorder_and_lose_nothing() {
    for time in [Time::Virtual, Time::Real] {
        let cluster = Cluster::with_time(3, time);
        let mut servers = cluster.add_servers([1, 2]).unwrap();
        let delay = Duration::ZERO..=Duration::from_millis(100);
        cluster.set(Place::Everywhere, Conditions::new().delay(delay)).unwrap();
        for id in 0..1000 {
            servers[0].outbox().send(Envelope::to(2).id(id).body("late")).unwrap();
        }
        cluster.run_until_idle();
        let mut ids: Vec<i64> = (0..1000).map(|_| servers[1].inbox().try_recv().unwrap().msg_id).collect();
        assert!(!ids.is_sorted());
        ids.sort_unstable();
        assert_eq!(ids, (0..1000).collect::<Vec<_>>());
        assert!(servers[1].inbox().try_recv().is_err());
    }
}
