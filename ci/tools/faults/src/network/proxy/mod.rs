//! TCP proxy on a server's host that resets connections at random bytes, replays connections, and lies.
//!
//! One thread with `poll` holds all descriptors of a connection: dropping them sends the reset at once.
//! Commands come as lines on standard input. The end of the input ends the proxy.
//!
//! | command | effect |
//! | --- | --- |
//! | `cut TO SEED` | resets every connection to that server after a random number of further bytes, or a moment later if nothing is sent |
//! | `replay TO SEED` | opens some connections of its own to that server, and sends there what was sent on earlier ones |
//! | `lie TO SEED` | changes a segment between the two servers, in either direction |

mod connection;
mod lies;
mod replay;
mod segments;

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use cluster::Pid;
use fastrand::Rng;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, set_parent_process_death_signal};

use self::connection::{Connection, Cut, Pipe};
use self::lies::Told;
use self::replay::{Recording, Replay};
use self::segments::Armed;
use crate::clock::now;
use crate::failure::{Context, Failure};
use crate::journal::{LieWriter, ToldLie};
use crate::plan::{LIE_TIME, Lie};

/// Server of the proxy, and its routes.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Pid of its server.
    #[arg(long)]
    pub pid: Pid,
    /// File to which its lies are written.
    #[arg(long)]
    pub lies: PathBuf,
    /// Route to a server, once for each: pid, address to listen at, address to forward to; with commas between.
    #[arg(long = "to")]
    pub routes: Vec<String>,
}

/// Forwards until the end of standard input.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL)).context(|| "cannot be bound to the conductor".to_owned())?;
    let mut lies = LieWriter::open(&arguments.lies)?;
    let mut proxy = Proxy {
        routes: arguments.routes.iter().map(|route| Route::parse(route)).collect::<Result<_, _>>()?,
        connections: Vec::new(),
        replays: Vec::new(),
        commands: Vec::new(),
    };
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let ready = proxy.wait()?;
        if ready.input && !proxy.obey()? {
            return Ok(());
        }
        proxy.accept(&ready.routes);
        proxy.forward(arguments.pid, &mut chunk, &mut lies)?;
        proxy.replays.retain_mut(Replay::turn);
    }
}

struct Proxy {
    routes: Vec<Route>,
    connections: Vec<Connection>,
    replays: Vec<Replay>,
    /// Command bytes that do not make a whole line yet.
    commands: Vec<u8>,
}

/// Server that this proxy leads to.
struct Route {
    to: Pid,
    listener: TcpListener,
    target: SocketAddr,
    /// Beginnings of the last connections that have ended.
    recordings: VecDeque<Recording>,
    /// Lie that is to be told on the next connection, and whether it is for the server.
    armed: Option<(bool, Armed)>,
}

impl Route {
    fn parse(text: &str) -> Result<Route, Failure> {
        let wrong = || Failure(format!("{text} is not a route; write PID,LISTEN,TARGET"));
        let mut parts = text.split(',');
        let mut next = || parts.next().ok_or_else(wrong);
        let to = next()?.parse().map_err(|_| wrong())?;
        let listen = next()?;
        let target = next()?.parse().map_err(|_| wrong())?;
        let listener = TcpListener::bind(listen).context(|| format!("cannot listen at {listen}"))?;
        listener.set_nonblocking(true)?;
        Ok(Route { to, listener, target, recordings: VecDeque::new(), armed: None })
    }
}

/// Descriptors that `poll` found ready.
struct Ready {
    input: bool,
    routes: Vec<bool>,
}

