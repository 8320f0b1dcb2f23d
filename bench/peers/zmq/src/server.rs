//! Server among servers, each known by its number.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::socket::{Context, Error, Message, Pull, Push, Tuning};

/// One server: an inbox that all peers push to, and a connection to each peer.
///
/// An envelope is one message, whose first 16 bytes are the sender's pid and the message's id. Two parts would carry
/// the same, but cost libzmq a second pass through its queues.
pub struct ZmqServer {
    context: Context,
    inbox: Inbox,
    outbox: Outbox,
    tuning: Tuning,
}

/// Messages that other servers have pushed to this one.
pub struct Inbox(Pull);

/// Connections to all peers.
pub struct Outbox {
    pid: u64,
    peers: BTreeMap<u64, Push>,
}

impl ZmqServer {
    /// Binds a server to any free port of the loopback device.
    pub fn bind(context: &Context, pid: u64, tuning: Tuning) -> Result<Self, Error> {
        let inbox = Pull::bind(context, "tcp://127.0.0.1:*", tuning)?;
        inbox.set_timeout(RECEIVE_LIMIT)?;
        let outbox = Outbox { pid, peers: BTreeMap::new() };
        Ok(Self { context: context.clone(), inbox: Inbox(inbox), outbox, tuning })
    }

    /// Number of this server.
    pub fn pid(&self) -> u64 {
        self.outbox.pid
    }

    /// Returns the endpoint that peers connect to.
    pub fn endpoint(&self) -> Result<String, Error> {
        self.inbox.0.endpoint()
    }

    /// Connects to the peer that is bound at `endpoint`.
    pub fn add_peer(&mut self, pid: u64, endpoint: &str) -> Result<(), Error> {
        self.outbox.peers.insert(pid, Push::connect(&self.context, endpoint, self.tuning)?);
        Ok(())
    }

    /// Returns the numbers of all peers, in order.
    pub fn peers(&self) -> impl Iterator<Item = u64> {
        self.outbox.peers.keys().copied()
    }

    /// Splits the server into inbox and outbox, for one thread each.
    pub fn split(self) -> (Inbox, Outbox) {
        (self.inbox, self.outbox)
    }

    /// Sends an envelope to one peer; see [`Outbox::send`].
    pub fn send(&mut self, to: u64, id: i64, payload: &[u8]) -> Result<(), Error> {
        self.outbox.send(to, id, payload)
    }

    /// Sends an envelope to every peer; see [`Outbox::broadcast`].
    pub fn broadcast(&mut self, id: i64, payload: &[u8]) -> Result<(), Error> {
        self.outbox.broadcast(id, payload)
    }

    /// Receives an envelope; see [`Inbox::recv`].
    pub fn recv(&mut self, envelope: &mut Envelope) -> Result<(), Error> {
        self.inbox.recv(envelope)
    }
}

impl Outbox {
    /// Queues an envelope for one peer, and waits while too many are queued. An envelope to an unknown peer is dropped
    /// without an error, as by the libraries that this server stands for.
    pub fn send(&mut self, to: u64, id: i64, payload: &[u8]) -> Result<(), Error> {
        match self.peers.get_mut(&to) {
            Some(peer) => peer.send(envelope(self.pid, id, payload)?),
            None => Ok(()),
        }
    }

    /// Queues an envelope for one peer. Returns `false` and drops the envelope if too many are queued.
    pub fn try_send(&mut self, to: u64, id: i64, payload: &[u8]) -> Result<bool, Error> {
        match self.peers.get_mut(&to) {
            Some(peer) => peer.try_send(envelope(self.pid, id, payload)?),
            None => Ok(false),
        }
    }

    /// Queues an envelope for every peer.
    pub fn broadcast(&mut self, id: i64, payload: &[u8]) -> Result<(), Error> {
        let mut message = envelope(self.pid, id, payload)?;
        for peer in self.peers.values_mut() {
            peer.send(message.share()?)?;
        }
        Ok(())
    }
}

impl Outbox {
    /// Makes closing the outbox drop the envelopes that are still queued.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.peers.values().try_for_each(Push::forget)
    }
}

impl Inbox {
    /// Waits for the next envelope, which replaces `envelope`. Fails after 20 seconds without one. The payload stays
    /// where libzmq received it.
    pub fn recv(&mut self, envelope: &mut Envelope) -> Result<(), Error> {
        self.0.recv(&mut envelope.0)
    }

    /// Receives an envelope without waiting. Returns whether there was one.
    pub fn try_recv(&mut self, envelope: &mut Envelope) -> Result<bool, Error> {
        self.0.try_recv(&mut envelope.0)
    }
}

/// Envelope from an inbox.
pub struct Envelope(Message);

impl Envelope {
    /// Returns an envelope without content, for [`ZmqServer::recv`] to fill.
    pub fn empty() -> Self {
        Self(Message::empty())
    }

    /// Returns the sender's pid, or `None` if the message is too short to be an envelope.
    pub fn pid(&self) -> Option<u64> {
        self.0.bytes().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// Returns the sender's id for this message, or `None` if the message is too short to be an envelope.
    pub fn id(&self) -> Option<i64> {
        self.0.bytes().get(8..)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
    }

    /// Returns the payload; empty if the message is too short to be an envelope.
    pub fn payload(&self) -> &[u8] {
        self.0.bytes().get(PREFIX_BYTES..).unwrap_or_default()
    }
}

fn envelope(pid: u64, id: i64, payload: &[u8]) -> Result<Message, Error> {
    let mut message = Message::with_size(PREFIX_BYTES + payload.len())?;
    let bytes = message.bytes_mut();
    bytes[..8].copy_from_slice(&pid.to_le_bytes());
    bytes[8..16].copy_from_slice(&id.to_le_bytes());
    bytes[16..].copy_from_slice(payload);
    Ok(message)
}

const PREFIX_BYTES: usize = 16;
const RECEIVE_LIMIT: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicast_and_broadcast_arrive_with_sender_and_id() {
        let context = Context::new(1).unwrap();
        let mut servers: Vec<ZmqServer> =
            [100, 200, 300].map(|pid| ZmqServer::bind(&context, pid, Tuning::DEFAULT).unwrap()).into();
        let addresses: Vec<(u64, String)> =
            servers.iter().map(|server| (server.pid(), server.endpoint().unwrap())).collect();
        for server in &mut servers {
            let own = server.pid();
            for (pid, address) in addresses.iter().filter(|(pid, _)| *pid != own) {
                server.add_peer(*pid, address).unwrap();
            }
        }
        assert_eq!(servers[0].peers().collect::<Vec<_>>(), [200, 300]);

        servers[0].send(200, 7, b"to one").unwrap();
        servers[0].broadcast(8, b"to all").unwrap();
        servers[0].send(400, 9, b"to nobody").unwrap();

        let mut received = Envelope::empty();
        let mut expect = |server: usize, id, payload: &[u8]| {
            servers[server].recv(&mut received).unwrap();
            assert_eq!((received.pid(), received.id()), (Some(100), Some(id)));
            assert_eq!(received.payload(), payload);
        };
        expect(1, 7, b"to one");
        expect(1, 8, b"to all");
        expect(2, 8, b"to all");
    }
}
