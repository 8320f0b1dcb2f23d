//! Threads that read standard input, signals, the inbox and the events, and report to the main thread.

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

/// Report to the server's main thread.
pub enum Happening {
    /// A line was typed; it comes without its line break.
    Line(Vec<u8>),
    /// An event of a peer.
    Peer(Event),
    /// A reason to stop.
    Stop(Stop),
}

/// Reason why the server stops.
pub enum Stop {
    /// Standard input has ended.
    EndOfInput,
    /// Standard input cannot be read.
    InputFailed(io::Error),
    /// Standard output cannot be written to.
    OutputFailed(io::Error),
    /// SIGINT or SIGTERM arrived.
    Signal,
}

/// Reads lines until the end of input. The capacity of `to` limits how many are read ahead.
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
                // The receiver is gone when the server is stopping; no more lines are needed then.
                if to.send(Happening::Line(line)).is_err() {
                    return;
                }
            }
            Err(error) => break Stop::InputFailed(error),
        }
    };
    let _ = to.send(Happening::Stop(stop));
}

/// Reports the first signal. The second one ends the process, for a user who does not wait for the stop.
pub fn signals(mut signals: Signals, to: &SyncSender<Happening>) {
    let mut signals = signals.forever();
    if signals.next().is_some() {
        // The second signal must work even while the queue is full of lines.
        thread::scope(|scope| {
            scope.spawn(|| to.send(Happening::Stop(Stop::Signal)));
            if let Some(signal) = signals.next() {
                process::exit(128 + signal);
            }
        });
    }
}

/// Registers the signals that [`signals`] handles. Called first, so that no signal is missed.
pub fn signals_to_hear() -> io::Result<Signals> {
    Signals::new([SIGINT, SIGTERM])
}

/// Prints received messages until the server has stopped.
pub fn inbox(mut inbox: Inbox, to: &SyncSender<Happening>) {
    while let Ok(envelope) = inbox.recv() {
        if let Err(error) = print(show::message(envelope.pid, envelope.msg_id, &envelope.msg)) {
            let _ = to.send(Happening::Stop(Stop::OutputFailed(error)));
            return;
        }
    }
}

/// Reports events of the peers until the receiver is gone.
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
