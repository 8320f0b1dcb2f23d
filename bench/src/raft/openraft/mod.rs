//! openraft 0.9 on tokio. A contender is a file that implements [`Network`](network::Network); everything else is the
//! same for all: log and state machine in memory, configuration, clients.
//!
//! Clients are tasks on the runtime of the leader's process, so that no network between clients and leader is measured.

mod caller;
mod counted;
mod log_store;
mod message;
mod network;
mod nodes;
mod none;
mod state_machine;
mod tokio_tcp;
mod tonic;
mod types;
mod zmq;

pub use nodes::OpenraftNodes;
pub use none::NoNetwork;
pub use tokio_tcp::TokioTcp;
pub use tonic::Tonic;
pub use zmq::Zmq;
