//! Starting a server.

use std::collections::HashSet;
use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use cluster_engine::{Local, LoopFailed, Pid, Tenant, Unavailable};

use crate::outbox::first_id;
use crate::{
    Checksum, Config, ConfigError, Connect, Engine, Events, Handle, Inbox, Neighbours, Node, Outbox, Threading,
};

/// Starts the server `pid` of `config`.
///
/// # Errors
/// [`StartError`] says what is in the way, and what to do about it.
///
/// ```
/// # use cluster::Config;
/// let config = Config::new([(1, "127.0.0.1:18111"), (2, "127.0.0.1:18112")])?;
/// let one = cluster::start(1, &config)?;
/// assert!(cluster::start(1, &config).unwrap_err().to_string().contains("runs already"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start(pid: Pid, config: &Config) -> Result<Node, StartError> {
    Builder::new(pid, config).start()
}

/// Starts a server in a way of its own.
#[derive(Debug)]
#[must_use = "a builder does nothing until it starts a server"]
pub struct Builder<'a> {
    pid: Pid,
    config: &'a Config,
    engine: Option<Engine>,
    listener: Option<TcpListener>,
}

impl<'a> Builder<'a> {
    /// The server `pid` of `config`.
    pub fn new(pid: Pid, config: &'a Config) -> Builder<'a> {
        Builder { pid, config, engine: None, listener: None }
    }

    /// Runs it on `engine`, whatever the configuration says of threading.
    pub fn engine(mut self, engine: &Engine) -> Builder<'a> {
        self.engine = Some(engine.clone());
        self
    }

    /// Accepts peers on a socket that listens already, at the server's address or where that leads.
    pub fn listener(mut self, listener: TcpListener) -> Builder<'a> {
        self.listener = Some(listener);
        self
    }

    /// Starts the server.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way, and what to do about it.
    pub fn start(self) -> Result<Node, StartError> {
        let Builder { pid, config, engine, listener } = self;
        config.validate()?;
        let address = config.require(pid)?.address.clone();
        let registration = Registration::new(&config.cluster, pid, &address)?;
        if config.raise_descriptor_limit {
            cluster_engine::raise_descriptor_limit();
        }
        let listener = match listener {
            Some(listener) => listener,
            None => listen(&address)?,
        };
        let mut peers = Vec::new();
        for member in config.servers.iter().filter(|member| member.pid != pid) {
            peers.push((member.pid, resolve(&member.address)?));
        }
        peers.sort_by_key(|(pid, _)| *pid);
        let engine = match (engine, config.threading) {
            (Some(engine), _) => engine,
            (None, Threading::Dedicated { shards }) => Engine::dedicated(shards, config.idle)?,
            (None, Threading::Inline) => Engine::inline(config.idle)?,
            (None, _) => Engine::shared(config.idle)?,
        };
        let mut incarnation = [0; 16];
        getrandom::fill(&mut incarnation).map_err(|error| StartError::Random(error.to_string()))?;
        let secret = getrandom::u64().map_err(|error| StartError::Random(error.to_string()))?;
        let local = Local {
            pid,
            incarnation,
            secret,
            cluster: config.cluster.clone(),
            window_bytes: config.inbox_bytes & !7,
            max_envelope_bytes: config.max_envelope_bytes,
            socket_bytes: usize::try_from(config.socket_bytes).unwrap_or(usize::MAX),
            checksum_payload: config.checksum == Checksum::Payload,
            heartbeat_interval: Duration::from_millis(config.heartbeat_interval_ms),
            peer_timeout: Duration::from_millis(config.peer_timeout_ms),
            eager: config.connect == Connect::Eager,
        };
        let pids = peers.iter().map(|(pid, _)| *pid).collect();
        let memory = config.neighbours == Neighbours::Memory;
        let ring_bytes = usize::try_from(config.outbox_bytes).unwrap_or(usize::MAX);
        let attached = engine.inner.attach(Tenant { local, listener, peers, ring_bytes, memory })?;
        let drive = attached.tenancy.drive().clone();
        Ok(Node::new(
            Inbox::new(attached.receiver, drive),
            Outbox::new(attached.sender, pid, first_id(config.first_message_id, &incarnation)),
            Events::new(attached.events),
            Handle::new(pid, pids, attached.tenancy, registration),
        ))
    }
}

pub(crate) fn resolve(address: &str) -> Result<Vec<SocketAddr>, StartError> {
    let fail = |error| StartError::Resolve { address: address.to_owned(), error };
    let mut addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
    // A name such as "localhost" may stand for both; all servers must agree on the one to try first.
    addresses.sort_by_key(SocketAddr::is_ipv6);
    Ok(addresses)
}

fn listen(address: &str) -> Result<TcpListener, StartError> {
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

/// A listener goes with its process (see the engine's `driver/doors.rs`), but whoever starts a successor may not have waited
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
    fn new(cluster: &str, pid: Pid, address: &str) -> Result<Registration, StartError> {
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

/// A server could not be started.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration is not right, or does not know the pid.
    Config(ConfigError),
    /// The server runs already in this process.
    AlreadyRunning {
        /// Its pid.
        pid: Pid,
    },
    /// The server's own address could not be listened on.
    Listen {
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// An address leads nowhere.
    Resolve {
        /// The address.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The kernel lacks or forbids io_uring, or something of it.
    Engine(Unavailable),
    /// The event loops of the engine that was to run the server have failed.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
    /// The operating system gave no random bytes for the incarnation.
    Random(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Config(error) => error.fmt(f),
            StartError::AlreadyRunning { pid } => {
                write!(f, "server {pid} runs already in this process; stop it first, or give this one another pid")
            }
            StartError::Listen { address, error } if error.kind() == io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use: another process listens there; stop it, or configure another port")
            }
            StartError::Listen { address, error } => {
                write!(f, "cannot listen on {address}: {error}; configure an address of this machine")
            }
            StartError::Resolve { address, error } => {
                write!(f, "{address} leads nowhere: {error}; correct the host name in the configuration")
            }
            StartError::Engine(error) => error.fmt(f),
            StartError::EngineFailed { message } => {
                write!(f, "the event loops of this engine have failed ({message}); start the server on another engine")
            }
            StartError::Random(error) => write!(f, "no random bytes to be had: {error}; is /dev/urandom there?"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Listen { error, .. } | StartError::Resolve { error, .. } => Some(error),
            StartError::Config(error) => Some(error),
            StartError::Engine(error) => Some(error),
            StartError::AlreadyRunning { .. } | StartError::EngineFailed { .. } | StartError::Random(_) => None,
        }
    }
}

impl From<ConfigError> for StartError {
    fn from(error: ConfigError) -> StartError {
        StartError::Config(error)
    }
}

impl From<LoopFailed> for StartError {
    fn from(failed: LoopFailed) -> StartError {
        StartError::EngineFailed { message: failed.message }
    }
}

impl From<Unavailable> for StartError {
    fn from(error: Unavailable) -> StartError {
        StartError::Engine(error)
    }
}
