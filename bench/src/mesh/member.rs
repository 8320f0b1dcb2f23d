//! A child process: follows the conductor's commands with its share of the mesh.

use std::error::Error;
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

use super::Transport;
use super::endpoints::Endpoints;
use super::protocol::{Command, Exact, Job, REPORT_INTERVAL, Reply};
use super::raw::Connections;
use super::servers::Servers;
use crate::child::{self, reply};
use crate::measure::now_ns;

/// Runs a child process, whose `job` is JSON. Returns after the command `Stop`; the process exits when its standard
/// input ends.
pub fn serve(job: &str) -> Result<(), Box<dyn Error>> {
    let job: Job = serde_json::from_str(job)?;
    let commands = child::commands();
    let result = match job.transport {
        Transport::Raw => follow::<Connections>(&job, &commands),
        Transport::Memory | Transport::Tcp => follow::<Servers>(&job, &commands),
    };
    if let Err(reason) = result {
        reply(&Reply::Failed(reason));
        // The process stays until `Stop`: the conductor may still read its footprint.
        while commands.recv().is_ok_and(|command| command != Command::Stop) {}
    }
    Ok(())
}

fn follow<E: Endpoints>(job: &Job, commands: &Receiver<Command>) -> Result<(), String> {
    let listeners: Vec<TcpListener> = (0..job.count)
        .map(|_| TcpListener::bind(("127.0.0.1", 0)))
        .collect::<Result<_, _>>()
        .map_err(|error| format!("cannot listen on 127.0.0.1: {error}"))?;
    let addresses: Result<_, _> = listeners.iter().map(TcpListener::local_addr).collect();
    reply(&Reply::Listening(addresses.map_err(|error| error.to_string())?));

    let Command::Start(addresses) = next(commands)? else { return Err(out_of_turn("start")) };
    let mut endpoints = E::start(job, listeners, &addresses)?;
    reply(&Reply::Started);

    let Command::Send = next(commands)? else { return Err(out_of_turn("send")) };
    exchange(&mut endpoints)?;
    let mut command = loop {
        match commands.recv_timeout(REPORT_INTERVAL) {
            Ok(command) => break command,
            Err(RecvTimeoutError::Timeout) => {
                endpoints.pass(true)?;
                reply(&Reply::Progress(endpoints.progress()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(out_of_turn("idle_begin")),
        }
    };
    while command != Command::Stop {
        endpoints.pass(false)?;
        reply(&Reply::Idle(endpoints.progress()));
        command = match command {
            Command::IdleBegin => endpoints.idle(commands)?,
            Command::IdleEnd => next(commands)?,
            _ => return Err(out_of_turn("idle_begin, idle_end or stop")),
        };
    }
    endpoints.stop();
    Ok(())
}

/// Sends and receives all messages, and reports progress and the end to the conductor.
fn exchange(endpoints: &mut impl Endpoints) -> Result<(), String> {
    let first_ns = now_ns();
    let mut reported = Instant::now();
    while !endpoints.is_exact() {
        let moved = endpoints.pass(true)?;
        if endpoints.is_exact() {
            break;
        }
        if reported.elapsed() >= REPORT_INTERVAL {
            reported = Instant::now();
            reply(&Reply::Progress(endpoints.progress()));
        }
        if !moved {
            endpoints.wait()?;
        }
    }
    reply(&Reply::Exact(Exact { first_ns, last_ns: now_ns(), progress: endpoints.progress() }));
    Ok(())
}

fn next(commands: &Receiver<Command>) -> Result<Command, String> {
    commands.recv().map_err(|_| "standard input has ended".to_owned())
}

fn out_of_turn(expected: &str) -> String {
    format!("a command came out of turn: expected {expected}")
}
