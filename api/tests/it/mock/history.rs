//! The history, as values, as text and as a picture.

use std::time::Duration;

use cluster::mock::{Conditions, DropReason, Entry, Fate, History, Place};
use cluster::{BROADCAST, Envelope, Lane, Server};

use super::cluster;

const MILLISECOND: Duration = Duration::from_millis(1);

/// A little story, in which one message meets each fate.
fn story() -> History {
    let (cluster, mut servers) = cluster(7, 3);
    cluster.set(Place::Everywhere, Conditions::new().delay(2 * MILLISECOND)).unwrap();
    servers[0].outbox().send(Envelope::to(BROADCAST).id(1).body("hello")).unwrap();
    cluster.run_for(5 * MILLISECOND);
    cluster.partition(&[&[1, 2], &[3]]).unwrap();
    servers[0].outbox().send(Envelope::to([2, 3]).id(2).urgent().body("vote <me>")).unwrap();
    cluster.run_for(5 * MILLISECOND);
    cluster.hold_while_partitioned(true);
    servers[2].outbox().send(Envelope::to(1).id(3).body("\x01 later")).unwrap();
    cluster.run_for(5 * MILLISECOND);
    cluster.crash(2).unwrap();
    servers[2].outbox().send(Envelope::to(2).id(4).body("anybody?")).unwrap();
    cluster.run_for(MILLISECOND);
    cluster.heal();
    servers[0].outbox().send(Envelope::to(3).id(5).body("last")).unwrap();
    cluster.history()
}

#[test]
fn it_shows_the_sender_recipient_content_time_and_outcome_of_each_envelope() {
    let history = story();
    let fates: Vec<(u64, u64, i64, Fate)> =
        history.messages().map(|sent| (sent.from, sent.to, sent.msg_id, sent.fate)).collect();
    let (cut, at) = (DropReason::Cut, 5 * MILLISECOND);
    let expected = [
        (1, 2, 1, Fate::Delivered { at: 2 * MILLISECOND }),
        (1, 3, 1, Fate::Delivered { at: 2 * MILLISECOND }),
        (1, 2, 2, Fate::Delivered { at: 7 * MILLISECOND }),
        (1, 3, 2, Fate::Dropped { at, reason: cut }),
        (3, 1, 3, Fate::UnderWay),
        (3, 2, 4, Fate::Held),
        (1, 3, 5, Fate::UnderWay),
    ];
    assert_eq!(fates, expected);
    let second = history.messages().nth(2).unwrap();
    assert_eq!((second.at, second.lane, &second.msg[..]), (at, Lane::Urgent, &b"vote <me>"[..]));
    assert_eq!(history.entries().iter().filter(|entry| matches!(entry, Entry::Started { .. })).count(), 3);
    assert_eq!(history.between(at, at + MILLISECOND).messages().count(), 2);
    assert_eq!(history.among(&[1, 2]).messages().count(), 2);
}

#[test]
fn it_reads_as_text() {
    let text = story().to_string();
    let expected = "\
seed 7
     0.000000  1 starts
     0.000000  2 starts
     0.000000  3 starts
     0.000000  -- everywhere: delay 2ms
     0.000000  1 → 2  #1 \"hello\"  delivered 0.002000
     0.000000  1 → 3  #1 \"hello\"  delivered 0.002000
     0.005000  -- partition {1, 2} | {3}
     0.005000  1 → 2  #2 \"vote <me>\" urgent  delivered 0.007000
     0.005000  1 → 3  #2 \"vote <me>\" urgent  dropped 0.005000: cut off
     0.010000  -- hold while partitioned
     0.010000  3 → 1  #3 \"\\x01 later\"  under way
     0.015000  -- crash 2
     0.015000  2 stops
     0.015000  3 → 2  #4 \"anybody?\"  held
     0.016000  -- heal
     0.016000  1 → 3  #5 \"last\"  under way
";
    assert_eq!(text, expected);
}

#[test]
fn it_is_a_picture() {
    let svg = story().to_svg();
    if let Ok(path) = std::env::var("DIAGRAM") {
        std::fs::write(path, &svg).unwrap();
    }
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
    assert!(svg.contains("vote &lt;me&gt;") && svg.contains("partition {1, 2} | {3}") && svg.contains("cut off"));
    assert_eq!(svg.matches("<svg").count(), 1);
    for end in ["</text>", "</svg>"] {
        assert_eq!(svg.matches(&end.replace("</", "<").replace('>', "")).count(), svg.matches(end).count());
    }
}

#[test]
fn long_messages_are_kept_in_part() {
    let (cluster, mut servers) = cluster(1, 2);
    servers[0].outbox().send(Envelope::to(2).id(1).body(vec![b'x'; 200_000])).unwrap();
    assert_eq!(servers[1].inbox().recv().unwrap().msg.len(), 200_000);
    let history = cluster.history();
    let sent = history.messages().next().unwrap();
    assert_eq!((sent.bytes, sent.msg.len()), (200_000, 64));
    assert!(sent.to_string().starts_with("1 → 2  #1 \"xxxxxxxxxxxxxxxxxxxxxxxx…\" (200000 bytes)"), "{sent}");
}

#[test]
fn only_so_much_is_kept() {
    let (cluster, mut servers) = cluster(1, 2);
    cluster.keep_history(10);
    for id in 0..100 {
        servers[0].outbox().send(Envelope::to(2).id(id).body("many")).unwrap();
    }
    let history = cluster.history();
    assert_eq!(history.messages().map(|sent| sent.msg_id).collect::<Vec<_>>(), (90..100).collect::<Vec<_>>());
    assert_eq!(history.forgotten(), 92);
    cluster.keep_history(0);
    assert_eq!(cluster.history().entries().len(), 0);
}
