//! A small leader election, tested under partitions. With a rule that looks right, one of many seeds finds two leaders
//! of one term; with the right rule, a hundred seeds find none.
//!
//! ```text
//! cargo run -p cluster --example election             # looks for a seed that breaks the wrong rule, then checks the right one
//! cargo run -p cluster --example election -- 17       # replays a seed, and draws it to election-17.svg
//! ```
//!
//! The election is generic over [`Server`]: it runs unchanged on `cluster::start`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use cluster::mock::{Cluster, Conditions, Fault, History, Place, Sent, Time};
use cluster::{BROADCAST, Envelope, Pid, Server};
use serde::{Deserialize, Serialize};

/// Messages between the servers. Each belongs to a term, and a term has at most one leader.
#[derive(Debug, Serialize, Deserialize)]
enum Message {
    /// The sender asks for a vote.
    Candidate { term: u64 },
    /// The sender gives its vote to the recipient.
    Vote { term: u64 },
    /// The sender leads.
    Leader { term: u64 },
}

/// Rule by which a server gives its vote.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// Votes for the first candidate of each term.
    FirstOfATerm,
    /// Votes for a candidate whose term is not older than its own. This looks right as long as two candidates of one
    /// term do not reach one server.
    NotOlder,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Follower,
    Candidate,
    Leader,
}

/// State of one server in the election.
struct Member<S: Server> {
    server: S,
    rule: Rule,
    role: Role,
    term: u64,
    voted: Option<u64>,
    votes: usize,
    /// Time of the next candidacy, or of a leader's next heartbeat.
    due: Duration,
}

const HEARTBEAT: Duration = Duration::from_millis(50);
const PATIENCE: Duration = Duration::from_millis(150);

impl<S: Server> Member<S> {
    fn new(server: S, rule: Rule) -> Member<S> {
        let due = PATIENCE + Duration::from_millis(server.pid() * 20);
        Member { server, rule, role: Role::Follower, term: 0, voted: None, votes: 0, due }
    }

    /// Handles received messages and due timers. Returns the term that the server has just won, if any.
    fn turn(&mut self, now: Duration) -> Result<Option<u64>, Box<dyn Error>> {
        let mut won = None;
        while let Ok(envelope) = self.server.inbox().try_recv() {
            won = self.hear(envelope.pid, envelope.value()?, now)?.or(won);
        }
        if now >= self.due {
            if self.role != Role::Leader {
                self.term += 1;
                self.role = Role::Candidate;
                self.voted = Some(self.term);
                self.votes = 1;
                self.tell(BROADCAST, &Message::Candidate { term: self.term })?;
                self.be_patient(now);
            } else {
                self.tell(BROADCAST, &Message::Leader { term: self.term })?;
                self.due = now + HEARTBEAT;
            }
        }
        Ok(won)
    }

    fn hear(&mut self, from: Pid, message: Message, now: Duration) -> Result<Option<u64>, Box<dyn Error>> {
        match message {
            Message::Candidate { term } => {
                let free = match self.rule {
                    Rule::FirstOfATerm => self.voted.is_none_or(|voted| voted < term),
                    Rule::NotOlder => self.role == Role::Follower || term > self.term,
                };
                if free && term >= self.term {
                    self.term = term;
                    self.role = Role::Follower;
                    self.voted = Some(term);
                    self.tell(from, &Message::Vote { term })?;
                    self.be_patient(now);
                }
            }
            Message::Vote { term } if self.role == Role::Candidate && term == self.term => {
                self.votes += 1;
                if self.votes * 2 > self.server.peers().len() + 1 {
                    self.role = Role::Leader;
                    self.due = now;
                    return Ok(Some(term));
                }
            }
            Message::Leader { term } if term >= self.term => {
                self.term = term;
                self.role = Role::Follower;
                self.be_patient(now);
            }
            _ => {}
        }
        Ok(None)
    }

    fn tell(&mut self, to: Pid, message: &Message) -> Result<(), Box<dyn Error>> {
        Ok(self.server.outbox().send(Envelope::to(to).value(message)?)?)
    }

    /// Sets the next election timeout. The timeouts of the servers differ, so that one candidate comes first.
    fn be_patient(&mut self, now: Duration) {
        let step = (self.server.pid() * 37 + self.term * 101) % 150;
        self.due = now + PATIENCE + Duration::from_millis(step);
    }
}

/// Outcome of a run.
struct Outcome {
    /// Winners of each term.
    leaders: BTreeMap<u64, Vec<Pid>>,
    history: History,
}

impl Outcome {
    /// Returns a term with two leaders, if there is one.
    fn broken(&self) -> Option<(u64, &[Pid])> {
        self.leaders.iter().find(|(_, pids)| pids.len() > 1).map(|(term, pids)| (*term, &pids[..]))
    }
}

/// Runs five servers for ten seconds with changing partitions.
fn run(seed: u64, rule: Rule) -> Result<Outcome, Box<dyn Error>> {
    let cluster = Cluster::with_time(seed, Time::Virtual);
    let mut members: Vec<_> = cluster.add_servers(1..=5)?.into_iter().map(|server| Member::new(server, rule)).collect();
    let delay = Duration::from_millis(1)..=Duration::from_millis(80);
    cluster.set(Place::Everywhere, Conditions::new().delay(delay).drop(0.05))?;
    for second in 1..10 {
        let lonely = (seed + second * 3) % 5 + 1;
        let fault = match second % 3 {
            0 => Fault::Heal,
            1 => Fault::Isolate(lonely),
            _ => Fault::partition(&[&[lonely, lonely % 5 + 1]]),
        };
        cluster.at(Duration::from_secs(second), fault)?;
    }
    let mut leaders: BTreeMap<u64, Vec<Pid>> = BTreeMap::new();
    while cluster.now() < Duration::from_secs(10) {
        for member in &mut members {
            if let Some(term) = member.turn(cluster.now())? {
                leaders.entry(term).or_default().push(member.server.pid());
            }
        }
        cluster.run_for(Duration::from_millis(5));
    }
    Ok(Outcome { leaders, history: cluster.history() })
}

fn main() -> Result<(), Box<dyn Error>> {
    if let Some(seed) = std::env::args().nth(1) {
        let seed = seed.parse()?;
        let outcome = run(seed, Rule::NotOlder)?;
        println!("{}", outcome.history);
        let path = format!("election-{seed}.svg");
        let beginning = outcome.history.between(Duration::ZERO, Duration::from_millis(400));
        let label = |sent: &Sent| match postcard::from_bytes::<Message>(&sent.msg) {
            Ok(message) => format!("{message:?}"),
            Err(error) => error.to_string(),
        };
        std::fs::write(&path, beginning.to_svg_with(label))?;
        println!("winners of each term: {:?}; the beginning is drawn in {path}", outcome.leaders);
        return Ok(());
    }
    for seed in 0..1000 {
        let outcome = run(seed, Rule::NotOlder)?;
        if let Some((term, pids)) = outcome.broken() {
            println!("the wrong rule: with seed {seed}, term {term} has the leaders {pids:?}");
            break;
        }
    }
    let mut terms = 0;
    for seed in 0..100 {
        let outcome = run(seed, Rule::FirstOfATerm)?;
        assert!(outcome.broken().is_none(), "seed {seed}: {:?}", outcome.leaders);
        assert!(!outcome.leaders.is_empty(), "seed {seed}: nobody was ever elected");
        terms += outcome.leaders.len();
    }
    println!("the right rule: {terms} terms over 100 seeds, and never two leaders in one");
    Ok(())
}
