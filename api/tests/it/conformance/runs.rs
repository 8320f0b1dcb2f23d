//! Runs of a server: which of them has sent an envelope, and envelopes that are for one of them alone.

use cluster::{BROADCAST, DropReason, Envelope, Event, Recipients, SendError, Server};

use super::{Factory, running, same};
use crate::support::{PATIENCE, await_event, receive, send};

pub(super) fn an_envelope_names_the_run_of_its_sender<F: Factory>() {
    let (mut factory, [mut one, mut two]) = running::<F, 2>(same);
    let mut runs = Vec::new();
    for round in 0..3 {
        for length in [5, 60, 20_000, 200_000] {
            send(two.outbox(), Envelope::to(1).id(round).body(vec![7; length]));
        }
        let mut found = vec![receive(one.inbox()).incarnation()];
        let seen = await_event(one.events(), "link", |event| matches!(event, Event::Up { pid: 2, .. }));
        let Some(Event::Up { incarnation, .. }) = seen.last() else { panic!("{seen:?}") };
        while found.len() < 4 {
            one.inbox().drain_wait(Some(PATIENCE), |envelope| {
                assert_eq!(envelope.to_owned().incarnation(), envelope.incarnation());
                found.push(envelope.incarnation());
            });
        }
        assert_eq!(found, [*incarnation; 4], "round {round}");
        runs.push(*incarnation);
        two.stop().unwrap();
        await_event(one.events(), "end", |event| matches!(event, Event::Down { pid: 2, .. }));
        two = factory.start(2).unwrap();
    }
    runs.sort_unstable();
    runs.dedup();
    assert_eq!(runs.len(), 3);
}

/// Regression: what a run had asked was answered to the next one, which took it for the answer to its own question with
/// the same message id.
pub(super) fn an_answer_is_for_the_run_that_asked<F: Factory>() {
    let (mut factory, [mut one, mut two]) = running::<F, 2>(same);
    send(two.outbox(), Envelope::to(1).id(7).body("question"));
    let question = receive(one.inbox());
    let answer = || Envelope::to(2).id(7).body("answer").only_incarnation(question.incarnation());
    send(one.outbox(), answer());
    let received = receive(two.inbox());
    assert_eq!((received.msg_id, &received.msg[..]), (7, &b"answer"[..]));
    two.stop().unwrap();
    await_event(one.events(), "end", |event| matches!(event, Event::Down { pid: 2, .. }));

    // Nobody knows yet whether it comes back as the same run.
    send(one.outbox(), answer());
    send(one.outbox(), Envelope::to([2]).id(8).body(vec![7; 100_000]).only_incarnation(question.incarnation()));
    send(one.outbox(), Envelope::to(2).id(9).body("for whoever is there"));
    let mut two = factory.start(2).unwrap();
    assert_eq!(receive(two.inbox()).msg_id, 9, "the answers are not for this run");
    let mut dropped = 0;
    await_event(one.events(), "drops", |event| {
        if let Event::Dropped { pid: 2, count, reason: DropReason::OtherIncarnation } = event {
            dropped += count;
        }
        dropped == 2
    });
    one.outbox().flush(PATIENCE).unwrap();
    let row = one.stats()[0];
    assert_eq!((row.messages_out, row.dropped_other_incarnation, row.dropped()), (4, 2, 2), "{row:?}");

    // Now it is known.
    match one.outbox().send(answer()).unwrap_err() {
        SendError::Restarted { envelope, pid: 2 } => {
            assert_eq!((envelope.recipients(), envelope.message()), (&Recipients::One(2), &b"answer"[..]));
        }
        error => panic!("{error}"),
    }
    send(two.outbox(), Envelope::to(1).id(7).body("question of the next run"));
    let question = receive(one.inbox());
    send(one.outbox(), Envelope::to(2).id(7).body("its answer").only_incarnation(question.incarnation()));
    assert_eq!(receive(two.inbox()).msg, "its answer");
    assert_eq!(one.stats()[0].dropped(), 2);
}

pub(super) fn one_incarnation_is_one_recipient<F: Factory>() {
    let (_factory, [mut one, mut two, _three]) = running::<F, 3>(same);
    for recipients in [Recipients::One(BROADCAST), vec![2, 3].into(), Vec::new().into()] {
        let error = one.outbox().send(Envelope::to(recipients).body("?").only_incarnation([1; 16])).unwrap_err();
        assert!(matches!(error, SendError::NotOneRecipient { .. }), "{error:?}");
        assert_eq!(error.into_envelope().message(), b"?");
    }
    send(one.outbox(), Envelope::to(2).id(4).body("the first that comes"));
    assert_eq!(receive(two.inbox()).msg_id, 4);
}

pub(super) fn message_ids_of_two_runs_differ<F: Factory>() {
    let (mut factory, [mut one, mut two]) = running::<F, 2>(same);
    let mut first = Vec::new();
    for _ in 0..3 {
        send(two.outbox(), Envelope::to(1).body("one"));
        send(two.outbox(), Envelope::to(1).body("two"));
        let ids = [(); 2].map(|()| receive(one.inbox()).msg_id);
        assert!((1..1 << 52).contains(&ids[0]) && ids[1] == ids[0] + 1, "{ids:?}");
        first.push(ids[0]);
        two.stop().unwrap();
        await_event(one.events(), "end", |event| matches!(event, Event::Down { pid: 2, .. }));
        two = factory.start(2).unwrap();
    }
    assert!(first.iter().enumerate().all(|(index, id)| !first[..index].contains(id)), "{first:?}");
}
