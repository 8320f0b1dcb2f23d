//! Who listens where.

use std::process;

/// The addresses of servers and of the proxies before them.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// The first port on the loopback; `None`: servers have hosts of their own.
    base: Option<u32>,
}

impl Addresses {
    pub fn isolated() -> Addresses {
        Addresses { base: None }
    }

    /// Ports that depend on the conductor's process, so that two of them can run.
    pub fn loopback() -> Addresses {
        Addresses { base: Some(10_000 + process::id() % 200 * PORTS) }
    }

    /// The host that a server is.
    pub fn host(&self, node: usize) -> String {
        if self.base.is_some() { LOOPBACK.to_owned() } else { format!("10.77.0.{}", node + 1) }
    }

    /// Where a server listens.
    pub fn server(&self, node: usize) -> String {
        match self.base {
            Some(base) => format!("{LOOPBACK}:{}", base + node as u32),
            None => format!("{}:7000", self.host(node)),
        }
    }

    /// Where `from` reaches a proxy that leads to `to`, on its own host.
    pub fn proxy(&self, from: usize, to: usize) -> String {
        match self.base {
            Some(base) => format!("{LOOPBACK}:{}", base + ((from + 1) * MOST_SERVERS + to) as u32),
            None => format!("{LOOPBACK}:{}", 7100 + to),
        }
    }
}

/// So many servers have addresses.
pub const MOST_SERVERS: usize = 9;
const PORTS: u32 = ((MOST_SERVERS + 1) * MOST_SERVERS) as u32 + 10;
const LOOPBACK: &str = "127.0.0.1";
