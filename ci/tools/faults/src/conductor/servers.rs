//! Processes of a session: servers and their proxies.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use cluster::{Config, Connect, Pid};

use super::{Session, evidence};
use crate::clock::{MILLISECOND, SECOND, now};
use crate::failure::{Context, Failure};
use crate::journal::{End, Entry, Writer, errors_path, lies_path};
use crate::log::RECORD_BYTES;
use crate::mix::mix;
use crate::network::Network;
use crate::node::log_path;
use crate::plan::{Injected, Kind};

/// All servers of a session. Dropping them kills every process.
pub struct Servers<'s> {
    session: &'s Session,
    network: &'s Network,
    journal: &'s Writer,
    program: PathBuf,
    config: Config,
    servers: Vec<Server>,
}

struct Server {
    process: Option<Child>,
    proxy: Child,
    /// Current or last run: 1, 2, 3 …; 0 before the first one.
    run: u32,
    /// True if the server was told to stop.
    leaving: bool,
    /// Time at which the server is to be started again, and the number of failed attempts.
    due: Option<(u64, u32)>,
    /// Time of the start, until the server is known to be up, or to be late.
    starting: Option<u64>,
    /// Process of the run before.
    former: Option<u32>,
}

impl<'s> Servers<'s> {
    /// Starts the proxies, then the servers.
    pub fn start(session: &'s Session, network: &'s Network, journal: &'s Writer) -> Result<Servers<'s>, Failure> {
        let program = std::env::current_exe().context(|| "where is this program?".to_owned())?;
        let config = configuration(session, network, None)?;
        let mut servers = Servers { session, network, journal, program, config, servers: Vec::new() };
        for node in 0..session.nodes {
            let proxy = servers.spawn_proxy(node)?;
            servers.servers.push(Server {
                process: None,
                proxy,
                run: 0,
                leaving: false,
                due: None,
                starting: None,
                former: None,
            });
            let config = configuration(session, network, Some(node))?;
            fs::write(servers.config_path(node), config.to_json())?;
        }
        journal.write(&Entry::Session {
            at: now(),
            seed: session.seed,
            rate: session.rate,
            pids: servers.pids(),
            inbox_bytes: servers.config.inbox_bytes,
            outbox_bytes: servers.config.outbox_bytes,
        })?;
        for node in 0..session.nodes {
            servers.spawn(node)?;
        }
        Ok(servers)
    }

    pub fn pids(&self) -> Vec<Pid> {
        (0..self.servers.len()).map(pid).collect()
    }

    /// Returns the process of a server, if it runs.
    pub fn process(&self, node: usize) -> Option<u32> {
        self.servers[node].process.as_ref().map(Child::id)
    }

    pub fn running(&self) -> usize {
        self.servers.iter().filter(|server| server.process.is_some()).count()
    }

    /// Returns the paths of the logs of received messages of the current runs.
    pub fn received_logs(&self) -> Vec<PathBuf> {
        let present = self.servers.iter().enumerate();
        present.map(|(node, server)| log_path(&self.session.folder, pid(node), server.run, "received")).collect()
    }

    /// Starts a server that does not run.
    pub fn spawn(&mut self, node: usize) -> Result<(), Failure> {
        let run = self.servers[node].run + 1;
        let errors = errors_path(&self.session.folder, pid(node));
        let errors = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&errors)
            .context(|| format!("cannot open {}", errors.display()))?;
        let mut command = self.network.command(node, &self.program);
        command.arg("node").args(["--pid", &pid(node).to_string(), "--run", &run.to_string()]);
        command.arg("--config").arg(self.config_path(node)).arg("--logs").arg(&self.session.folder);
        command.args(["--rate", &self.session.rate.to_string()]);
        self.journal.write(&Entry::Spawned { at: now(), pid: pid(node), run })?;
        self.servers[node].run = run;
        let process = match start(&mut command, errors) {
            Ok(process) => process,
            Err(failure) => {
                // The run has no log, because its process did not start.
                self.ended(node, End::Killed)?;
                return Err(failure);
            }
        };
        let server = &mut self.servers[node];
        (server.leaving, server.due, server.starting) = (false, None, Some(now()));
        server.process = Some(process);
        Ok(())
    }

    /// Kills a server, and waits for its end.
    pub fn kill(&mut self, node: usize) -> Result<(), Failure> {
        let server = &mut self.servers[node];
        server.due = None;
        if let Some(mut process) = server.process.take() {
            server.former = Some(process.id());
            process.kill().context(|| format!("cannot kill {}", pid(node)))?;
            let status = process.wait().context(|| format!("cannot wait for {}", pid(node)))?;
            // The process may have ended before.
            let killed = status.signal() == Some(SIGKILL);
            self.ended(node, if killed { End::Killed } else { End::Crashed(status.to_string()) })?;
        }
        Ok(())
    }

