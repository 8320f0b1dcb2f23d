//! The processes: servers and their proxies.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use cluster::{Config, Connect, Pid};

use super::Session;
use crate::clock::{SECOND, now};
use crate::failure::{Context, Failure};
use crate::journal::{End, Run};
use crate::network::Network;
use crate::node::log_path;
use crate::random::mix;

/// All servers of a session. Dropping it kills every process.
pub struct Servers<'s> {
    session: &'s Session,
    network: &'s Network,
    program: PathBuf,
    config: Config,
    servers: Vec<Server>,
    runs: Vec<Run>,
}

struct Server {
    process: Option<Child>,
    proxy: Child,
    /// The run that there is, or was, as an index of `runs`.
    run: usize,
    /// It was told to stop.
    leaving: bool,
}

impl<'s> Servers<'s> {
    /// Starts the proxies, then the servers.
    pub fn start(session: &'s Session, network: &'s Network) -> Result<Servers<'s>, Failure> {
        let program = std::env::current_exe().context(|| "where is this program?".to_owned())?;
        let config = configuration(session, network, None)?;
        let mut servers = Servers { session, network, program, config, servers: Vec::new(), runs: Vec::new() };
        for node in 0..session.nodes {
            let proxy = servers.spawn_proxy(node)?;
            servers.servers.push(Server { process: None, proxy, run: 0, leaving: false });
            let config = configuration(session, network, Some(node))?;
            fs::write(servers.config_path(node), config.to_json())?;
        }
        for node in 0..session.nodes {
            servers.spawn(node)?;
        }
        Ok(servers)
    }

    /// The settings that all servers have in common.
    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn pids(&self) -> Vec<Pid> {
        (0..self.servers.len()).map(pid).collect()
    }

    /// The process of a server, if it runs.
    pub fn process(&self, node: usize) -> Option<u32> {
        self.servers[node].process.as_ref().map(Child::id)
    }

    pub fn running(&self) -> usize {
        self.servers.iter().filter(|server| server.process.is_some()).count()
    }

    /// The logs of received messages of the present runs.
    pub fn received_logs(&self) -> Vec<PathBuf> {
        let present = self.servers.iter().filter_map(|server| self.runs.get(server.run));
        present.map(|run| log_path(&self.session.folder, run.pid, run.run, "received")).collect()
    }

    /// Starts a server that does not run.
    pub fn spawn(&mut self, node: usize) -> Result<(), Failure> {
        let run = 1 + self.runs.iter().filter(|run| run.pid == pid(node)).count() as u32;
        let spawned = now();
        let errors = OpenOptions::new().create(true).append(true).open(self.errors_path(node))?;
        let mut command = self.network.command(node, &self.program);
        command.arg("node").args(["--pid", &pid(node).to_string(), "--run", &run.to_string()]);
        command.arg("--config").arg(self.config_path(node)).arg("--logs").arg(&self.session.folder);
        command.args(["--rate", &self.session.rate.to_string()]);
        let process = start(&mut command, errors)?;
        self.runs.push(Run { pid: pid(node), run, spawned, ended: u64::MAX, end: End::Running });
        let index = self.runs.len() - 1;
        let server = &mut self.servers[node];
        (server.process, server.run, server.leaving) = (Some(process), index, false);
        Ok(())
    }

    /// Kills a server, and waits for its end.
    pub fn kill(&mut self, node: usize) -> Result<(), Failure> {
        let server = &mut self.servers[node];
        if let Some(mut process) = server.process.take() {
            process.kill()?;
            process.wait()?;
            self.ended(node, End::Killed);
        }
        Ok(())
    }

    /// Tells a server something. One that is just dying does not hear it, and [`look`](Servers::look) finds out.
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
        for (at, to) in [(node, other), (other, node)] {
            let input = self.servers[at].proxy.stdin.as_mut();
            let command = format!("cut {to} {}\n", mix(seed ^ at as u64));
            input
                .map_or(Ok(()), |input| input.write_all(command.as_bytes()))
                .context(|| format!("the proxy of {} is gone", pid(at)))?;
        }
        Ok(())
    }

    /// Notices processes that have ended. Nobody was to end by itself: such a server is started again.
    pub fn look(&mut self) -> Result<(), Failure> {
        for node in 0..self.servers.len() {
            let server = &mut self.servers[node];
            if let Some(status) = server.proxy.try_wait()? {
                return Err(Failure(format!("the proxy of {} has ended: {status}", pid(node))));
            }
            let Some(process) = &mut server.process else { continue };
            let Some(status) = process.try_wait()? else { continue };
            server.process = None;
            if server.leaving && status.success() {
                self.ended(node, End::Stopped);
            } else {
                self.ended(node, End::Crashed(status.to_string()));
                self.spawn(node)?;
            }
        }
        Ok(())
    }

    /// Waits until a server that was told to stop has done so, and starts it again.
    pub fn restart_left(&mut self, node: usize) -> Result<(), Failure> {
        // One that crashed meanwhile runs again already.
        if self.servers[node].leaving {
            self.wait_left(node)?;
        }
        if self.servers[node].process.is_none() { self.spawn(node) } else { Ok(()) }
    }

    /// Lets nobody send any more.
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

    /// What servers wrote on standard error.
    pub fn complaints(&self) -> Result<Vec<String>, Failure> {
        let mut complaints = Vec::new();
        for node in 0..self.servers.len() {
            let text = fs::read(self.errors_path(node))?;
            if !text.is_empty() {
                complaints.push(format!("{}: {}", pid(node), String::from_utf8_lossy(&text).trim()));
            }
        }
        Ok(complaints)
    }

    /// All runs that there were.
    pub fn into_runs(mut self) -> Vec<Run> {
        std::mem::take(&mut self.runs)
    }

    fn wait_left(&mut self, node: usize) -> Result<(), Failure> {
        let patience = now() + STOP_PATIENCE;
        while let Some(process) = &mut self.servers[node].process {
            if let Some(status) = process.try_wait()? {
                self.servers[node].process = None;
                let end = if status.success() { End::Stopped } else { End::Crashed(status.to_string()) };
                self.ended(node, end);
            } else if now() > patience {
                process.kill()?;
                process.wait()?;
                self.servers[node].process = None;
                self.ended(node, End::Crashed("it did not stop, and was killed".to_owned()));
            } else {
                thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    }

    fn ended(&mut self, node: usize, end: End) {
        let run = &mut self.runs[self.servers[node].run];
        (run.ended, run.end) = (now(), end);
    }

    fn spawn_proxy(&self, node: usize) -> Result<Child, Failure> {
        let mut command = self.network.command(node, &self.program);
        command.arg("proxy");
        let addresses = self.network.addresses();
        for to in (0..self.session.nodes).filter(|to| *to != node) {
            command.args(["--to", &format!("{to},{},{}", addresses.proxy(node, to), addresses.server(to))]);
        }
        start(&mut command, File::create(self.session.folder.join(format!("{}.proxy", pid(node))))?)
    }

    fn config_path(&self, node: usize) -> PathBuf {
        self.session.folder.join(format!("{}.json", pid(node)))
    }

    fn errors_path(&self, node: usize) -> PathBuf {
        self.session.folder.join(format!("{}.stderr", pid(node)))
    }
}

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for server in &mut self.servers {
            for process in server.process.iter_mut().chain([&mut server.proxy]) {
                let _ = process.kill();
                let _ = process.wait();
            }
        }
    }
}

