//! Interface through which a child process drives its share of the mesh: servers of the engine, or bare connections.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::Receiver;

use super::protocol::{Command, Job, Progress};

/// Servers of one process: those of the engine, or bare connections.
pub trait Endpoints: Sized {
    /// Starts the servers of `job`, each on its listener; `addresses` are those of the whole mesh.
    fn start(job: &Job, listeners: Vec<TcpListener>, addresses: &[SocketAddr]) -> Result<Self, String>;

    /// Sends, if `sending`, and receives as much as possible without waiting. Returns whether anything was sent or
    /// received.
    fn pass(&mut self, sending: bool) -> Result<bool, String>;

    /// Waits until something can be received, at most [`REPORT_INTERVAL`](super::protocol::REPORT_INTERVAL).
    fn wait(&mut self) -> Result<(), String>;

    /// Returns whether everything was sent and received.
    fn is_exact(&self) -> bool;

    /// State of the exchange.
    fn progress(&mut self) -> Progress;

    /// Stays idle, as idle servers do, until the next command. Returns that command.
    fn idle(&mut self, commands: &Receiver<Command>) -> Result<Command, String>;

    /// Stops the servers.
    fn stop(self);
}