    /// Sends a command to a server. A server that is just ending does not receive it, which [`look`](Servers::look)
    /// finds out.
    pub fn tell(&mut self, node: usize, command: &str) {
        let server = &mut self.servers[node];
        server.leaving |= command == "stop";
        if let Some(input) = server.process.as_mut().and_then(|process| process.stdin.as_mut()) {
            let _ = writeln!(input, "{command}");
        }
    }

    /// Resets the connections between two servers.
    pub fn reset(&mut self, node: usize, other: usize, seed: u64) -> Result<(), Failure> {
        if !is_proxied(self.session, node, other) {
            return self.network.reset(node, other);
        }
        self.tell_proxies("cut", node, other, seed)
    }

    /// Returns these two servers, or the next two whose connections go through proxies; if there are none, these two.
    pub fn proxied_pair(&self, node: usize, other: usize) -> (usize, usize) {
        let count = self.servers.len();
        let pairs = (node * count + other..).take(count * count).map(|pair| (pair / count % count, pair % count));
        let mut pairs = pairs.filter(|(one, two)| one != two);
        pairs.find(|(one, two)| is_proxied(self.session, *one, *two)).unwrap_or((node, other))
    }

    /// Sends a command to the proxies between two servers, to each with a seed of its own.
    pub fn tell_proxies(&mut self, what: &str, node: usize, other: usize, seed: u64) -> Result<(), Failure> {
        for (at, to) in [(node, other), (other, node)] {
            let input = self.servers[at].proxy.stdin.as_mut();
            let command = format!("{what} {} {}\n", pid(to), mix(seed ^ at as u64));
            input
                .map_or(Ok(()), |input| input.write_all(command.as_bytes()))
                .context(|| format!("the proxy of {} is gone", pid(at)))?;
        }
        Ok(())
    }

    /// Finds processes that have ended, and starts again the servers and proxies that were not to end.
    pub fn look(&mut self) -> Result<(), Failure> {
        for node in 0..self.servers.len() {
            if let Some(status) = self.servers[node].proxy.try_wait()? {
                self.replace_proxy(node, &status.to_string())?;
            }
            let server = &mut self.servers[node];
            if let Some(process) = &mut server.process
                && let Some(status) = process.try_wait()?
            {
                server.former = Some(process.id());
                server.process = None;
                if server.leaving && status.success() {
                    self.ended(node, End::Stopped)?;
                } else {
                    server.due = Some((0, 0));
                    self.ended(node, End::Crashed(status.to_string()))?;
                }
            }
            self.start_due(node)?;
            self.look_at_start(node)?;
        }
        Ok(())
    }

    /// Starts a server whose start is due; after a failure, tries again later.
    fn start_due(&mut self, node: usize) -> Result<(), Failure> {
        let Some((due, failed)) = self.servers[node].due else { return Ok(()) };
        if now() < due {
            return Ok(());
        }
        match self.spawn(node) {
            Err(failure) if failed < MOST_ATTEMPTS => {
                self.servers[node].due = Some((now() + RETRY, failed + 1));
                self.journal.hitch(&failure)
            }
            spawned => spawned,
        }
    }

    /// Writes the state of the machine to the journal if a server is not up in time.
    fn look_at_start(&mut self, node: usize) -> Result<(), Failure> {
        let Some(since) = self.servers[node].starting else { return Ok(()) };
        let stopped = self.process(node).is_some_and(evidence::is_stopped);
        if stopped {
            // A fault has stopped the server, so that it cannot start now.
            self.servers[node].starting = Some(now());
        } else if self.has_started(node) {
            self.servers[node].starting = None;
        } else if now() > since + LONG_START {
            let server = &mut self.servers[node];
            server.starting = None;
            let processes = [server.former, server.process.as_ref().map(Child::id)];
            let text = evidence::gather(self.network, node, &processes);
            self.journal.write(&Entry::LongStart { at: now(), pid: pid(node), run: self.servers[node].run, text })?;
        }
        Ok(())
    }

    /// Starts a proxy again that has ended. Its end has reset its connections, which is a fault outside the plan.
    fn replace_proxy(&mut self, node: usize, how: &str) -> Result<(), Failure> {
        let at = now();
        let begin = at.saturating_sub(SECOND);
        self.journal.hitch(&Failure(format!("the proxy of {} has ended: {how}", pid(node))))?;
        let injected = Injected {
            kind: Kind::Reset,
            pid: pid(node),
            other: None,
            begin,
            in_force: begin,
            ends: at,
            end: at,
            amount: 0,
        };
        let fault = self.journal.begin(injected)?;
        self.servers[node].proxy = self.spawn_proxy(node)?;
        self.journal.write(&Entry::Over { fault, at: now() + SECOND })
    }

    /// Returns whether the current process of a server is running: it has logged its memory for the first time.
    pub fn has_started(&self, node: usize) -> bool {
        let log = log_path(&self.session.folder, pid(node), self.servers[node].run, "events");
        fs::metadata(log).is_ok_and(|log| log.len() >= 3 * RECORD_BYTES as u64)
    }

