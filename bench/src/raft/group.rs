//! A group of three nodes, as the conductor sees it: its processes, their leader, and what they are told to do.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::contenders::Contender;
use super::protocol::{Addresses, Command, Compared, Contacts, Follows, Id, Job, Load, Measured, Reply, Settings};
use super::recorder::Figures;
use crate::child::{Child, Heard};
use crate::measure::now_ns;
use crate::usage::Usage;

/// A running group. Dropping it kills its processes.
pub struct Group {
    processes: Vec<Process>,
    replies: Receiver<(usize, Heard<Reply>)>,
    /// Leader that each node follows.
    follows: BTreeMap<Id, Follows>,
    /// Times that a node has followed another leader, or a later term, after the group had led for the first time.
    changes: u64,
}

struct Process {
    child: Child,
    ids: Vec<Id>,
}

/// Result of a measurement.
#[derive(Debug, Clone)]
pub struct Measurement {
    /// Figures of the clients, if any wrote.
    pub figures: Option<Figures>,
    /// Resources used by all processes.
    pub usage: Usage,
    /// Contacts of the leader with its followers.
    pub contacts: Vec<Contacts>,
    /// Changes of leader or term that nodes have noticed meanwhile.
    pub changes: u64,
}

impl Group {
    /// Starts the processes of a group, and waits until node 1 leads the voters.
    pub fn start(contender: &Contender, settings: &Settings) -> Result<Self, String> {
        let (give, replies) = channel();
        let places: &[&[Id]] = if contender.is_one_process { &[&[1, 2, 3]] } else { &[&[1], &[2], &[3]] };
        let mut processes = Vec::new();
        for (index, ids) in places.iter().enumerate() {
            let (library, contender) = (contender.library, contender.name.to_owned());
            let job = Job { library, contender, ids: ids.to_vec(), settings: *settings };
            let child = Child::member(MEMBER, &job, index, give.clone());
            let child = child.map_err(|error| format!("cannot start process {index}: {error}"))?;
            processes.push(Process { child, ids: ids.to_vec() });
        }
        let mut group = Self { processes, replies, follows: BTreeMap::new(), changes: 0 };
        group.gather_addresses()?;
        group.tell(0, &Command::Lead);
        let deadline = Instant::now() + PATIENCE;
        while (1..=settings.voters).any(|id| group.follows.get(&id).is_none_or(|follows| follows.leader != 1)) {
            group.next("follow node 1", deadline)?;
        }
        group.changes = 0;
        Ok(group)
    }

    fn gather_addresses(&mut self) -> Result<(), String> {
        let parts = self.gather("listen", |reply| match reply {
            Reply::Listening(addresses) => Some(addresses),
            _ => None,
        })?;
        let addresses: Addresses = parts.into_iter().flatten().collect();
        self.tell_all(&Command::Start(addresses));
        self.gather("start", |reply| (reply == Reply::Started).then_some(()))?;
        Ok(())
    }

    /// Starts clients, and waits for the first answer.
    pub fn write(&mut self, load: Load) -> Result<(), String> {
        self.tell(0, &Command::Write(load));
        self.of_leader("write", |reply| (reply == Reply::Writing).then_some(()))
    }

    /// Measures for `duration`.
    pub fn measure(&mut self, duration: Duration) -> Result<Measurement, String> {
        self.measure_while(|group| group.watch(duration))
    }

    /// Measures while `work` is done.
    pub fn measure_while(&mut self, work: impl FnOnce(&mut Self) -> Result<(), String>) -> Result<Measurement, String> {
        let changes = self.changes;
        self.tell_all(&Command::Begin);
        self.gather("begin", |reply| (reply == Reply::Begun).then_some(()))?;
        work(self)?;
        self.tell_all(&Command::End);
        let measured = self.gather("end", |reply| match reply {
            Reply::Measured(measured) => Some(measured),
            _ => None,
        })?;
        let usage = measured.iter().map(|measured| measured.usage).fold(Usage::default(), |sum, usage| sum + usage);
        let [Measured { figures, contacts, .. }, ..] = &measured[..] else { return Err("no process".to_owned()) };
        let changes = self.changes - changes;
        Ok(Measurement { figures: *figures, usage, contacts: contacts.clone(), changes })
    }

    /// Waits for `duration`; a process that fails ends the wait with an error.
    pub fn watch(&mut self, duration: Duration) -> Result<(), String> {
        let deadline = Instant::now() + duration;
        while self.hear(deadline)?.is_some() {}
        Ok(())
    }

    /// Ends the clients, and checks that all nodes then hold the same: each write that was answered, once and in order.
    pub fn rest(&mut self) -> Result<(), String> {
        self.tell(0, &Command::Rest);
        let writes = self.of_leader("rest", |reply| match reply {
            Reply::Rested(writes) => Some(writes),
            _ => None,
        })?;
        self.tell_all(&Command::Compare(writes));
        let contents = self.gather("compare", |reply| match reply {
            Reply::Contents(contents) => Some(contents),
            _ => None,
        })?;
        check(writes, &contents.concat())
    }

    /// Makes a snapshot of node 1, and leaves nothing else of its log.
    pub fn compact(&mut self) -> Result<(), String> {
        self.tell(0, &Command::Compact);
        self.of_leader("compact its log", |reply| (reply == Reply::Compacted).then_some(()))
    }

    /// Adds a node to the group, and waits until it has caught up.
    pub fn join(&mut self, id: Id) -> Result<(), String> {
        self.tell(0, &Command::Join(id));
        self.of_leader("add a node", |reply| (reply == Reply::Joined).then_some(()))
    }

