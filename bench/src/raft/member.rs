//! A process of a group: follows the conductor's commands with the nodes that it holds.

use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use super::protocol::{Addresses, Command, Compared, Contacts, Id, Job, Load, Measured, Reply};
use super::recorder::Recorder;
use crate::child::{self, reply};
use crate::usage::Meter;

/// Nodes of one library over one network. They tell of their leaders by [`Reply::Follows`].
pub trait Nodes: Sized {
    /// Opens the listeners of the nodes. Returns their addresses.
    fn open(job: &Job) -> Result<(Self, Addresses), String>;

    /// Starts the nodes, which connect to their peers.
    fn start(&mut self, addresses: Addresses) -> Result<(), String>;

    /// Makes node 1 the leader of the voters, without waiting for it.
    fn lead(&mut self) -> Result<(), String>;

    /// Starts clients of node 1. Returns when the first write was answered.
    fn write(&mut self, load: Load, recorder: Arc<Recorder>) -> Result<(), String>;

    /// Waits until the last answer to each client has come. The recorder has told the clients to end.
    fn rest(&mut self) -> Result<(), String>;

    /// Makes a snapshot of node 1, and waits until nothing else is left of its log.
    fn compact(&mut self) -> Result<(), String>;

    /// Adds a node to the group, and waits until it has caught up.
    fn join(&mut self, id: Id) -> Result<(), String>;

    /// Returns contacts of node 1 with its followers since the last call.
    fn contacts(&mut self) -> Vec<Contacts>;

    /// Waits at most `limit` until each node has applied as many writes, and returns what each holds then.
    fn compare(&mut self, writes: u64, limit: Duration) -> Vec<Compared>;
}

/// Runs the nodes of a job until the command `Stop`.
pub fn serve<N: Nodes>(job: &Job) {
    let commands = child::commands();
    if let Err(reason) = follow::<N>(job, &commands) {
        reply(&Reply::Failed(reason));
        // The process stays until `Stop`, so that its end is no second failure.
        while commands.recv().is_ok_and(|command| command != Command::Stop) {}
    }
}

fn follow<N: Nodes>(job: &Job, commands: &Receiver<Command>) -> Result<(), String> {
    let (mut nodes, addresses) = N::open(job)?;
    reply(&Reply::Listening(addresses));
    let (mut recorder, mut meter) = (None::<Arc<Recorder>>, None);
    loop {
        match commands.recv().map_err(|_| "standard input has ended")? {
            Command::Start(addresses) => {
                nodes.start(addresses)?;
                reply(&Reply::Started);
            }
            Command::Lead => nodes.lead()?,
            Command::Write(load) => {
                let shared = recorder.insert(Arc::default());
                nodes.write(load, shared.clone())?;
                reply(&Reply::Writing);
            }
            Command::Begin => {
                nodes.contacts();
                meter = Some(Meter::begin(false));
                if let Some(recorder) = &recorder {
                    recorder.begin();
                }
                reply(&Reply::Begun);
            }
            Command::End => {
                let figures = recorder.as_ref().and_then(|recorder| recorder.end());
                let usage = meter.take().ok_or("an end without a beginning")?.end();
                reply(&Reply::Measured(Measured { usage, figures, contacts: nodes.contacts() }));
            }
            Command::Rest => {
                let recorder = recorder.take().ok_or("no client writes")?;
                recorder.rest();
                nodes.rest()?;
                reply(&Reply::Rested(recorder.writes()));
            }
            Command::Compact => {
                nodes.compact()?;
                reply(&Reply::Compacted);
            }
            Command::Join(id) => {
                nodes.join(id)?;
                reply(&Reply::Joined);
            }
            Command::Compare(writes) => reply(&Reply::Contents(nodes.compare(writes, PATIENCE))),
            Command::Stop => return Ok(()),
        }
    }
}

/// Time for followers to apply what the leader has.
const PATIENCE: Duration = Duration::from_secs(20);
