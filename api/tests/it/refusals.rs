//! Servers that are not meant for each other say so.

use cluster::{Builder, Config, Envelope, Event, RefusalReason, Server};

use crate::support::{assert_alive, await_event, fixed_address, send, unique_name};

fn config(name: &str, members: &[(u64, &String)]) -> Config {
    Config::new(members.iter().map(|(pid, address)| (*pid, address.as_str()))).unwrap().with_cluster(name)
}

#[test]
fn another_cluster_refuses() {
    let (a, b) = (fixed_address(), fixed_address());
    let mut one = Builder::new(1, &config(&unique_name(), &[(1, &a), (2, &b)])).start().unwrap();
    let _two = Builder::new(2, &config(&unique_name(), &[(1, &a), (2, &b)])).start().unwrap();
    send(one.outbox(), Envelope::to(2).body("hello?"));
    let refused = Event::Refused { pid: 2, reason: RefusalReason::WrongCluster };
    await_event(one.events(), "refusal", |event| *event == refused);
}

#[test]
fn a_peer_that_is_not_in_the_configuration_is_refused() {
    let (a, b, c) = (fixed_address(), fixed_address(), fixed_address());
    let name = unique_name();
    let mut one = Builder::new(1, &config(&name, &[(1, &a), (2, &b)])).start().unwrap();
    let mut two = Builder::new(2, &config(&name, &[(2, &b), (3, &c)])).start().unwrap();
    let mut three = Builder::new(3, &config(&name, &[(2, &b), (3, &c)])).start().unwrap();
    send(one.outbox(), Envelope::to(2).body("hello?"));
    let refused = Event::Refused { pid: 2, reason: RefusalReason::UnknownPeer };
    await_event(one.events(), "refusal", |event| *event == refused);
    assert_alive(&mut two, &mut three);
}

#[test]
fn another_pid_at_the_address_refuses() {
    let (a, b, c) = (fixed_address(), fixed_address(), fixed_address());
    let name = unique_name();
    // 1 has the addresses of 2 and 3 exchanged.
    let mut one = Builder::new(1, &config(&name, &[(1, &a), (2, &c), (3, &b)])).start().unwrap();
    let right = config(&name, &[(1, &a), (2, &b), (3, &c)]);
    let mut two = Builder::new(2, &right).start().unwrap();
    let mut three = Builder::new(3, &right).start().unwrap();
    send(one.outbox(), Envelope::to(2).body("hello?"));
    let refused = Event::Refused { pid: 2, reason: RefusalReason::WrongPid };
    await_event(one.events(), "refusal", |event| *event == refused);
    // What waits arrives when the peer, who knows the right address, connects.
    send(two.outbox(), Envelope::to(1).body("here I am"));
    assert_eq!(crate::support::receive(two.inbox()).msg, "hello?");
    assert_alive(&mut two, &mut three);
}
