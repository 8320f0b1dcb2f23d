//! Starting a server.

use std::net::TcpListener;
use std::time::Duration;

use cluster_engine::{Local, NodeConfig, Pid};

use crate::outbox::first_id;
use crate::registration::{Registration, listen, resolve};
use crate::start_error::StartError;
use crate::{Checksum, Config, Connect, Engine, Events, Handle, Inbox, Neighbours, Node, Outbox};

/// Starts the server `pid` of `config`.
///
/// The server listens on its configured address. It does not wait for its peers: envelopes to a peer that has not
/// started wait for it.
///
/// # Errors
/// [`StartError`] if the configuration is invalid or has no such server, if the server already runs in this process,
/// if it cannot listen on its address, if an address cannot be resolved, or if io_uring cannot be used. The error names
/// the cause and the remedy.
///
/// ```
/// use cluster::Config;
///
/// let config = Config::new([(1, "127.0.0.1:18111"), (2, "127.0.0.1:18112")])?;
/// let one = cluster::start(1, &config)?;
/// assert!(cluster::start(1, &config).unwrap_err().to_string().contains("runs already"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn start(pid: Pid, config: &Config) -> Result<Node, StartError> {
    Builder::new(pid, config).start()
}

/// Builder of a server with its own engine or listener.
///
/// ```
/// use cluster::{Builder, Config, Server};
/// use std::net::TcpListener;
///
/// // Port 0: the operating system chooses a free port.
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let address = listener.local_addr()?.to_string();
/// let config = Config::new([(1, address.as_str()), (2, "127.0.0.1:18142")])?;
/// let server = Builder::new(1, &config).listener(listener).start()?;
/// assert_eq!(server.peers(), [2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until it starts a server"]
pub struct Builder<'a> {
    pid: Pid,
    config: &'a Config,
    engine: Option<Engine>,
    listener: Option<TcpListener>,
}

impl<'a> Builder<'a> {
    /// Makes a builder for the server `pid` of `config`.
    pub fn new(pid: Pid, config: &'a Config) -> Builder<'a> {
        Builder { pid, config, engine: None, listener: None }
    }

    /// Runs the server on `engine`. This overrides the configured threading, driver and idle strategy.
    pub fn engine(mut self, engine: &Engine) -> Builder<'a> {
        self.engine = Some(engine.clone());
        self
    }

    /// Accepts peers on a socket that already listens. The socket must be reachable at the server's configured address,
    /// directly or through a proxy.
    pub fn listener(mut self, listener: TcpListener) -> Builder<'a> {
        self.listener = Some(listener);
        self
    }

    /// Starts the server, as [`start`](fn@start) does.
    ///
    /// # Errors
    /// [`StartError`] names the cause and the remedy: see [`start`](fn@start).
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
        let engine = match engine {
            Some(engine) => engine,
            None => Engine::start(config.threading, config.idle, config.driver)?,
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
        let parts = engine.inner.attach(NodeConfig { local, listener, peers, ring_bytes, memory })?;
        let loop_handle = parts.handle.loop_handle().clone();
        Ok(Node::new(
            Inbox::new(parts.receiver, loop_handle),
            Outbox::new(parts.sender, pid, first_id(config.first_message_id, &incarnation)),
            Events::new(parts.events),
            Handle::new(pid, pids, parts.handle, registration),
        ))
    }
}
