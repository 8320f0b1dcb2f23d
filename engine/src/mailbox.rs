//! The mailbox of a shard, through which applications reach it: two queues and a notifier.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc;
use std::task::Waker;
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::callback::caught;
use crate::delivery::InboxSender;
use crate::driver::{Listener, LocalAddr, Notifier};
use crate::events::EventQueue;
use crate::link::{LinkAccount, Local, Pid, Undelivered};
use crate::roster::{LinkKey, Roster};
use crate::stats::StatsTable;
use crate::stream::SendWindow;
use crate::time::Time;

/// Commands to a shard: rare messages, from many senders.
pub(crate) enum Command {
    /// A server starts.
    Start { init: Box<NodeInit>, listener: Listener },
    /// An outbox has opened a stream.
    Open { link: LinkKey, stream: Box<SendWindow> },
    /// A server stops. The shard delivers for at most `patience`, says goodbye to the peers, and reports what is
    /// undelivered.
    Stop { node: u32, patience: Duration, report: mpsc::Sender<Vec<Undelivered>> },
    /// A peer is added. The place of its link is empty.
    Add { link: LinkKey, pid: Pid, addresses: Vec<SocketAddr> },
    /// A peer has other addresses.
    Move { link: LinkKey, addresses: Vec<SocketAddr> },
    /// A peer is removed. The shard reports what the peer has not acknowledged.
    Remove { link: LinkKey, report: mpsc::Sender<Undelivered> },
    /// The traffic to and from a peer is blocked, or unblocked.
    Block { link: LinkKey, blocked: bool, report: mpsc::Sender<()> },
    /// The shard reports the state of a server's links.
    Account { node: u32, report: mpsc::Sender<Vec<LinkAccount>> },
    /// The inbox has found a malformed frame in a segment that arrived from a peer in this session. `lost` bytes of the
    /// segment are lost.
    Malformed { link: LinkKey, pid: Pid, session: u32, lost: u64 },
    /// An application is to be woken at a time.
    WakeAt { at: Time, alarm: Alarm },
    /// The engine ends.
    Shutdown,
}

/// Waker of an application that wants to be woken at a time.
#[derive(Debug)]
pub struct Alarm(Waker);

impl Alarm {
    pub(crate) fn new(waker: Waker) -> Alarm {
        Alarm(waker)
    }

    /// Wakes the application. A panic of its code ends nothing else.
    pub fn wake(self) {
        let _ = caught(|| self.0.wake());
    }
}

/// State of a server that starts.
pub(crate) struct NodeInit {
    /// Number of the server in this shard, unique in the engine's life.
    pub(crate) node: u32,
    pub(crate) local: Arc<Local>,
    /// Peers with their addresses. Links are numbered in this order.
    pub(crate) peers: Vec<(Pid, Vec<SocketAddr>)>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) inbox: InboxSender,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) stats: Arc<StatsTable>,
    /// Closes the outboxes if the loop fails.
    pub(crate) close_outboxes: Box<dyn Fn() + Send>,
    /// Local address, if the server is reachable through memory for other servers of the engine.
    pub(crate) local_addr: Option<LocalAddr>,
}

/// Signal to a shard: something is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A link has something to send.
    Link(LinkKey),
    /// An application waits until everything sent on the link is acknowledged.
    RequestAck(LinkKey),
    /// An inbox was emptied, and the peer may be given credit.
    Consumed(LinkKey),
    /// A wake-up only; nothing is ready.
    Nothing,
}

/// Mailbox of a shard.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: SegQueue<Command>,
    ready: SegQueue<Ready>,
    notifier: Arc<Notifier>,
    /// Number of wake-ups, written by the shard alone.
    wake_ups: AtomicU64,
    /// Set once the shard reads no more commands.
    closed: AtomicBool,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Command")
    }
}

impl Mailbox {
    pub(crate) fn new(notifier: Arc<Notifier>) -> Mailbox {
        Mailbox {
            commands: SegQueue::new(),
            ready: SegQueue::new(),
            notifier,
            wake_ups: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn command(&self, command: Command) {
        self.commands.push(command);
        self.notifier.notify();
        // The notifier has a fence: either this thread sees that the mailbox is closed, or the thread that closes it
        // sees the command.
        if self.closed.load(Ordering::Relaxed) {
            self.discard();
        }
    }

    /// Closes the mailbox: it is not read from now on. Discards its commands, so that the threads that wait for a
    /// report learn that there is none.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.discard();
    }

    fn discard(&self) {
        while self.next_command().is_some() || self.next_ready().is_some() {}
    }

    #[inline]
    pub(crate) fn ready(&self, ready: Ready) {
        self.ready.push(ready);
        self.notifier.notify();
    }

    /// Notifier that wakes the shard.
    pub(crate) fn notifier(&self) -> &Arc<Notifier> {
        &self.notifier
    }

    /// Returns whether the shard sleeps. The answer is a hint.
    #[inline]
    pub(crate) fn is_asleep(&self) -> bool {
        self.notifier.is_asleep()
    }

    pub(crate) fn next_command(&self) -> Option<Command> {
        pop(&self.commands)
    }

    pub(crate) fn next_ready(&self) -> Option<Ready> {
        pop(&self.ready)
    }

    /// Marks the shard as asleep before it waits. Returns `false`, and leaves it awake, if there are commands or
    /// signals to process first.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.notifier.fall_asleep();
        if self.commands.is_empty() && self.ready.is_empty() {
            return true;
        }
        self.notifier.wake_up();
        false
    }

    pub(crate) fn wake_up(&self) {
        self.notifier.wake_up();
        self.wake_ups.store(self.wake_ups() + 1, Ordering::Relaxed);
    }

    /// Returns the numbers of commands and signals that the shard has not read.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn backlog(&self) -> (usize, usize) {
        (self.commands.len(), self.ready.len())
    }

    /// Number of times that the shard has waited and was woken.
    pub(crate) fn wake_ups(&self) -> u64 {
        self.wake_ups.load(Ordering::Relaxed)
    }
}

/// Takes the next entry of a queue. Does not call `pop` on an empty queue, which would cost a full fence.
#[inline]
fn pop<T>(queue: &SegQueue<T>) -> Option<T> {
    if queue.is_empty() { None } else { queue.pop() }
}
