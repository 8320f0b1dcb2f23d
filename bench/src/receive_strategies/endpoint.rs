//! One end of a connection, driven by an io_uring of its own according to a [`Plan`].

use std::hint::spin_loop;
use std::io;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;

use io_uring::cqueue::{buffer_more, buffer_select, more};
use io_uring::squeue::{Entry, Flags};
use io_uring::types::Fd;
use io_uring::{IoUring, cqueue, opcode};

use super::plan::{Plan, Receive, Send, Wait};
use super::provided::{GROUP, ProvidedBuffers};
use super::registered::RegisteredRing;

/// Socket and the ring that drives it. An endpoint stays on the thread that made it.
pub struct Endpoint {
    registered: RegisteredRing,
    /// Declared before the buffers, so that it is dropped before them.
    ring: IoUring,
    socket: TcpStream,
    plan: Plan,
    inbound: Inbound,
    /// True while the kernel holds a receive.
    armed: bool,
    /// True while the kernel holds a send that will complete.
    sending: bool,
    ended: bool,
}

enum Inbound {
    Contiguous(Box<[u8]>),
    Provided(ProvidedBuffers),
}

impl Endpoint {
    /// Returns an endpoint with a ring for the calling thread.
    pub fn new(socket: TcpStream, plan: Plan) -> io::Result<Self> {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag().build(64)?;
        let registered = RegisteredRing::new(&ring)?;
        let provided = |count, bytes, incremental| {
            ProvidedBuffers::register(&ring, count, bytes, incremental).map(Inbound::Provided)
        };
        let inbound = match plan.receive {
            Receive::OneShot | Receive::OneShotPollFirst => Inbound::Contiguous(vec![0; 256 << 10].into_boxed_slice()),
            Receive::Multishot => provided(16, 64 << 10, false)?,
            Receive::Bundle => provided(64, 16 << 10, false)?,
            Receive::Incremental => provided(4, 256 << 10, true)?,
        };
        Ok(Self { registered, ring, socket, plan, inbound, armed: false, sending: false, ended: false })
    }

    /// Returns whether the last [`send`](Self::send) is still under way.
    pub fn sending(&self) -> bool {
        self.sending
    }

    /// Returns whether the peer has ended its stream.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Sends `bytes`. Bytes that go through the ring are submitted at the next [`turn`](Self::turn).
    ///
    /// `bytes` are static because the kernel may read them after this returns.
    pub fn send(&mut self, bytes: &'static [u8]) -> io::Result<()> {
        let rest = match self.plan.send {
            Send::Direct => self.send_now(bytes)?,
            Send::Completion | Send::SkipSuccess => bytes,
        };
        if rest.is_empty() {
            return Ok(());
        }
        let entry = opcode::Send::new(Fd(self.socket.as_raw_fd()), rest.as_ptr(), rest.len() as u32)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build()
            .user_data(SEND);
        if self.plan.send == Send::SkipSuccess {
            self.push(&entry.flags(Flags::SKIP_SUCCESS));
        } else {
            self.push(&entry);
            self.sending = true;
        }
        Ok(())
    }

    /// Waits for at least one completion, and passes received bytes to `sink`.
    pub fn turn(&mut self, mut sink: impl FnMut(&[u8])) -> io::Result<()> {
        if !self.armed && !self.ended {
            self.arm();
        }
        self.wait()?;
        while let Some(completion) = self.next_completion() {
            match completion.user_data() {
                SEND => {
                    self.sending = false;
                    result(&completion)?;
                }
                _ => self.received(&completion, &mut sink)?,
            }
        }
        Ok(())
    }

