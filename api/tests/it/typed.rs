//! Messages that are values.

use cluster::{Envelope, Server};
use serde::{Deserialize, Serialize};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::support::{PATIENCE, pair, receive, send};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Vote {
    Request { term: u64, candidate: String },
    Granted(Option<Vec<u32>>),
}

#[derive(Serialize, Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Entry {
    term: u64,
    index: u64,
    count: u32,
    flags: u32,
}

const ENTRY: Entry = Entry { term: 7, index: u64::MAX, count: 3, flags: 0 };

#[test]
fn a_serde_value_arrives() {
    let [mut one, mut two] = pair();
    let votes =
        [Vote::Request { term: 9, candidate: "one".into() }, Vote::Granted(Some(vec![1, 2])), Vote::Granted(None)];
    for vote in &votes {
        send(one.outbox(), Envelope::to(2).value(vote).unwrap());
    }
    for vote in &votes {
        assert_eq!(receive(two.inbox()).value::<Vote>().unwrap(), *vote);
    }
    send(one.outbox(), Envelope::to(2).value(&Borrowed { name: "in place" }).unwrap());
    let count = two.inbox().drain_wait(Some(PATIENCE), |envelope| {
        assert_eq!(envelope.value::<Borrowed<'_>>().unwrap().name, "in place");
    });
    assert_eq!(count, 1);
}

#[test]
fn a_zerocopy_value_is_read_in_place() {
    let [mut one, mut two] = pair();
    // Whatever lengths stand before it, and whether it is small or not.
    for before in [0, 1, 5, 8, 13] {
        send(one.outbox(), Envelope::to(2).body(vec![0; before]));
        send(one.outbox(), Envelope::to(2).bytes_of(&ENTRY));
        assert_eq!(receive(two.inbox()).msg.len(), before);
        let envelope = receive(two.inbox());
        assert_eq!(envelope.view::<Entry>().unwrap(), &ENTRY);
    }
    for before in [0, 1, 5, 8, 13] {
        send(one.outbox(), Envelope::to(2).body(vec![0; before]));
        send(one.outbox(), Envelope::to(2).bytes_of(&ENTRY));
        let mut left = 2;
        while left > 0 {
            left -= two.inbox().drain_wait(Some(PATIENCE), |envelope| {
                if envelope.msg.len() == size_of::<Entry>() {
                    assert_eq!(envelope.view::<Entry>().unwrap(), &ENTRY);
                }
            });
        }
    }
}

#[test]
fn what_is_not_such_a_value_names_the_sender() {
    let [mut one, mut two] = pair();
    send(one.outbox(), Envelope::to(2).body(vec![250, 250, 250]));
    let envelope = receive(two.inbox());
    for error in [envelope.value::<Vote>().unwrap_err(), envelope.view::<Entry>().unwrap_err()] {
        assert!(error.to_string().contains("from 1"), "{error}");
    }
    assert!(envelope.view::<Entry>().unwrap_err().to_string().contains("24 bytes, there are 3"));
    send(one.outbox(), Envelope::to(2).body(vec![250, 250, 250]));
    two.inbox().drain_wait(Some(PATIENCE), |envelope| {
        assert!(envelope.value::<Vote>().unwrap_err().to_string().contains("from 1"));
        assert!(envelope.view::<Entry>().unwrap_err().to_string().contains("from 1"));
    });
}
