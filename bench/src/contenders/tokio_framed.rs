//! tokio with `LengthDelimitedCodec`, as most Rust programs would use it. Each side has a runtime with one thread; the
//! codec's buffers have 256 KiB, so that a stream of messages is sent in large writes.

use std::future::Future;
use std::io;
use std::net::TcpStream as StdStream;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::Outcome;
use super::frame::stream_ended;
use crate::loopback::between;
use crate::measure::{Checker, Load, Pinger};
use crate::participant::Participant;
use crate::rendezvous::Rendezvous;

type Connection = Framed<TcpStream, LengthDelimitedCodec>;

/// Asks in a round trip.
pub fn ask(rendezvous: &mut Rendezvous, pinger: &mut Pinger) -> Outcome {
    run(between(rendezvous)?, async |connection| ping(connection, pinger).await)
}

/// Answers in a round trip.
pub fn answer(rendezvous: &mut Rendezvous, _: usize) -> Outcome {
    run(between(rendezvous)?, echo)
}

async fn ping(mut connection: Connection, pinger: &mut Pinger) -> Outcome {
    let mut payload = vec![0; pinger.size()];
    while pinger.ask(&mut payload) {
        connection.send(Bytes::copy_from_slice(&payload)).await?;
        let answer = connection.next().await.ok_or_else(stream_ended)??;
        pinger.answered(&answer)?;
    }
    Ok(())
}

async fn echo(mut connection: Connection) -> Outcome {
    while let Some(payload) = connection.next().await {
        connection.send(payload?.freeze()).await?;
    }
    Ok(())
}

/// Sends as server 0, or receives as server 1.
pub fn one_way(participant: &mut Participant) -> Outcome {
    let (socket, load) = (between(participant.rendezvous())?, participant.load());
    if participant.index() == 0 {
        return run(socket, |connection| send(connection, load));
    }
    let checker = participant.checker()?;
    run(socket, async |connection| receive(connection, checker).await)
}

async fn send(mut connection: Connection, load: Load) -> Outcome {
    let mut payload = vec![0; load.size];
    for sequence in 0..load.count {
        load.stamp(sequence, &mut payload);
        connection.feed(Bytes::copy_from_slice(&payload)).await?;
    }
    SinkExt::<Bytes>::flush(&mut connection).await?;
    connection.next().await.ok_or_else(stream_ended)??;
    Ok(())
}

async fn receive(mut connection: Connection, checker: &mut Checker) -> Outcome {
    while !checker.is_complete() {
        checker.take(&connection.next().await.ok_or_else(stream_ended)??)?;
    }
    connection.send(Bytes::from_static(b"all there")).await?;
    Ok(())
}

fn run<F: Future<Output = Outcome>>(socket: StdStream, work: impl FnOnce(Connection) -> F) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let connection = framed(socket)?;
        work(connection).await
    })
}

fn framed(socket: StdStream) -> io::Result<Connection> {
    socket.set_nonblocking(true)?;
    let codec = LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec();
    let mut framed = Framed::with_capacity(TcpStream::from_std(socket)?, codec, BUFFER_BYTES);
    framed.set_backpressure_boundary(BUFFER_BYTES);
    Ok(framed)
}

const BUFFER_BYTES: usize = 256 << 10;
const MAX_FRAME_BYTES: usize = 1 << 30;
