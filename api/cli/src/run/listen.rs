//! The threads that listen: to standard input, to signals, to the peers. They tell the one that acts.

use std::io::{self, BufRead};
use std::process;
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use cluster::{Event, Events, Inbox};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::show;
use crate::output::print;

/// What the server's main thread acts upon.
pub enum Happening {
    /// A line was typed; without its end.
    Line(Vec<u8>),
    /// Something happened to a peer.
    Peer(Event),
    /// There is a reason to stop.
    Stop(Stop),
}

/// Why the server stops.
pub enum Stop {
    /// Standard input has ended.
    EndOfInput,
    /// Standard input cannot be read.
    InputFailed(io::Error),
    /// Standard output cannot be written to.
    OutputFailed(io::Error),
    /// SIGINT or SIGTERM.
    Signal,
}

/// Reads lines until there are no more. As few are read ahead as `to` has room for.
pub fn input(to: &SyncSender<Happening>) {
    let mut stdin = io::stdin().lock();
    let stop = loop {
        let mut line = Vec::new();
        match stdin.read_until(b'\n', &mut line) {
            Ok(0) => break Stop::EndOfInput,
            Ok(_) => {
                if line.ends_with(b"\n") {
                    line.pop();
                    if line.ends_with(b"\r") {
                        line.pop();
                    }
                }
                // Nobody listens when the server is stopping, and then nothing more is to be read.
                if to.send(Happening::Line(line)).is_err() {
                    return;
                }
            }
            Err(error) => break Stop::InputFailed(error),
        }
    };
    let _ = to.send(Happening::Stop(stop));
}

/// Passes on the first signal; the second ends the process, in case that stopping takes somebody too long.
pub fn signals(mut signals: Signals, to: &SyncSender<Happening>) {
    let mut signals = signals.forever();
    if signals.next().is_some() {
        // Signals must be heard even while the queue is full of lines.
        thread::scope(|scope| {
            scope.spawn(|| to.send(Happening::Stop(Stop::Signal)));
            if let Some(signal) = signals.next() {
                process::exit(128 + signal);
            }
        });
    }
}

/// What [`signals`] listens to. Made first, so that no signal comes too early for it.
pub fn signals_to_hear() -> io::Result<Signals> {
    Signals::new([SIGINT, SIGTERM])
}

/// Prints what arrives, until the server has stopped.
pub fn inbox(mut inbox: Inbox, to: &SyncSender<Happening>) {
    while let Ok(envelope) = inbox.recv() {
        if let Err(error) = print(show::message(envelope.pid, envelope.msg_id, &envelope.msg)) {
            let _ = to.send(Happening::Stop(Stop::OutputFailed(error)));
            return;
        }
    }
}

/// Passes on what happens to the peers, for as long as somebody listens.
pub fn events(mut events: Events, to: &SyncSender<Happening>) {
    loop {
        if let Some(event) = events.next_timeout(A_WHILE)
            && to.send(Happening::Peer(event)).is_err()
        {
            return;
        }
    }
}

const A_WHILE: Duration = Duration::from_secs(3600);