    /// Kills the process of the leader. Returns the time until another node knew that it is led by a survivor.
    pub fn kill_leader(&mut self) -> Result<Duration, String> {
        let leader = self.follows.get(&1).map_or(1, |follows| follows.leader);
        let holds = |process: &Process| process.ids.contains(&leader);
        let index = self.processes.iter().position(holds).ok_or("the leader is in no process")?;
        let killed_ns = now_ns();
        self.processes[index].child.kill().map_err(|error| format!("cannot kill the leader: {error}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((from, _)) if from == index => {}
                Ok((_, Heard::Reply(Reply::Follows(follows)))) if follows.leader != leader => {
                    return Ok(Duration::from_nanos(follows.at_ns.saturating_sub(killed_ns)));
                }
                Ok((from, Heard::End)) => return Err(format!("process {from} has ended too")),
                Ok((from, Heard::Reply(Reply::Failed(reason)))) => return Err(format!("process {from}: {reason}")),
                Ok(_) => {}
                Err(_) => return Err("no new leader in time".to_owned()),
            }
        }
    }

    /// Stops the processes, and waits for their ends.
    pub fn stop(mut self) {
        self.tell_all(&Command::Stop);
        let deadline = Instant::now() + STOPPING;
        for process in &mut self.processes {
            // One that takes longer is killed.
            process.child.exits_by(deadline);
        }
    }

    fn tell(&mut self, index: usize, command: &Command) {
        self.processes[index].child.tell(command);
    }

    fn tell_all(&mut self, command: &Command) {
        self.processes.iter_mut().for_each(|process| process.child.tell(command));
    }

    /// Waits until `take` has accepted a reply of every process. Returns the values in the order of the processes.
    fn gather<T>(&mut self, what: &str, take: impl Fn(Reply) -> Option<T>) -> Result<Vec<T>, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut taken: Vec<Option<T>> = self.processes.iter().map(|_| None).collect();
        while taken.iter().any(Option::is_none) {
            let (index, reply) = self.next(what, deadline)?;
            if let Some(value) = take(reply) {
                taken[index] = Some(value);
            }
        }
        Ok(taken.into_iter().flatten().collect())
    }

    /// Waits until `take` has accepted a reply of the first process.
    fn of_leader<T>(&mut self, what: &str, take: impl Fn(Reply) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let (0, reply) = self.next(what, deadline)?
                && let Some(value) = take(reply)
            {
                return Ok(value);
            }
        }
    }

    fn next(&mut self, what: &str, deadline: Instant) -> Result<(usize, Reply), String> {
        self.hear(deadline)?.ok_or_else(|| format!("the group did not {what} in {} s", PATIENCE.as_secs()))
    }

    /// Returns the next reply, or `None` if none comes by `deadline`.
    fn hear(&mut self, deadline: Instant) -> Result<Option<(usize, Reply)>, String> {
        let (index, reply) = match self.replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((index, Heard::Reply(reply))) => (index, reply),
            Ok((index, Heard::Unreadable(reason))) => return Err(format!("process {index}: {reason}")),
            Ok((index, Heard::End)) => return Err(format!("process {index} has ended")),
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => return Err("all processes have ended".to_owned()),
        };
        match &reply {
            Reply::Failed(reason) => return Err(format!("process {index}: {reason}")),
            Reply::Follows(follows) => {
                let before = self.follows.insert(follows.node, *follows);
                let is_new = before.is_some_and(|old| (old.leader, old.term) != (follows.leader, follows.term));
                // A node that has just joined follows its first leader.
                self.changes += u64::from(is_new);
            }
            _ => {}
        }
        Ok(Some((index, reply)))
    }
}

fn check(writes: u64, contents: &[Compared]) -> Result<(), String> {
    let Some(first) = contents.first() else { return Err("no node has told its content".to_owned()) };
    for own in contents {
        let node = own.node;
        if own.summary.writes != writes {
            let applied = own.summary.writes;
            return Err(format!("node {node} has applied {applied} writes, and {writes} were answered"));
        }
        if own.summary.disordered > 0 {
            return Err(format!("node {node} has applied {} writes out of order", own.summary.disordered));
        }
        if (own.summary, own.digest) != (first.summary, first.digest) {
            return Err(format!("node {node} holds something else than node {}", first.node));
        }
    }
    Ok(())
}

/// Subcommand of this program that is a process of a group.
pub const MEMBER: &str = "raft-member";
/// Time for anything that nodes are told to do: the longest is to receive a large snapshot.
const PATIENCE: Duration = Duration::from_secs(60);
/// Time for the processes to end.
const STOPPING: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::content::Summary;

    fn compared(node: Id, writes: u64, disordered: u64, digest: u64) -> Compared {
        Compared { node, summary: Summary { writes, disordered, order: 1 }, digest }
    }

    #[test]
    fn nodes_that_hold_the_same_pass() {
        assert_eq!(check(5, &[compared(1, 5, 0, 9), compared(2, 5, 0, 9)]), Ok(()));
    }

    #[test]
    fn nodes_that_differ_are_named() {
        let error = |contents: &[Compared]| check(5, contents).unwrap_err();
        assert!(error(&[compared(1, 5, 0, 9), compared(2, 4, 0, 9)]).contains("node 2 has applied 4"));
        assert!(error(&[compared(1, 5, 0, 9), compared(3, 5, 0, 8)]).contains("node 3 holds something else"));
        assert!(error(&[compared(1, 5, 1, 9)]).contains("out of order"));
        assert!(error(&[]).contains("no node"));
    }
}
