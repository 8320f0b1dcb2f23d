//! How applications reach a shard: two queues and a notifier.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use std::sync::mpsc;
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::delivery::InboxSender;
use crate::driver::{Listener, LocalAddr, Notifier};
use crate::events::EventQueue;
use crate::link::{LinkAccount, Local, Pid, Undelivered};
use crate::roster::{LinkKey, Roster};
use crate::stats::StatsTable;
use crate::stream::SendWindow;

/// What is not hot and has many senders.
pub(crate) enum Command {
    /// A server starts.
    Start { init: Box<NodeInit>, listener: Listener },
    /// An outbox has opened a stream.
    Open { link: LinkKey, stream: Box<SendWindow> },
    /// A server stops: deliver for at most so long, say goodbye, and report.
    Stop { node: u32, patience: Duration, report: mpsc::Sender<Vec<Undelivered>> },
    /// A peer is added. The place of its link is empty.
    Add { link: LinkKey, pid: Pid, addresses: Vec<SocketAddr> },
    /// A peer is to be found elsewhere.
    Move { link: LinkKey, addresses: Vec<SocketAddr> },
    /// A peer is removed: say what it has not acknowledged.
    Remove { link: LinkKey, report: mpsc::Sender<Undelivered> },
    /// Nothing crosses to or from a peer any more, or everything does again.
    Block { link: LinkKey, blocked: bool, report: mpsc::Sender<()> },
    /// Somebody asks how the links stand.
    Account { node: u32, report: mpsc::Sender<Vec<LinkAccount>> },
    /// The inbox has found that a segment of a peer, which arrived in that session, holds a malformed frame: so many of
    /// its bytes are lost.
    Malformed { link: LinkKey, pid: Pid, session: u32, lost: u64 },
    /// The engine ends.
    Shutdown,
}

/// What a server brings along.
pub(crate) struct NodeInit {
    /// Its number in this shard, unique in the engine's life.
    pub(crate) node: u32,
    pub(crate) local: Arc<Local>,
    /// Each peer with where it may be; links are numbered in this order.
    pub(crate) peers: Vec<(Pid, Vec<SocketAddr>)>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) inbox: InboxSender,
    pub(crate) events: Arc<EventQueue>,
    pub(crate) stats: Arc<StatsTable>,
    /// Closes the outboxes, if the loop fails.
    pub(crate) close_outboxes: Box<dyn Fn() + Send>,
    /// Where other servers of the engine reach it through memory, if they and it want to.
    pub(crate) local_addr: Option<LocalAddr>,
}

/// Something to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    /// A link has something to send.
    Link(LinkKey),
    /// Somebody waits until everything is acknowledged.
    RequestAck(LinkKey),
    /// An inbox has been emptied, and a peer may be given credit.
    Consumed(LinkKey),
    /// Nothing is ready: only wakes whoever waits.
    Nothing,
}

/// The way into a shard.
#[derive(Debug)]
pub(crate) struct Mailbox {
    commands: SegQueue<Command>,
    ready: SegQueue<Ready>,
    notifier: Arc<Notifier>,
    /// Written by the shard alone.
    wake_ups: AtomicU64,
    /// Nobody reads commands any more.
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
        // The notifier has a fence: either this thread sees that the mailbox is closed, or the one that closes it sees the
        // command.
        if self.closed.load(Ordering::Relaxed) {
            self.discard();
        }
    }

    /// Closes the mailbox: nobody reads it from now on. Whoever waits for an answer learns that there is none.
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

    /// Whether the shard sleeps: a hint.
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

    /// Announces that the shard is about to wait; `false`: there is something to look at first.
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

    /// Commands and signals that the shard has not read.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn backlog(&self) -> (usize, usize) {
        (self.commands.len(), self.ready.len())
    }

    /// How often the shard has waited and was woken.
    pub(crate) fn wake_ups(&self) -> u64 {
        self.wake_ups.load(Ordering::Relaxed)
    }
}

/// An empty queue is left alone: to be told so by its `pop` costs a full fence.
#[inline]
fn pop<T>(queue: &SegQueue<T>) -> Option<T> {
    if queue.is_empty() { None } else { queue.pop() }
}
