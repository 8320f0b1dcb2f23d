//! Answering side: one task for each connection, which reads calls, polls their answers, and writes those that are
//! ready together. A call that takes long holds up no other.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::io::AsyncWrite;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

use super::frame::{self, Received};
use crate::raft::openraft::message::{Request, Response};
use crate::raft::openraft::types::Raft;

/// Accepts connections, and answers their calls.
pub async fn serve(listener: TcpListener, raft: Raft) {
    // Without descriptors left, no further connection can be served.
    while let Ok((socket, _)) = listener.accept().await {
        tokio::spawn(answer(socket, raft.clone()));
    }
}

async fn answer(socket: TcpStream, raft: Raft) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (reading, writing) = socket.into_split();
    let (received, running, unsent) = (Received::new(), FuturesUnordered::new(), Vec::new());
    let raft = &raft;
    let run = |id, request: Request| async move { (id, request.answer(raft).await) };
    let mut connection = Connection { reading, writing, received, running, run, unsent, written: 0 };
    poll_fn(|cx| connection.poll(cx)).await
}

struct Connection<F, R> {
    reading: OwnedReadHalf,
    writing: OwnedWriteHalf,
    received: Received,
    /// Calls without an answer.
    running: FuturesUnordered<F>,
    /// Starts a call.
    run: R,
    /// Answers, of which `written` bytes were written.
    unsent: Vec<u8>,
    written: usize,
}

impl<F: Future<Output = (u64, Response)>, R: Fn(u64, Request) -> F> Connection<F, R> {
    /// Does what can be done now. Is ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while let Poll::Ready(Some((id, response))) = self.running.poll_next_unpin(cx) {
                frame::put(id, &mut self.unsent, |out| response.encode(out));
            }
            // A peer that does not read its answers, or has too many calls, is not read either.
            if self.unsent.len() > MAX_UNSENT || self.running.len() >= MAX_RUNNING {
                break;
            }
            match self.received.poll_read(&mut self.reading, cx)? {
                Poll::Ready(0) => return Poll::Ready(Ok(())),
                Poll::Ready(_) => self.start()?,
                Poll::Pending => break,
            }
        }
        while self.written < self.unsent.len() {
            match Pin::new(&mut self.writing).poll_write(cx, &self.unsent[self.written..])? {
                Poll::Ready(count) => self.written += count,
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.written > MAX_UNSENT {
            // There is room again, and reading was left off.
            cx.waker().wake_by_ref();
        }
        self.unsent.clear();
        self.written = 0;
        Poll::Pending
    }

    fn start(&mut self) -> io::Result<()> {
        while let Some((id, message)) = self.received.next()? {
            let request =
                Request::decode(message).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            self.running.push((self.run)(id, request));
        }
        Ok(())
    }
}

/// Bytes of answers above which a connection is not read.
const MAX_UNSENT: usize = 1 << 20;
/// Calls without an answer above which a connection is not read.
const MAX_RUNNING: usize = 1024;
