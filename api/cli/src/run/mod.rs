//! `cluster run`: one server in the foreground.
//!
//! Four threads listen (see [`listen`]), this one acts: it alone sends, so that what it sends stays in order.

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
    // Eager, so that peers are seen to come and go before anything is sent to them.
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
    // It prints what had arrived, and ends.
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

/// What acts.
struct Server {
    outbox: Outbox,
    /// One number for each line, for all that get it, whether at once or later.
    next_id: i64,
    hello: Option<String>,
    peers: usize,
    /// Peers that have been up.
    met: HashSet<Pid>,
    up: HashSet<Pid>,
    /// Until then, a peer that was not met yet is taken to be about to come.
    meeting_ends: Instant,
    /// What was last said of a trouble that the engine meets again and again.
    troubles: HashMap<Pid, String>,
    /// Messages that were not taken for somebody.
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

    /// Gives peers that are there, and did not have the time to connect, a moment for it: the input may have been short.
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

    /// Sends, and says so if that cannot be. Peers that are there get time to make room; for those that are not, the engine
    /// keeps as much as it may, and what is beyond that is not waited for.
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

/// Lines and events that wait for this thread; lines beyond them wait in standard input.
const READ_AHEAD: usize = 64;
/// How long peers that are there may take to acknowledge what was sent, when the server stops. One that falls silent is not
/// waited for; who does not want to wait sends a second signal.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long peers may take to connect, once this server has started.
const MEETING_PATIENCE: Duration = Duration::from_secs(2);
/// How long a peer that is there may take to make room.
const ROOM_PATIENCE: Duration = Duration::from_secs(5);