    /// Ends the stream, and receives until the peer has ended its own. Afterwards the kernel holds none of this end's
    /// memory.
    pub fn finish(mut self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Write)?;
        while !self.ended || self.sending {
            self.turn(|_| ())?;
        }
        Ok(())
    }

    fn arm(&mut self) {
        let socket = Fd(self.socket.as_raw_fd());
        let entry = match (&mut self.inbound, self.plan.receive) {
            (Inbound::Contiguous(buffer), receive) => {
                let first = if receive == Receive::OneShotPollFirst { POLL_FIRST } else { 0 };
                opcode::Recv::new(socket, buffer.as_mut_ptr(), buffer.len() as u32).ioprio(first).build()
            }
            (Inbound::Provided(_), Receive::Bundle) => opcode::RecvMultiBundle::new(socket, GROUP).build(),
            (Inbound::Provided(_), _) => opcode::RecvMulti::new(socket, GROUP).build(),
        };
        self.push(&entry.user_data(RECEIVE));
        self.armed = true;
    }

    fn push(&mut self, entry: &Entry) {
        // SAFETY: sends read static memory. Receives write to `inbound`, which is dropped after the ring; `finish`
        // waits for their end before that.
        unsafe { self.ring.submission().push(entry) }.expect("at most two requests at a time");
    }

    fn wait(&mut self) -> io::Result<()> {
        match self.plan.wait {
            Wait::Parked => self.enter(1),
            Wait::SpinEnter => {
                self.enter(0)?;
                while self.ring.completion().is_empty() {
                    self.enter(0)?;
                }
                Ok(())
            }
            Wait::SpinFlag => loop {
                if self.work_announced() {
                    self.enter(0)?;
                }
                if !self.ring.completion().is_empty() {
                    return Ok(());
                }
                spin_loop();
            },
        }
    }

    /// Returns whether there is a reason to enter the kernel, by reading shared memory.
    fn work_announced(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun()
    }

    /// Submits what was pushed, runs deferred work, and waits for at least `want` completions, in one system call.
    fn enter(&mut self, want: u32) -> io::Result<()> {
        let submit = self.ring.submission().len() as u32;
        // SAFETY: `push` ensures that the memory of the submitted requests stays valid.
        unsafe { self.registered.enter(submit, want) }
    }

    fn next_completion(&mut self) -> Option<cqueue::Entry> {
        self.ring.completion().next()
    }

    fn received(&mut self, completion: &cqueue::Entry, sink: &mut impl FnMut(&[u8])) -> io::Result<()> {
        self.armed = more(completion.flags());
        if completion.result() == -libc::ENOBUFS {
            return Ok(());
        }
        let mut length = result(completion)?;
        self.ended |= length == 0;
        match &mut self.inbound {
            Inbound::Contiguous(buffer) => sink(&buffer[..length]),
            Inbound::Provided(buffers) => {
                let Some(mut id) = buffer_select(completion.flags()) else {
                    return Ok(());
                };
                while length > buffers.bytes() {
                    length -= buffers.bytes();
                    sink(buffers.consume(id, buffers.bytes()));
                    buffers.recycle(id);
                    id = buffers.after(id);
                }
                sink(buffers.consume(id, length));
                if !buffer_more(completion.flags()) {
                    buffers.recycle(id);
                }
                buffers.publish();
            }
        }
        Ok(())
    }

    /// Sends as much as the socket's buffer takes. Returns the rest.
    fn send_now(&self, bytes: &'static [u8]) -> io::Result<&'static [u8]> {
        // SAFETY: pointer and length are those of `bytes`.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                bytes.as_ptr().cast(),
                bytes.len(),
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        match usize::try_from(sent) {
            Ok(sent) => Ok(&bytes[sent..]),
            Err(_) => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(bytes),
                error => Err(error),
            },
        }
    }
}

fn result(completion: &cqueue::Entry) -> io::Result<usize> {
    usize::try_from(completion.result()).map_err(|_| io::Error::from_raw_os_error(-completion.result()))
}

const RECEIVE: u64 = 0;
const SEND: u64 = 1;

/// Flag `IORING_RECVSEND_POLL_FIRST`.
const POLL_FIRST: u16 = 1;
