//! This project's engine, inline: the thread that turns raft also turns the event loop, and wakes nobody in between.
//! Messages are encoded where they are sent from, and decoded where they have arrived.

use std::net::TcpListener;
use std::time::Duration;

use cluster::{Builder, Config, Engine, Envelope, Handle, Idle, Inbox, Outbox, Split};
use protobuf::{CodedOutputStream, Message as _};
use raft::eraftpb::Message;

use super::network::Endpoint;
use crate::raft::protocol::{Addresses, Id};

/// End of a node on an engine without threads.
pub struct ClusterInline {
    inbox: Inbox,
    outbox: Outbox,
    _handle: Handle,
}

impl Endpoint for ClusterInline {
    type Bound = TcpListener;

    fn bind(ids: &[Id]) -> Result<Vec<(TcpListener, String)>, String> {
        let bind = |_| {
            let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
            let address = listener.local_addr().map_err(|error| error.to_string())?.to_string();
            Ok((listener, address))
        };
        ids.iter().map(bind).collect()
    }

    fn connect(listener: TcpListener, id: Id, addresses: &Addresses) -> Result<Self, String> {
        let config = Config::new(addresses.clone()).map_err(|error| error.to_string())?;
        let config = config.with_outbox_bytes(OUTBOX_BYTES);
        let engine = Engine::inline(Idle::default()).map_err(|error| error.to_string())?;
        let node = Builder::new(id, &config).engine(&engine).listener(listener).start();
        let Split { inbox, outbox, handle, .. } = node.map_err(|error| error.to_string())?.split();
        Ok(Self { inbox, outbox, _handle: handle })
    }

    fn send(&mut self, message: Message) -> bool {
        let (to, length) = (message.to, message.compute_size() as usize);
        if length > CLAIMED_BYTES {
            let bytes = message.write_to_bytes().expect("raft sets the required fields");
            return self.outbox.try_send(Envelope::to(to).body(bytes)).is_ok();
        }
        let Ok(claim) = self.outbox.try_claim(to, length) else { return false };
        let write = |buffer: &mut [u8]| {
            let mut out = CodedOutputStream::bytes(buffer);
            message.write_to_with_cached_sizes(&mut out).expect("the buffer has the computed size");
            out.flush().expect("memory takes all bytes");
        };
        claim.write(write).is_ok()
    }

    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Message)) {
        self.inbox.drain_wait(Some(timeout), |envelope| {
            // Peers send only messages; raft can lose one.
            if let Ok(message) = Message::parse_from_bytes(envelope.msg) {
                each(message);
            }
        });
    }
}

/// Most bytes of a message that is encoded in place. Above it, a buffer of its own saves the copy into the ring.
const CLAIMED_BYTES: usize = 16 << 10;
/// Bytes that wait for one peer. The default of 1 MiB is full after 250 writes of 4 KiB, and raft then sends one append
/// at a time until it is answered. The channels of the yardstick take as much.
const OUTBOX_BYTES: u64 = 16 << 20;
