//! Addresses of servers and proxies.

use std::process;

/// Addresses of servers and of the proxies before them.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// First port on the loopback; `None` if servers have hosts of their own.
    base: Option<u32>,
}

impl Addresses {
    pub fn isolated() -> Addresses {
        Addresses { base: None }
    }

    /// Returns addresses with ports that depend on the conductor's process, so that two conductors can run.
    pub fn loopback() -> Addresses {
        Addresses { base: Some(10_000 + process::id() % 200 * PORTS) }
    }

    /// Returns the host of a server.
    pub fn host(&self, node: usize) -> String {
        if self.base.is_some() { LOOPBACK.to_owned() } else { format!("10.77.0.{}", node + 1) }
    }

    /// Returns the address of a server's listener.
    pub fn server(&self, node: usize) -> String {
        match self.base {
            Some(base) => format!("{LOOPBACK}:{}", base + node as u32),
            None => format!("{}:7000", self.host(node)),
        }
    }

    /// Returns the address at which `from` reaches a proxy that leads to `to`, on its own host.
    pub fn proxy(&self, from: usize, to: usize) -> String {
        match self.base {
            Some(base) => format!("{LOOPBACK}:{}", base + ((from + 1) * MOST_SERVERS + to) as u32),
            None => format!("{LOOPBACK}:{}", 7100 + to),
        }
    }
}

/// Most servers that have addresses.
pub const MOST_SERVERS: usize = 9;
const PORTS: u32 = ((MOST_SERVERS + 1) * MOST_SERVERS) as u32 + 10;
const LOOPBACK: &str = "127.0.0.1";
