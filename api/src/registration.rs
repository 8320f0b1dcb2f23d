//! What a server holds of its machine: the address that it listens on, and its pid in this process.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_engine::Pid;

use crate::start_error::StartError;

/// The addresses that an address or a name with a port stands for, those of IPv4 first.
pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, StartError> {
    let fail = |error| StartError::Resolve { address: address.to_owned(), error };
    let mut addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    // A name such as "localhost" may stand for both; all servers must agree on the one to try first.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// Listens on an address. Waits for a moment if it is in use.
pub(crate) fn listen(address: &str) -> Result<TcpListener, StartError> {
    let candidates = resolve(address)?;
    let give_up = Instant::now() + RELEASE_TIME;
    loop {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in &candidates {
            // Listening sockets get SO_REUSEADDR from the standard library, so that an address can be used again at once.
            match TcpListener::bind(candidate) {
                Ok(listener) => return Ok(listener),
                Err(error) => failure = error,
            }
        }
        if failure.kind() != io::ErrorKind::AddrInUse || Instant::now() >= give_up {
            return Err(StartError::Listen { address: address.to_owned(), error: failure });
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A listener goes with its process (see the engine's `driver/listeners.rs`), but whoever starts a successor may not have waited
/// for the end of the process it has killed. The successor should not have to be started twice.
const RELEASE_TIME: Duration = Duration::from_millis(500);

/// The servers that run in this process: cluster, pid and address of each.
static RUNNING: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

type Identity = (String, Pid, String);

/// The right to run one server; given back when dropped.
#[derive(Debug)]
pub(crate) struct Registration {
    identity: Identity,
}

impl Registration {
    pub(crate) fn new(cluster: &str, pid: Pid, address: &str) -> Result<Registration, StartError> {
        let identity = (cluster.to_owned(), pid, address.to_owned());
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if running.get_or_insert_default().insert(identity.clone()) {
            Ok(Registration { identity })
        } else {
            Err(StartError::AlreadyRunning { pid })
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = running.as_mut() {
            running.remove(&self.identity);
        }
    }
}