impl Proxy {
    fn wait(&self) -> Result<Ready, Failure> {
        let input = io::stdin();
        let mut waiting = vec![PollFd::new(&input, PollFlags::IN)];
        waiting.extend(self.routes.iter().map(|route| PollFd::new(&route.listener, PollFlags::IN)));
        let mut hurry = !self.replays.is_empty();
        for connection in &self.connections {
            hurry |= connection.cut.is_some();
            let [up, down] = &connection.pipes;
            let wanted = |reads: &Pipe, writes: &Pipe| {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, connection.connected && reads.is_empty() && !reads.ended);
                flags.set(PollFlags::OUT, !writes.is_empty());
                flags
            };
            waiting.push(PollFd::new(&connection.client, wanted(up, down)));
            let mut flags = wanted(down, up);
            flags.set(PollFlags::OUT, !connection.connected || !up.is_empty());
            waiting.push(PollFd::new(&connection.server, flags));
        }
        for (socket, writes) in self.replays.iter().filter_map(Replay::waits) {
            waiting.push(PollFd::new(socket, if writes { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN }));
        }
        let longest = if hurry { LATEST_CUT } else { Duration::from_secs(1) };
        let longest = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: i64::from(longest.subsec_nanos()) };
        match poll(&mut waiting, Some(&longest)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure(format!("poll: {error}"))),
        }
        let ready: Vec<bool> = waiting.iter().map(|fd| !fd.revents().is_empty()).collect();
        Ok(Ready { input: ready[0], routes: ready[1..=self.routes.len()].to_vec() })
    }

    fn accept(&mut self, ready: &[bool]) {
        for (route, _) in self.routes.iter_mut().zip(ready).filter(|(_, ready)| **ready) {
            // If the connection has gone, or no descriptor is free, the server will try again.
            if let Ok((client, _)) = route.listener.accept()
                && let Ok(mut connection) = Connection::new(route, client.into())
            {
                if let Some((to_server, armed)) = route.armed.take() {
                    connection.arm(to_server, armed);
                }
                self.connections.push(connection);
            }
        }
    }

    /// Moves bytes on every connection, and keeps the recordings of those that end.
    fn forward(&mut self, pid: Pid, chunk: &mut [u8], lies: &mut LieWriter) -> Result<(), Failure> {
        let mut ended = Vec::new();
        self.connections.retain_mut(|connection| {
            let peer = connection.to;
            let goes_on = connection.turn(chunk, |to_server, lie, told: Told| {
                let (from, to) = if to_server { (pid, peer) } else { (peer, pid) };
                let Told { lost_bytes, lost, .. } = told;
                let told = ToldLie { at: now(), from, to, lie, lost_bytes, lost, ended: None };
                let at = told.at;
                lies.told(told).map(|()| at).map_err(|failure| io::Error::other(failure.to_string()))
            });
            let goes_on = goes_on.unwrap_or(false);
            if !goes_on {
                ended.push((peer, std::mem::take(&mut connection.recording), std::mem::take(&mut connection.lied_at)));
            }
            goes_on
        });
        for (to, recording, lied_at) in ended {
            lied_at.into_iter().try_for_each(|told| lies.ended(told))?;
            if let Some(route) = self.routes.iter_mut().find(|route| route.to == to)
                && !recording.is_empty()
            {
                route.recordings.truncate(MOST_RECORDINGS - 1);
                route.recordings.push_front(recording);
            }
        }
        Ok(())
    }

    /// Executes the commands whose lines are complete. Returns `false` at the end of the input.
    fn obey(&mut self) -> Result<bool, Failure> {
        let mut buffer = [0; 4096];
        // `io::stdin` is not used, because it reads ahead bytes that `poll` then does not see.
        let input = rustix::stdio::stdin();
        let read = rustix::io::read(input, &mut buffer).context(|| "cannot read commands".to_owned())?;
        self.commands.extend_from_slice(&buffer[..read]);
        while let Some(end) = self.commands.iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.commands[..end]).into_owned();
            self.commands.drain(..=end);
            let words: Vec<&str> = line.split(' ').collect();
            let [what, to, seed] = words[..] else { return Err(Failure(format!("not a command: {line}"))) };
            let (Ok(to), Ok(seed)) = (to.parse(), seed.parse()) else {
                return Err(Failure(format!("not numbers: {line}")));
            };
            let mut random = Rng::with_seed(seed);
            match what {
                "cut" => self.cut(to, &mut random),
                "replay" => self.replay(to, &mut random),
                "lie" => self.lie(to, random),
                _ => return Err(Failure(format!("not a command: {line}"))),
            }
        }
        Ok(read > 0)
    }

    fn cut(&mut self, to: Pid, random: &mut Rng) {
        for connection in self.connections_to(to) {
            let bytes = random.u64(..LONGEST_CUT_BYTES);
            connection.cut = Some(Cut { bytes, at: Instant::now() + LATEST_CUT });
        }
    }

    /// Replays some recordings of the current or the earlier connections to a server.
    fn replay(&mut self, to: Pid, random: &mut Rng) {
        let present: Vec<Recording> = self.connections_to(to).map(|connection| connection.recording.clone()).collect();
        let Some(route) = self.routes.iter().find(|route| route.to == to) else { return };
        let recordings: Vec<&Recording> = present.iter().chain(&route.recordings).collect();
        for _ in 0..random.u64(1..MOST_REPLAYS) {
            let recording = random.choice(&recordings);
            if let Some(recording) = recording.filter(|recording| !recording.is_empty()) {
                self.replays.push(Replay::new(recording, route.target, random));
            }
        }
    }

    /// Arms a lie on the current connections, or on the next one if the lie is about a handshake.
    fn lie(&mut self, to: Pid, mut random: Rng) {
        let lie = Lie::ALL[random.usize(..Lie::ALL.len())];
        let to_server = match lie {
            Lie::Challenge => false,
            Lie::Confirm => true,
            _ => random.bool(),
        };
        let armed = Armed { lie, random, until: Instant::now() + Duration::from_nanos(LIE_TIME) };
        if lie.is_of_handshake() {
            for connection in self.connections_to(to) {
                connection.cut = Some(Cut { bytes: 0, at: Instant::now() });
            }
            if let Some(route) = self.routes.iter_mut().find(|route| route.to == to) {
                route.armed = Some((to_server, armed));
            }
        } else {
            self.connections_to(to).for_each(|connection| connection.arm(to_server, armed.clone()));
        }
    }

    fn connections_to(&mut self, to: Pid) -> impl Iterator<Item = &mut Connection> {
        self.connections.iter_mut().filter(move |connection| connection.to == to)
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

const CHUNK_BYTES: usize = 64 * 1024;
/// Most recordings kept for each server that the proxy leads to.
const MOST_RECORDINGS: usize = 4;
/// Limit of the recordings that one fault replays, not included.
const MOST_REPLAYS: u64 = 4;
/// Limit of the bytes before a cut, not included: inside the first segments, the first long envelope, or much later.
const LONGEST_CUT_BYTES: u64 = 300_000;
/// Time after which a cut comes that the traffic has not reached.
const LATEST_CUT: Duration = Duration::from_millis(50);
