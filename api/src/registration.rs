//! Resources that a running server occupies: its listening address, and its pid in this process.

use std::collections::HashSet;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_engine::Pid;

use crate::start_error::StartError;

/// Resolves `host:port` to its socket addresses, IPv4 first.
pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, StartError> {
    let fail = |error| StartError::Resolve { address: address.to_owned(), error };
    let mut addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    // A name such as "localhost" may resolve to both families. All servers must try the same one first.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

/// Opens a listening socket on an address. Retries for up to [`RELEASE_TIME`] if the address is in use.
pub(crate) fn listen(address: &str) -> Result<TcpListener, StartError> {
    let candidates = resolve(address)?;
    let give_up = Instant::now() + RELEASE_TIME;
    loop {
        let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for candidate in &candidates {
            // The standard library sets SO_REUSEADDR on listening sockets, so the address can be reused at once.
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

/// Time that [`listen`] waits for an address in use. The kernel closes a listener with its process (see the engine's
/// `driver/listeners.rs`), but a supervisor may start the successor before the killed process has ended. One start
/// should suffice.
const RELEASE_TIME: Duration = Duration::from_millis(500);

/// Servers running in this process: cluster, pid and address of each.
static RUNNING: Mutex<Option<HashSet<Identity>>> = Mutex::new(None);

type Identity = (String, Pid, String);

/// Registration of one running server. Dropping it removes the server from [`RUNNING`].
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
