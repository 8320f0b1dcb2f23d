//! `cluster run`: one server in the foreground.
//!
//! Four threads wait for input (see [`listen`]). Only the main thread sends, which keeps the messages in order.

mod input;
mod listen;
mod show;

use std::collections::{HashMap, HashSet};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cluster::{Builder, Config, Connect, Envelope, Event, Outbox, Pid, Recipients, SendError, Split};

use self::listen::{Happening, Stop};
use crate::arguments::Run;
use crate::failure::Failure;
use crate::output::say;

pub fn run(arguments: &Run) -> Result<ExitCode, Failure> {
    // Eager connections report peers that come and go before the first message to them.
    let config = Config::from_file(&arguments.config)?.with_connect(Connect::Eager);
    let signals = listen::signals_to_hear()
        .map_err(|error| Failure::Other(format!("cannot listen to signals: {error}; are too many files open?")))?;
    let Split { inbox, outbox, events, mut handle } = Builder::new(arguments.pid, &config).start()?.split();

    let (happens, happening) = sync_channel(READ_AHEAD);
    let spawn = |name: &str, work: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(work).map_err(|error| {
            Failure::Other(format!("no thread for the {name}: {error}; raise the limit of processes (ulimit -u)"))
        })
    };
    let to = happens.clone();
    let printing = spawn("inbox", Box::new(move || listen::inbox(inbox, &to)))?;
    let to = happens.clone();
    spawn("events", Box::new(move || listen::events(events, &to)))?;
    let to = happens.clone();
    spawn("signals", Box::new(move || listen::signals(signals, &to)))?;
    spawn("input", Box::new(move || listen::input(&happens)))?;

    let mut server = Server {
        outbox,
        next_id: config.first_message_id.unwrap_or(1),
        hello: arguments.hello.clone(),
        peers: handle.peers().len(),
        met: HashSet::new(),
        up: HashSet::new(),
        meeting_ends: Instant::now() + MEETING_PATIENCE,
        troubles: HashMap::new(),
        lost: 0,
    };
    let mut stop = None;
    while stop.is_none() {
        match happening.recv() {
            Ok(Happening::Line(line)) => server.line(&line),
            Ok(Happening::Peer(event)) => server.event(&event),
            Ok(Happening::Stop(reason)) => stop = Some(reason),
            Err(_) => break,
        }
    }
    if matches!(stop, Some(Stop::EndOfInput)) {
        server.meet(&happening);
    }
    drop(happening);

    let stopped = handle.stop_within(PATIENCE);
    // The printing thread ends after it has printed all received messages.
    let _ = printing.join();
    match stop {
        Some(Stop::OutputFailed(error)) => return Err(error.into()),
        Some(Stop::InputFailed(error)) => return Err(Failure::Other(format!("cannot read standard input: {error}"))),
        Some(Stop::EndOfInput | Stop::Signal) | None => {}
    }
    match stopped {
        Ok(()) if server.lost == 0 => Ok(ExitCode::SUCCESS),
        Ok(()) => Err(Failure::Other(format!(
            "{} of the lines were not sent to everyone they were for, as said above",
            server.lost
        ))),
        Err(error) => Err(Failure::Other(error.to_string())),
    }
}

/// State of the main thread.
struct Server {
    outbox: Outbox,
    /// Message id of the next line. All recipients of a line get the same id, at once or later.
    next_id: i64,
    hello: Option<String>,
    peers: usize,
    /// Peers that have been up.
    met: HashSet<Pid>,
    up: HashSet<Pid>,
    /// Time until which a peer that has not been up yet is expected to connect.
    meeting_ends: Instant,
    /// Last printed report of a recurring problem, by peer.
    troubles: HashMap<Pid, String>,
    /// Number of messages that were not sent to all of their recipients.
    lost: u64,
}

impl Server {
    fn line(&mut self, line: &[u8]) {
        match input::parse(line) {
            Ok(line) => self.send(line.to, line.text),
            Err(error) => {
                self.lost += 1;
                say(error);
            }
        }
    }

    fn event(&mut self, event: &Event) {
        let Some(said) = show::event(event) else { return };
        match event {
            Event::Up { pid, .. } => {
                self.up.insert(*pid);
                self.troubles.remove(pid);
                say(said);
                if self.met.insert(*pid) {
                    self.greet(*pid);
                }
            }
            Event::Down { pid, .. } => {
                self.up.remove(pid);
                say(said);
            }
            Event::Refused { pid, .. } => self.trouble(*pid, said),
            _ => say(said),
        }
    }

    /// Waits for peers that have not connected yet, until `meeting_ends`: a short input may end before they connect.
    fn meet(&mut self, happening: &Receiver<Happening>) {
        while self.met.len() < self.peers {
            let left = self.meeting_ends.saturating_duration_since(Instant::now());
            match happening.recv_timeout(left) {
                Ok(Happening::Peer(event)) => self.event(&event),
                Ok(Happening::Line(_)) => {}
                Ok(Happening::Stop(_)) | Err(_) => return,
            }
        }
    }

    fn is_there(&self, pid: Pid) -> bool {
        self.up.contains(&pid) || (!self.met.contains(&pid) && Instant::now() < self.meeting_ends)
    }

    fn trouble(&mut self, pid: Pid, said: String) {
        if self.troubles.get(&pid) != Some(&said) {
            say(&said);
            self.troubles.insert(pid, said);
        }
    }

    fn greet(&mut self, pid: Pid) {
        if let Some(hello) = self.hello.clone() {
            self.send(pid.into(), hello.as_bytes());
        }
    }

    /// Sends a line, and prints an error if that fails. Present peers get time to make room. The engine queues messages
    /// to absent peers within its limit; messages beyond that are not sent.
    fn send(&mut self, to: Recipients, text: &[u8]) {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let envelope = |to: Recipients| Envelope::to(to).id(id).body(text.to_vec());
        let mut error = match self.outbox.try_send(envelope(to)) {
            Ok(()) => return,
            Err(error) => error,
        };
        if let SendError::Full { envelope: full } = &error {
            let (there, away): (Vec<Pid>, Vec<Pid>) =
                pids(full.recipients()).into_iter().partition(|pid| self.is_there(*pid));
            if !there.is_empty() {
                match self.outbox.send_timeout(envelope(there.into()), ROOM_PATIENCE) {
                    Ok(()) if away.is_empty() => return,
                    Ok(()) => error = SendError::Full { envelope: Box::new(envelope(away.into())) },
                    Err(late) => error = late,
                }
            }
        }
        self.lost += 1;
        say(format_args!("not sent: {error}"));
    }
}

fn pids(recipients: &Recipients) -> Vec<Pid> {
    match recipients {
        Recipients::One(pid) => vec![*pid],
        Recipients::Several(pids) => pids.clone(),
    }
}

/// Lines and events that wait for the main thread. Further lines wait in standard input.
const READ_AHEAD: usize = 64;
/// Time that present peers have to acknowledge the sent messages when the server stops. The stop does not wait for a
/// peer that falls silent. A second signal ends the wait.
const PATIENCE: Duration = Duration::from_secs(10);
/// Time that peers have to connect after this server has started.
const MEETING_PATIENCE: Duration = Duration::from_secs(2);
/// Time that a present peer has to make room.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
