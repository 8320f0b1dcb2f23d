//! rzmq, a ZeroMQ in Rust, with its io_uring backend: PUSH and PULL sockets as the tuned libzmq has them, on a runtime
//! with a thread for each server.
//!
//! The backend is started once for the process and sleeps between runs. Multishot receives are on, as its documentation
//! recommends for throughput; zero-copy sends, which it recommends for long messages, are off.

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

/// One server: where it receives, and where it sends to the other one.
struct Side {
    runtime: Runtime,
    context: Context,
    inbox: Socket,
    outbox: Socket,
}

/// Asks.
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

/// Answers.
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

/// Sends, or receives.
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
        // The second time it says that it is there already.
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

    /// Nobody leaves before the other one has received everything.
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

/// It takes no wildcard for a port, so that one is looked for here.
fn free_endpoint() -> std::io::Result<String> {
    Ok(format!("tcp://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?))
}

const QUEUED_MESSAGES: i32 = 5000;
