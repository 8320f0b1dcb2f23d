//! A server among servers, each known by its number.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::socket::{Context, Error, Message, Pull, Push, Tuning};

/// One server: an inbox that everybody pushes to, and a connection to each peer.
///
/// An envelope is one message, whose first 16 bytes are the sender's pid and the message's id. Two
/// parts would say the same, but cost libzmq a second trip through its queues.
pub struct ZmqServer {
    context: Context,
    inbox: Inbox,
    outbox: Outbox,
    tuning: Tuning,
}

/// What others have pushed to a server.
pub struct Inbox(Pull);

/// A connection to each peer.
pub struct Outbox {
    pid: u64,
    peers: BTreeMap<u64, Push>,
}

impl ZmqServer {
    /// Binds at any free port of the loopback device.
    pub fn bind(context: &Context, pid: u64, tuning: Tuning) -> Result<Self, Error> {
        let inbox = Pull::bind(context, "tcp://127.0.0.1:*", tuning)?;
        inbox.set_timeout(RECEIVE_LIMIT)?;
        let outbox = Outbox { pid, peers: BTreeMap::new() };
        Ok(Self { context: context.clone(), inbox: Inbox(inbox), outbox, tuning })
    }

    /// This server's number.
    pub fn pid(&self) -> u64 {
        self.outbox.pid
    }

    /// Where peers connect to.
    pub fn endpoint(&self) -> Result<String, Error> {
        self.inbox.0.endpoint()
    }

    /// Connects to the peer that is bound at `endpoint`.
    pub fn add_peer(&mut self, pid: u64, endpoint: &str) -> Result<(), Error> {
        self.outbox.peers.insert(pid, Push::connect(&self.context, endpoint, self.tuning)?);
        Ok(())
    }

    /// The numbers of all peers, in order.
    pub fn peers(&self) -> impl Iterator<Item = u64> {
        self.outbox.peers.keys().copied()
    }

    /// Gives out inbox and outbox, for a thread each.
    pub fn split(self) -> (Inbox, Outbox) {
        (self.inbox, self.outbox)
    }

    /// See [`Outbox::send`].
    pub fn send(&mut self, to: u64, id: i64, payload: &[u8]) -> Result<(), Error> {
        self.outbox.send(to, id, payload)
    }

    /// See [`Outbox::broadcast`].
    pub fn broadcast(&mut self, id: i64, payload: &[u8]) -> Result<(), Error> {
        self.outbox.broadcast(id, payload)
    }

    /// See [`Inbox::recv`].
    pub fn recv(&mut self, envelope: &mut Envelope) -> Result<(), Error> {
        self.inbox.recv(envelope)
    }
}

impl Outbox {
    /// Queues an envelope for one peer; waits while too many are queued. An unknown peer is not an
    /// error in this interface: the envelope is gone, as it is with the libraries it stands for.
    pub fn send(&mut self, to: u64, id: i64, payload: &[u8]) -> Result<(), Error> {
        match self.peers.get_mut(&to) {
            Some(peer) => peer.send(envelope(self.pid, id, payload)?),
            None => Ok(()),
        }
    }

    /// Queues an envelope for one peer; answers `false`, and it is gone, if too many are queued.
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
    /// What is still queued is not sent any more; closing does not wait for it.
    pub fn forget(&mut self) -> Result<(), Error> {
        self.peers.values().try_for_each(Push::forget)
    }
}

impl Inbox {
    /// Waits for the next envelope, and puts it in the place of `envelope`. Nothing for 20 seconds
    /// is an error. The payload stays where libzmq received it.
    pub fn recv(&mut self, envelope: &mut Envelope) -> Result<(), Error> {
        self.0.recv(&mut envelope.0)
    }

    /// The same without waiting; answers whether there was one.
    pub fn try_recv(&mut self, envelope: &mut Envelope) -> Result<bool, Error> {
        self.0.try_recv(&mut envelope.0)
    }
}

/// What came out of an inbox.
pub struct Envelope(Message);

impl Envelope {
    /// A place for [`ZmqServer::recv`] to fill.
    pub fn empty() -> Self {
        Self(Message::empty())
    }

    /// Who sent it, or `None` if it is too short to be an envelope.
    pub fn pid(&self) -> Option<u64> {
        self.0.bytes().first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
    }

    /// The sender's number for this message.
    pub fn id(&self) -> Option<i64> {
        self.0.bytes().get(8..)?.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
    }

    /// What was sent; empty if it is too short to be an envelope.
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