    /// Starts a server that was killed.
    pub fn start_again(&mut self, node: usize) -> Result<(), Failure> {
        if self.servers[node].process.is_none() { self.spawn(node) } else { Ok(()) }
    }

    /// Waits until a server that was told to stop has stopped, and starts it again.
    pub fn restart_left(&mut self, node: usize) -> Result<(), Failure> {
        // A server that crashed meanwhile runs again already.
        if self.servers[node].leaving {
            self.wait_left(node)?;
        }
        self.start_again(node)
    }

    /// Tells all servers to send nothing more.
    pub fn all_quiet(&mut self) -> Result<(), Failure> {
        self.look()?;
        for node in 0..self.servers.len() {
            self.tell(node, "quiet");
        }
        Ok(())
    }

    /// Stops all servers at the same time.
    pub fn stop_all(&mut self) -> Result<(), Failure> {
        for node in 0..self.servers.len() {
            self.tell(node, "stop");
        }
        for node in 0..self.servers.len() {
            self.wait_left(node)?;
        }
        Ok(())
    }

    fn wait_left(&mut self, node: usize) -> Result<(), Failure> {
        let patience = now() + STOP_PATIENCE;
        while let Some(process) = &mut self.servers[node].process {
            if let Some(status) = process.try_wait()? {
                self.servers[node].process = None;
                let end = if status.success() { End::Stopped } else { End::Crashed(status.to_string()) };
                self.ended(node, end)?;
            } else if now() > patience {
                process.kill()?;
                process.wait()?;
                self.servers[node].process = None;
                self.ended(node, End::Crashed("it did not stop, and was killed".to_owned()))?;
            } else {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn ended(&self, node: usize, end: End) -> Result<(), Failure> {
        self.journal.write(&Entry::Ended { at: now(), pid: pid(node), run: self.servers[node].run, end })
    }

    fn spawn_proxy(&self, node: usize) -> Result<Child, Failure> {
        let mut command = self.network.command(node, &self.program);
        command.args(["proxy", "--pid", &pid(node).to_string()]);
        command.arg("--lies").arg(lies_path(&self.session.folder, pid(node)));
        let addresses = self.network.addresses();
        for to in (0..self.session.nodes).filter(|to| *to != node) {
            command.args(["--to", &format!("{},{},{}", pid(to), addresses.proxy(node, to), addresses.server(to))]);
        }
        let errors = self.session.folder.join(format!("{}.proxy", pid(node)));
        let errors = OpenOptions::new().create(true).append(true).open(&errors);
        start(&mut command, errors.context(|| format!("cannot note the words of the proxy of {}", pid(node)))?)
    }

    fn config_path(&self, node: usize) -> PathBuf {
        self.session.folder.join(format!("{}.json", pid(node)))
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for node in 0..self.servers.len() {
            let server = &mut self.servers[node];
            if let Some(mut process) = server.process.take() {
                let _ = process.kill();
                let _ = process.wait();
                let _ = self.ended(node, End::Killed);
            }
        }
        for server in &mut self.servers {
            let _ = server.proxy.kill();
            let _ = server.proxy.wait();
        }
    }
}

/// Returns the pid of a server.
pub fn pid(node: usize) -> Pid {
    node as Pid + 1
}

/// Returns the configuration of a server: the addresses of the others, or those of proxies that lead to them.
fn configuration(session: &Session, network: &Network, node: Option<usize>) -> Result<Config, Failure> {
    let addresses = network.addresses();
    let address = |to: usize| match node {
        Some(node) if node != to && is_proxied(session, node, to) => addresses.proxy(node, to),
        _ => addresses.server(to),
    };
    let config = Config::new((0..session.nodes).map(|to| (pid(to), address(to))));
    Ok(config.map_err(|error| Failure(error.to_string()))?.with_cluster("faults").with_connect(Connect::Eager))
}

/// Returns whether the connections of two servers go through proxies.
fn is_proxied(session: &Session, one: usize, two: usize) -> bool {
    let pair = (one.min(two) * 16 + one.max(two)) as u64;
    session.all_proxied || mix(session.seed ^ mix(pair)).is_multiple_of(2)
}

fn start(command: &mut Command, errors: File) -> Result<Child, Failure> {
    // A process group of its own: an interrupt from the terminal reaches only the conductor, which ends the processes
    // in order.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).process_group(0);
    command.spawn().context(|| "cannot start a process".to_owned())
}

/// Time to wait for a stop. A server itself waits two seconds for its peers.
const STOP_PATIENCE: u64 = 8 * SECOND;
/// Time between two attempts to start a process; `MOST_ATTEMPTS` limits their number.
const RETRY: u64 = 250 * MILLISECOND;
const MOST_ATTEMPTS: u32 = 40;
/// Time after which a server that is not up is reported as late.
const LONG_START: u64 = 250 * MILLISECOND;
const SIGKILL: i32 = 9;
