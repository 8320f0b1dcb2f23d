//! Channels and TCP on tokio: what a user writes around a thread that turns raft. The thread puts messages into a
//! channel for each peer; a task for each peer encodes and writes them, those that are there together; a task for each
//! incoming connection decodes messages into the channel of the thread.

use std::collections::BTreeMap;
use std::io;
use std::net;
use std::sync::mpsc;
use std::time::Duration;

use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::mpsc as tokio_mpsc;

use super::network::Endpoint;
use crate::raft::protocol::{Addresses, Id};

/// End of a node, beside the default runtime of tokio.
pub struct ChannelsTokioTcp {
    peers: BTreeMap<Id, tokio_mpsc::Sender<Message>>,
    /// Messages received. Raft's limit on appends under way bounds them.
    received: mpsc::Receiver<Message>,
    /// Runs the tasks until it is dropped.
    _runtime: Runtime,
}

impl Endpoint for ChannelsTokioTcp {
    type Bound = net::TcpListener;

    fn bind(ids: &[Id]) -> Result<Vec<(net::TcpListener, String)>, String> {
        let bind = |_| {
            let listener = net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            let address = listener.local_addr()?.to_string();
            Ok((listener, address))
        };
        ids.iter().map(bind).collect::<io::Result<_>>().map_err(|error| format!("cannot listen on 127.0.0.1: {error}"))
    }

    fn connect(listener: net::TcpListener, id: Id, addresses: &Addresses) -> Result<Self, String> {
        let runtime = Runtime::new().map_err(|error| error.to_string())?;
        let _inside = runtime.enter();
        let listener = TcpListener::from_std(listener).map_err(|error| error.to_string())?;
        let (give, received) = mpsc::channel();
        runtime.spawn(accept(listener, give));
        let mut peers = BTreeMap::new();
        for (peer, address) in addresses.iter().filter(|(peer, _)| **peer != id) {
            let (give, messages) = tokio_mpsc::channel(QUEUED);
            runtime.spawn(send(address.clone(), messages));
            peers.insert(*peer, give);
        }
        drop(_inside);
        Ok(Self { peers, received, _runtime: runtime })
    }

    fn send(&mut self, message: Message) -> bool {
        self.peers.get(&message.to).is_some_and(|peer| peer.try_send(message).is_ok())
    }

    fn receive(&mut self, timeout: Duration, each: &mut dyn FnMut(Message)) {
        if let Ok(first) = self.received.recv_timeout(timeout) {
            each(first);
            self.received.try_iter().take(AT_ONCE).for_each(each);
        }
    }
}

/// Writes the messages to one peer. Messages are lost with their connection, which raft expects.
async fn send(address: String, mut messages: tokio_mpsc::Receiver<Message>) {
    let (mut taken, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let Ok(mut socket) = connect(&address).await else {
            tokio::time::sleep(RETRY).await;
            continue;
        };
        while messages.recv_many(&mut taken, AT_ONCE).await > 0 {
            bytes.clear();
            for message in taken.drain(..) {
                put(&message, &mut bytes);
            }
            if socket.write_all(&bytes).await.is_err() {
                break;
            }
        }
        if messages.is_closed() {
            return;
        }
    }
}

async fn connect(address: &str) -> io::Result<TcpStream> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    Ok(socket)
}

async fn accept(listener: TcpListener, received: mpsc::Sender<Message>) {
    // Without descriptors left, no further connection can be served.
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(receive(socket, received.clone()));
    }
}

async fn receive(socket: TcpStream, received: mpsc::Sender<Message>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut socket, mut bytes) = (BufReader::with_capacity(BUFFER_BYTES, socket), Vec::new());
    loop {
        let length = socket.read_u32_le().await?;
        if length > MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes")));
        }
        bytes.resize(length as usize, 0);
        socket.read_exact(&mut bytes).await?;
        let message = Message::parse_from_bytes(&bytes)?;
        if received.send(message).is_err() {
            return Ok(());
        }
    }
}

fn put(message: &Message, bytes: &mut Vec<u8>) {
    let begin = bytes.len();
    bytes.extend([0; 4]);
    message.write_to_vec(bytes).expect("raft sets the required fields");
    let length = (bytes.len() - begin - 4) as u32;
    bytes[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
}

/// Messages that wait for one peer.
const QUEUED: usize = 4096;
/// Messages taken from a channel at once.
const AT_ONCE: usize = 256;
/// Bytes read from a connection at once.
const BUFFER_BYTES: usize = 64 << 10;
/// Most bytes of a message: above the limit of an append.
const MAX_BYTES: u32 = 16 << 20;
/// Time before a peer that is not there is dialled again.
const RETRY: Duration = Duration::from_millis(20);
