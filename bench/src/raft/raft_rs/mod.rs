//! tikv's raft 0.7, with messages in protobuf. A contender is a file that implements [`Endpoint`](network::Endpoint);
//! everything else is the same for all: log and state machine in memory, configuration, clients.
//!
//! Raft has no runtime of its own: one thread turns a node. Its clients live on the same thread, so that no way between
//! clients and leader is measured.

mod channels_tokio_tcp;
mod clients;
mod cluster_inline;
mod entry;
mod network;
mod node;
mod nodes;
mod none;
mod zmq;

pub use channels_tokio_tcp::ChannelsTokioTcp;
pub use cluster_inline::ClusterInline;
pub use nodes::RaftRsNodes;
pub use none::NoNetwork;
pub use zmq::Zmq;