/// The pid of a server.
pub fn pid(node: usize) -> Pid {
    node as Pid + 1
}

/// What a server is told of the others: their addresses, or those of proxies that lead to them.
fn configuration(session: &Session, network: &Network, node: Option<usize>) -> Result<Config, Failure> {
    let addresses = network.addresses();
    let address = |to: usize| match node {
        Some(node) if node != to && is_proxied(session, node, to) => addresses.proxy(node, to),
        _ => addresses.server(to),
    };
    let config = Config::new((0..session.nodes).map(|to| (pid(to), address(to))));
    Ok(config.map_err(|error| Failure(error.to_string()))?.with_cluster("faults").with_connect(Connect::Eager))
}

/// Whether the connections of two servers go through proxies.
fn is_proxied(session: &Session, one: usize, two: usize) -> bool {
    let pair = (one.min(two) * 16 + one.max(two)) as u64;
    session.all_proxied || mix(session.seed ^ mix(pair)).is_multiple_of(2)
}

fn start(command: &mut Command, errors: File) -> Result<Child, Failure> {
    // A group of its own: an interrupt from the terminal is for the conductor, which ends everything in order.
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(errors).process_group(0);
    command.spawn().context(|| "cannot start a process".to_owned())
}

/// A server's own patience is two seconds.
const STOP_PATIENCE: u64 = 8 * SECOND;
