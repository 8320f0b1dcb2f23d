use super::session::{Session, entry};
use crate::checker::violation::Promise;
use crate::clock::MILLISECOND;
use crate::journal::End;
use crate::log::Kind;
use crate::plan;

/// Returns a session of two servers that exchange messages for 30 s without a pause, and learn of each other at 1 s.
fn steady() -> Session {
    let mut session = Session::empty();
    session.journal.quiet_at = 30_000 * MILLISECOND;
    session.lives(1, 1, 0, 31_000, End::Stopped);
    session.lives(2, 1, 0, 31_000, End::Stopped);
    for (from, to) in [(1, 2), (2, 1)] {
        session.events(to, 1, vec![entry(Kind::Up, from, 1_000)]);
        for second in 1..30 {
            session.sends(from, 1, to, second, second, 1_000 * second);
            session.gets(to, 1, (from, 1), second, second, 1_000 * second + 1);
        }
    }
    session
}

/// Returns a session in which server 2 is killed at 10 s and started again at 10.5 s, and gets its first message at
/// `first`.
fn restarted(first: u64) -> Session {
    let mut session = Session::empty();
    session.journal.quiet_at = 13_000 * MILLISECOND;
    session.lives(1, 1, 0, 14_000, End::Stopped);
    session.lives(2, 1, 0, 10_010, End::Killed);
    session.lives(2, 2, 10_500, 14_000, End::Stopped);
    session.fault(plan::Kind::Kill, 2, None, 10_000, 10_501);
    session.events(1, 1, vec![entry(Kind::Up, 2, 1_000), entry(Kind::Down, 2, 10_020)]);
    for (from, to) in [(1, 2), (2, 1)] {
        for second in 1..10 {
            session.sends(from, 1, to, second, second, 1_000 * second);
            session.gets(to, 1, (from, 1), second, second, 1_000 * second + 1);
        }
    }
    session.sends(1, 1, 2, 10, 20, 10_900);
    session.gets(2, 2, (1, 1), 10, 20, first);
    session.sends(2, 2, 1, 1, 10, 10_800);
    session.gets(1, 1, (2, 2), 1, 10, 10_900);
    session
}

#[test]
fn a_stop_is_noticed_in_time_or_found_out() {
    for (down, broken) in
        [(Some(11_400), vec![]), (Some(11_600), vec![Promise::DownInTime]), (None, vec![Promise::DownInTime])]
    {
        let mut session = steady();
        session.fault(plan::Kind::Stop, 2, None, 10_000, 20_000);
        session.events(1, 1, down.map(|time| entry(Kind::Down, 2, time)).into_iter().collect());
        assert_eq!(session.broken(), broken, "{down:?}");
    }
}

#[test]
fn one_way_is_noticed_by_the_one_that_hears_nothing() {
    let mut session = steady();
    session.fault(plan::Kind::OneWay, 1, Some(2), 10_000, 15_000);
    session.events(2, 1, vec![entry(Kind::Down, 1, 11_300)]);
    assert_eq!(session.broken(), []);
    session.records.retain(|(_, _, record)| record.kind != Kind::Down);
    assert_eq!(session.broken(), [Promise::DownInTime]);
}

#[test]
fn a_short_fault_need_not_be_noticed() {
    let mut session = steady();
    session.fault(plan::Kind::LinkDown, 2, None, 10_000, 11_000);
    assert_eq!(session.broken(), []);
}

/// On a busy machine, ending a fault once took three seconds, although the fault had long lost its effect.
#[test]
fn a_short_fault_whose_end_took_long_need_not_be_noticed() {
    let mut session = steady();
    session.fault(plan::Kind::OneWay, 1, Some(2), 10_000, 15_000);
    session.journal.faults[0].ends = 11_000 * MILLISECOND;
    assert_eq!(session.broken(), []);
}

#[test]
fn what_has_two_possible_reasons_is_not_judged() {
    let mut session = steady();
    session.fault(plan::Kind::Stop, 2, None, 10_000, 20_000);
    session.fault(plan::Kind::Reset, 1, Some(2), 10_500, 10_600);
    assert_eq!(session.broken(), []);
}

#[test]
fn a_down_without_a_fault_is_false() {
    for (kind, broken) in [
        (None, vec![Promise::NoFalseDown]),
        (Some(plan::Kind::Slow), vec![Promise::NoFalseDown]),
        (Some(plan::Kind::Memory), vec![Promise::NoFalseDown]),
        (Some(plan::Kind::Reset), vec![]),
    ] {
        let mut session = steady();
        session.events(1, 1, vec![entry(Kind::Down, 2, 12_000)]);
        if let Some(kind) = kind {
            session.fault(kind, 2, None, 11_000, 12_000);
        }
        assert_eq!(session.broken(), broken, "{kind:?}");
    }
}

#[test]
fn a_stall_of_the_machine_excuses() {
    let mut session = steady();
    session.events(1, 1, vec![entry(Kind::Down, 2, 12_000)]);
    session.journal.stalls.push((11_000 * MILLISECOND, 11_900 * MILLISECOND));
    assert_eq!(session.broken(), []);
}

#[test]
fn traffic_resumes_in_time_or_late() {
    assert_eq!(restarted(11_499).broken(), []);
    assert_eq!(restarted(11_501).broken(), [Promise::ResumeInTime]);
}

#[test]
fn traffic_that_stands_still_is_noticed() {
    let mut session = steady();
    let silent = |time: u64| (12_000 * MILLISECOND..18_000 * MILLISECOND).contains(&time);
    session.records.retain(|(pid, _, record)| {
        *pid != 2 && !(record.kind == Kind::Accepted && silent(record.time))
            || !matches!(record.kind, Kind::Received | Kind::Accepted)
            || *pid == 2 && !silent(record.time)
    });
    assert_eq!(session.broken(), [Promise::Traffic]);
    session.fault(plan::Kind::Slow, 2, None, 12_000, 18_000);
    assert_eq!(session.broken(), []);
}

#[test]
fn a_fault_that_takes_its_time_is_noticed_from_when_it_is_there() {
    for (down, broken) in [(12_400, vec![]), (12_600, vec![Promise::DownInTime])] {
        let mut session = steady();
        session.fault(plan::Kind::Stop, 2, None, 10_000, 20_000);
        session.journal.faults[0].in_force = 11_000 * MILLISECOND;
        session.events(1, 1, vec![entry(Kind::Down, 2, down)]);
        assert_eq!(session.broken(), broken, "{down}");
    }
}

#[test]
fn a_restart_begins_when_the_program_runs() {
    for (first, broken) in [(12_499, vec![]), (12_501, vec![Promise::ResumeInTime])] {
        let mut session = restarted(first);
        session.journal.quiet_at = 14_000 * MILLISECOND;
        session.journal.runs.iter_mut().for_each(|run| run.ended = run.ended.max(15_000 * MILLISECOND));
        session.journal.runs[1].ended = 10_010 * MILLISECOND;
        session.events(2, 2, vec![entry(Kind::Running, 0, 11_499)]);
        assert_eq!(session.broken(), broken, "{first}");
    }
}
