//! rzmq, a ZeroMQ in Rust, with its io_uring backend. PUSH and PULL sockets are set up like those of the tuned libzmq,
//! on a runtime with a thread for each server.
//!
//! The backend is started once for the process and sleeps between runs. Multishot receives are on, as rzmq's
//! documentation recommends for throughput. Zero-copy sends, recommended for long messages, are off.

use std::error::Error;
use std::net::TcpListener;

use ::rzmq::socket::options::{IO_URING_RCVMULTISHOT, IO_URING_SESSION_ENABLED, RCVHWM, SNDHWM};
use ::rzmq::uring::{UringConfig, initialize_uring_backend};
use ::rzmq::{Context, Msg, Socket, SocketType, ZmqError};
use tokio::runtime::{Builder, Runtime};

use super::Outcome;
use crate::measure::Pinger;
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

/// One server: a socket to receive, and a socket to send to the other server.
struct Side {
    runtime: Runtime,
    context: Context,
    inbox: Socket,
    outbox: Socket,
}

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    let side = Side::new(rendezvous)?;
    side.runtime.block_on(async {
        let mut payload = vec![0; pinger.size()];
        while pinger.ask(&mut payload) {
            side.outbox.send(Msg::from_vec(payload.clone())).await?;
            pinger.answered(side.inbox.recv().await?.data().unwrap_or_default())?;
        }
        side.outbox.send(Msg::new()).await?;
        Outcome::Ok(())
    })?;
    side.end(rendezvous)
}

/// Answers in a round trip.
pub fn answer(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    let side = Side::new(rendezvous)?;
    side.runtime.block_on(async {
        loop {
            let message = side.inbox.recv().await?;
            if message.size() == 0 {
                return Ok::<(), ZmqError>(());
            }
            side.outbox.send(message).await?;
        }
    })?;
    side.end(rendezvous)
}

/// Sends as server 0, or receives as server 1.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let side = Side::new(participant.rendezvous())?;
    if participant.index() == 0 {
        let load = participant.load();
        side.runtime.block_on(async {
            for sequence in 0..load.count {
                let mut payload = vec![0; load.size];
                load.stamp(sequence, &mut payload);
                side.outbox.send(Msg::from_vec(payload)).await?;
            }
            Ok::<(), ZmqError>(())
        })?;
    } else {
        let checker = participant.checker()?;
        side.runtime.block_on(async {
            while !checker.is_complete() {
                checker.take(side.inbox.recv().await?.data().unwrap_or_default())?;
            }
            Outcome::Ok(())
        })?;
    }
    side.end(participant.rendezvous())
}

impl Side {
    fn new(rendezvous: &mut Rendezvous) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        // From the second call on, the backend reports that it is already initialized.
        let config = UringConfig { default_recv_multishot: true, ..UringConfig::default() };
        match runtime.block_on(async { initialize_uring_backend(config) }) {
            Ok(()) | Err(ZmqError::InvalidState(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let context = Context::new()?;
        let own = free_endpoint()?;
        let inbox = runtime.block_on(bound(&context, &own))?;
        let endpoints = rendezvous.exchange(own)?;
        let outbox = runtime.block_on(connected(&context, &endpoints[1 - rendezvous.index()]))?;
        Ok(Self { runtime, context, inbox, outbox })
    }

    /// Waits until the other server is done too, then closes the sockets: closing earlier could lose messages.
    fn end(self, rendezvous: &mut Rendezvous) -> Outcome {
        rendezvous.exchange(String::new())?;
        Ok(self.runtime.block_on(self.context.term())?)
    }
}

async fn bound(context: &Context, endpoint: &str) -> Result<Socket, ZmqError> {
    let socket = socket(context, SocketType::Pull).await?;
    socket.set_option(RCVHWM, QUEUED_MESSAGES).await?;
    socket.bind(endpoint).await?;
    Ok(socket)
}

async fn connected(context: &Context, endpoint: &str) -> Result<Socket, ZmqError> {
    let socket = socket(context, SocketType::Push).await?;
    socket.set_option(SNDHWM, QUEUED_MESSAGES).await?;
    socket.connect(endpoint).await?;
    Ok(socket)
}

async fn socket(context: &Context, kind: SocketType) -> Result<Socket, ZmqError> {
    let socket = context.socket(kind)?;
    socket.set_option(IO_URING_SESSION_ENABLED, true).await?;
    socket.set_option(IO_URING_RCVMULTISHOT, true).await?;
    Ok(socket)
}

/// Looks for a free port, because rzmq takes no wildcard for one.
fn free_endpoint() -> std::io::Result<String> {
    Ok(format!("tcp://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

const QUEUED_MESSAGES: i32 = 5000;
