//! The ZeroMQ version: the thread that turns raft sends through the outbox; a thread beside it receives from the inbox
//! into a channel.

use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use cluster_bench_zmq::{Context, Envelope, Outbox, Tuning, ZmqServer};
use protobuf::Message as _;
use raft::eraftpb::Message;

use super::network::Endpoint;
use crate::raft::protocol::{Addresses, Id};

/// End of a node with ZeroMQ's sockets.
pub struct Zmq {
    outbox: Outbox,
    received: Receiver<Message>,
    bytes: Vec<u8>,
}

impl Endpoint for Zmq {
    type Bound = ZmqServer;

    fn bind(ids: &[Id]) -> Result<Vec<(ZmqServer, String)>, String> {
        let context = Context::new(1).map_err(|error| error.to_string())?;
        let bind = |id: &Id| {
            let server = ZmqServer::bind(&context, *id, Tuning::DEFAULT)?;
            let endpoint = server.endpoint()?;
            Ok((server, endpoint))
        };
        ids.iter().map(bind).collect::<Result<_, cluster_bench_zmq::Error>>().map_err(|error| error.to_string())
    }

    fn connect(mut server: ZmqServer, id: Id, addresses: &Addresses) -> Result<Self, String> {
        for (peer, endpoint) in addresses.iter().filter(|(peer, _)| **peer != id) {
            server.add_peer(*peer, endpoint).map_err(|error| error.to_string())?;
        }
        let (mut inbox, outbox) = server.split();
        let (give, received) = channel();
        thread::spawn(move || {
            let mut envelope = Envelope::empty();
            loop {
                match inbox.recv(&mut envelope) {
                    Ok(()) => {}
                    Err(error) if error.is_timeout() => continue,
                    Err(_) => return,
                }
                // Peers send only messages; raft can lose one.
                let Ok(message) = Message::parse_from_bytes(envelope.payload()) else { continue };
                if give.send(message).is_err() {
                    return;
                }
            }
        });
        Ok(Self { outbox, received, bytes: Vec::new() })
    }

    fn send(&mut self, message: Message) -> bool {
        self.bytes.clear();
        message.write_to_vec(&mut self.bytes).expect("raft sets the required fields");
        self.outbox.try_send(message.to, 0, &self.bytes).unwrap_or(false)
    }

    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Message)) {
        if let Ok(first) = self.received.recv_timeout(timeout) {
            each(first);
            self.received.try_iter().take(AT_ONCE).for_each(each);
        }
    }
}

/// Messages taken from the channel at once.
const AT_ONCE: usize = 256;
