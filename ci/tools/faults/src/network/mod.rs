//! Network of the harness: a namespace for each server, joined by veth pairs and a bridge, which has a namespace too.
//! The network is not visible outside, and disappears when its namespaces are deleted.

mod address;
mod programs;
mod proxy;

use std::path::Path;
use std::process::{self, Command};

pub use address::Addresses;
pub use proxy::{Arguments as ProxyArguments, run as run_proxy};

use crate::failure::{Context, Failure};
use programs::{ip, namespaces, tc};

/// Network of the servers; deleted when dropped.
pub struct Network {
    /// Prefix of all names; `None` if the servers share the loopback of this host.
    prefix: Option<String>,
    addresses: Addresses,
}

impl Network {
    /// Makes a network of namespaces.
    pub fn isolated(nodes: usize) -> Result<Network, Failure> {
        programs::check()?;
        sweep()?;
        let prefix = format!("{PREFIX}{}", process::id());
        let network = Network { prefix: Some(prefix.clone()), addresses: Addresses::isolated() };
        // From here on, a failure drops `network`, which deletes the namespaces made so far.
        let hub = format!("{prefix}-hub");
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        for node in 0..nodes {
            let (name, port) = (network.namespace(node), port(node));
            ip(&["netns", "add", &name])?;
            ip(&["link", "add", &port, "netns", &hub, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
            ip(&["-n", &hub, "link", "set", &port, "master", "bridge", "up"])?;
            ip(&["-n", &name, "addr", "add", &format!("{}/24", network.addresses.host(node)), "dev", "eth0"])?;
            ip(&["-n", &name, "link", "set", "lo", "up"])?;
            ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        }
        Ok(network)
    }

    /// Returns a network on this host's loopback. Its only network faults are those of the proxies.
    pub fn loopback() -> Network {
        Network { prefix: None, addresses: Addresses::loopback() }
    }

    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Returns a command that runs this program in the namespace of a server, as one process: killing it kills the
    /// program.
    pub fn command(&self, node: usize, program: &Path) -> Command {
        if self.prefix.is_none() {
            return Command::new(program);
        }
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.namespace(node)]).arg(program);
        command
    }

    /// Takes the link of a server down, or up again.
    pub fn set_link(&self, node: usize, up: bool) -> Result<(), Failure> {
        let Some(prefix) = &self.prefix else { return Ok(()) };
        ip(&["-n", &format!("{prefix}-hub"), "link", "set", &port(node), if up { "up" } else { "down" }])
    }

    /// Begins or ends losing all packets from one server to another. Neither server is told.
    pub fn set_cut(&self, from: usize, to: usize, cut: bool) -> Result<(), Failure> {
        let action = if cut { "add" } else { "del" };
        let to = format!("{}/32", self.addresses.host(to));
        ip(&["-n", &self.namespace(from), "route", action, "blackhole", &to])
    }

    /// Limits the rate at which a server sends, in Mbit/s, or removes the limit.
    pub fn set_throttle(&self, node: usize, megabits: Option<u64>) -> Result<(), Failure> {
        let name = self.namespace(node);
        match megabits {
            Some(megabits) => {
                let rate = format!("{megabits}mbit");
                let shape = ["root", "tbf", "rate", &rate, "burst", "64kb", "latency", "50ms"];
                tc(&[&["-n", &name, "qdisc", "replace", "dev", "eth0"], &shape[..]].concat())
            }
            None => tc(&["-n", &name, "qdisc", "del", "dev", "eth0", "root"]),
        }
    }

    /// Resets the connections between two servers that do not go through proxies. Success is not reported: a kernel
    /// that cannot do it leaves the connections as they are.
    pub fn reset(&self, node: usize, other: usize) -> Result<(), Failure> {
        let destination = self.addresses.host(other);
        ip(&["netns", "exec", &self.namespace(node), "ss", "--kill", "--no-header", "--tcp", "dst", &destination])
    }

    /// Returns a text with the TCP sockets of a server's host, and their processes.
    pub fn sockets(&self, node: usize) -> String {
        let mut command = self.command(node, Path::new("ss"));
        match command.args(["--tcp", "--all", "--numeric", "--processes", "--extended", "--no-header"]).output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => format!("ss: {error}"),
        }
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.prefix.as_deref().unwrap_or_default())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if let Some(prefix) = &self.prefix {
            for name in namespaces().unwrap_or_default().iter().filter(|name| name.starts_with(&format!("{prefix}-"))) {
                let _ = ip(&["netns", "del", name]);
            }
        }
    }
}

/// Deletes the namespaces that killed conductors have left behind.
fn sweep() -> Result<(), Failure> {
    for name in namespaces().context(|| "cannot list the network namespaces".to_owned())? {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        let owner = owner.and_then(|owner| owner.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            // Another conductor may delete it at the same time.
            let _ = ip(&["netns", "del", &name]);
        }
    }
    Ok(())
}

/// Returns the name of the bridge's end of a server's cable.
fn port(node: usize) -> String {
    format!("port{node}")
}

const PREFIX: &str = "cluster-faults-";
