//! Servers whose event loop an async runtime or another reactor turns.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

pub use cluster_engine::Turn;

/// Means to turn the event loop of an engine under [`Threading::Reactor`](crate::Threading::Reactor).
///
/// The engine has no thread. A reactor waits until the [descriptor](AsFd) is readable, then calls
/// [`turn`](Reactor::turn) until it has found nothing to do. With the feature `tokio`, `drive` does that in a task. Any
/// thread may turn the loop, one at a time, and a task that does may move between threads.
///
/// ```
/// use cluster::{Builder, Config, Driver, Engine, Idle, Threading};
///
/// let config = Config::new([(1, "127.0.0.1:18131")])?;
/// let engine = Engine::start(Threading::Reactor, Idle::default(), Driver::Auto)?;
/// let node = Builder::new(1, &config).engine(&engine).start()?;
/// let reactor = engine.reactor().expect("the engine was made for one");
/// while reactor.turn()?.worked {}
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Reactor {
    pub(crate) inner: cluster_engine::Reactor,
}

impl AsFd for Reactor {
    /// Descriptor that becomes readable when there is something to do. It may be registered for edges or for levels,
    /// and must not be read from.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

impl AsRawFd for Reactor {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_fd().as_raw_fd()
    }
}

impl Reactor {
    /// Takes one bounded turn, without waiting: receives, sends, and processes timers.
    ///
    /// A turn that has [`worked`](Turn::worked) may have left something: call this again, at once or after other work. A
    /// turn that has not worked has armed the descriptor, with a timer too. A reactor that is told of edges clears its
    /// readiness only then.
    ///
    /// # Errors
    /// [`TurnError`] if there is nothing to turn any more.
    pub fn turn(&self) -> Result<Turn, TurnError> {
        match self.inner.turn() {
            Ok(Some(turn)) => Ok(turn),
            Ok(None) => Err(TurnError::Ended),
            Err(failed) => Err(TurnError::EngineFailed { message: failed.message }),
        }
    }
}

#[cfg(feature = "tokio")]
mod driving {
    use std::future::poll_fn;
    use std::io;
    use std::os::fd::OwnedFd;
    use std::sync::Arc;
    use std::task::{Context, Poll, ready};

    use tokio::io::unix::AsyncFd;

    use super::{Reactor, Turn, TurnError};

    /// Most turns of one poll. A busy loop then lets other tasks run.
    const TURNS: usize = 8;

    impl Reactor {
        /// Turns the event loop until the engine ends, in a task of tokio. Needs a runtime with I/O enabled, of one
        /// thread or of several.
        ///
        /// Servers on the engine send and receive as long as this future is polled. Dropping it stops them where they
        /// are; another call goes on.
        ///
        /// ```
        /// use cluster::{Builder, Config, Driver, Engine, Envelope, Idle, Server, Threading};
        ///
        /// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        /// let config = Config::new([(1, "127.0.0.1:18141"), (2, "127.0.0.1:18142")])?;
        /// let engine = Engine::start(Threading::Reactor, Idle::default(), Driver::Auto)?;
        /// let mut one = Builder::new(1, &config).engine(&engine).start()?;
        /// let mut two = Builder::new(2, &config).engine(&engine).start()?;
        /// tokio::spawn(engine.reactor().expect("the engine was made for one").drive());
        ///
        /// one.outbox().send(Envelope::to(2).body("hello"))?;
        /// assert_eq!(two.inbox().recv_async().await?.msg, "hello");
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// # })?;
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        ///
        /// # Errors
        /// The failure of the event loop, or of the runtime's registration of the descriptor.
        pub async fn drive(self) -> io::Result<()> {
            let registered = Registered { async_fd: self.inner.async_fd()?, reactor: self };
            poll_fn(|context| registered.poll(context)).await
        }
    }

    /// Reactor whose descriptor is registered with the runtime.
    struct Registered {
        async_fd: AsyncFd<Arc<OwnedFd>>,
        reactor: Reactor,
    }

    impl Registered {
        fn poll(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
            let Registered { async_fd, reactor } = self;
            for _ in 0..TURNS {
                // Taken before the turn: what becomes readable during the turn is another event, which `clear_ready`
                // leaves.
                let readable = match async_fd.poll_read_ready(context) {
                    Poll::Ready(readable) => Some(readable?),
                    Poll::Pending => None,
                };
                // Senders wake this task, without a system call.
                reactor.inner.register(context.waker());
                match reactor.turn() {
                    Ok(Turn { worked: true, .. }) => continue,
                    Ok(_) => {}
                    Err(TurnError::Ended) => return Poll::Ready(Ok(())),
                    Err(failed) => return Poll::Ready(Err(io::Error::other(failed))),
                }
                if let Some(mut readable) = readable {
                    readable.clear_ready();
                    drop(ready!(async_fd.poll_read_ready(context))?);
                } else {
                    return Poll::Pending;
                }
            }
            context.waker().wake_by_ref();
            Poll::Pending
        }
    }

    impl Drop for Registered {
        fn drop(&mut self) {
            self.reactor.inner.deregister();
        }
    }
}

/// Reason why there is nothing to turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TurnError {
    /// The handles of the engine and its servers are gone.
    Ended,
    /// The event loop has failed, and its servers have ended with it.
    EngineFailed {
        /// Description of the failure.
        message: String,
    },
}

impl fmt::Display for TurnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TurnError::Ended => f.write_str("the engine has ended: its handles and its servers are gone"),
            TurnError::EngineFailed { message } => {
                write!(f, "the event loop has failed: {message}; start the servers again, on another engine")
            }
        }
    }
}

impl std::error::Error for TurnError {}
