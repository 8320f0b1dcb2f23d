//! rzmq, a ZeroMQ in Rust, with its io_uring backend: PUSH and PULL sockets as the tuned libzmq has them, on one runtime
//! with two threads.
//!
//! The backend is started once for the process and sleeps between runs. Multishot receives are on, as its documentation
//! recommends for throughput; zero-copy sends, which it recommends for long messages, are off.

use std::net::TcpListener;
use std::thread;

use ::rzmq::socket::options::{IO_URING_RCVMULTISHOT, IO_URING_SESSION_ENABLED, RCVHWM, SNDHWM};
use ::rzmq::uring::{UringConfig, initialize_uring_backend};
use ::rzmq::{Context, Msg, Socket, SocketType, ZmqError};
use tokio::runtime::{Builder, Runtime};

use super::Outcome;
use crate::measure::{Checker, Pinger};

/// One server: where it receives, and where it sends to the other one.
struct Side {
    inbox: Socket,
    outbox: Socket,
}

pub fn round_trip(pinger: &mut Pinger) -> Outcome {
    let (runtime, context, [near, far]) = sides()?;
    let result = thread::scope(|scope| -> Outcome {
        let echo = scope.spawn(|| runtime.block_on(echo(&far)));
        runtime.block_on(async {
            let mut payload = vec![0; pinger.size()];
            while pinger.ask(&mut payload) {
                near.outbox.send(Msg::from_vec(payload.clone())).await?;
                pinger.answered(near.inbox.recv().await?.data().unwrap_or_default())?;
            }
            near.outbox.send(Msg::new()).await?;
            Outcome::Ok(())
        })?;
        Ok(echo.join().expect("the echo does not panic")?)
    });
    runtime.block_on(context.term())?;
    result
}

async fn echo(side: &Side) -> Result<(), ZmqError> {
    loop {
        let message = side.inbox.recv().await?;
        if message.size() == 0 {
            return Ok(());
        }
        side.outbox.send(message).await?;
    }
}

pub fn one_way(checker: &mut Checker) -> Outcome {
    let (runtime, context, [near, far]) = sides()?;
    let load = checker.load();
    let result = thread::scope(|scope| -> Outcome {
        let sender = scope.spawn(|| {
            runtime.block_on(async {
                for sequence in 0..load.count {
                    let mut payload = vec![0; load.size];
                    load.stamp(sequence, &mut payload);
                    near.outbox.send(Msg::from_vec(payload)).await?;
                }
                near.inbox.recv().await.map(drop)
            })
        });
        runtime.block_on(async {
            while !checker.is_complete() {
                checker.take(far.inbox.recv().await?.data().unwrap_or_default())?;
            }
            far.outbox.send(Msg::from_static(b"all there")).await?;
            Outcome::Ok(())
        })?;
        Ok(sender.join().expect("the sender does not panic")?)
    });
    runtime.block_on(context.term())?;
    result
}

fn sides() -> Result<(Runtime, Context, [Side; 2]), Box<dyn std::error::Error + Send + Sync>> {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let sides = runtime.block_on(async {
        // The second time it says that it is there already.
        let config = UringConfig { default_recv_multishot: true, ..UringConfig::default() };
        match initialize_uring_backend(config) {
            Ok(()) | Err(ZmqError::InvalidState(_)) => {}
            Err(error) => return Err(error),
        }
        let context = Context::new()?;
        let [near, far] = [free_endpoint()?, free_endpoint()?];
        let inboxes = [bound(&context, &near).await?, bound(&context, &far).await?];
        let outboxes = [connected(&context, &far).await?, connected(&context, &near).await?];
        let [near, far] = inboxes;
        let [to_far, to_near] = outboxes;
        Ok((context, [Side { inbox: near, outbox: to_far }, Side { inbox: far, outbox: to_near }]))
    });
    let (context, sides) = sides?;
    Ok((runtime, context, sides))
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
