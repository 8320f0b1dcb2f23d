//! Notifications that end the wait of a shard, from applications and from other shards.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::task::Waker;
use std::thread::{self, Thread};

use atomic_waker::AtomicWaker;
use rustix::event::{EventfdFlags, eventfd};

/// Wake-up of a shard that waits: an eventfd, and a flag that says whether the shard sleeps.
///
/// No notification is lost. A thread that has work for the shard first makes the work visible (pushes it to a queue),
/// then calls [`notify`](Notifier::notify), which fences and reads `asleep`. The shard first sets `asleep`, then
/// fences, then checks its queues, and waits only if they are empty. One of the two sees what the other wrote: the
/// thread sees `asleep` and writes to the eventfd, or the shard sees the work. The eventfd counts, so a notification
/// between the shard's check and its wait ends the wait at once.
#[derive(Debug)]
pub struct Notifier {
    asleep: AtomicBool,
    wakes: Wakes,
    /// Task that turns the loop, if one does. It is woken without a system call.
    task: AtomicWaker,
}

/// Target of a notification.
#[derive(Debug)]
enum Wakes {
    /// A wait for this eventfd.
    Descriptor(OwnedFd),
    /// A parked thread: the first one that calls [`wait_here`](Notifier::wait_here).
    Thread(OnceLock<Thread>),
}

impl Notifier {
    /// Makes a notifier with an eventfd.
    ///
    /// # Errors
    /// Returns an error when the process has no descriptor left.
    pub fn new() -> io::Result<Notifier> {
        let descriptor = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Notifier { asleep: AtomicBool::new(false), wakes: Wakes::Descriptor(descriptor), task: AtomicWaker::new() })
    }

    /// Makes a notifier that unparks a thread, for a loop that waits for no descriptor.
    pub fn for_thread() -> Notifier {
        Notifier { asleep: AtomicBool::new(false), wakes: Wakes::Thread(OnceLock::new()), task: AtomicWaker::new() }
    }

    /// Makes the calling thread the one that a notification unparks, unless another one called this before. The thread
    /// may park after [`fall_asleep`](Notifier::fall_asleep).
    pub fn wait_here(&self) {
        if let Wakes::Thread(thread) = &self.wakes {
            thread.get_or_init(thread::current);
        }
    }

    /// Wakes the shard if it sleeps. The work for the shard must be visible before this call.
    #[inline]
    pub fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// Makes `waker` the one that the next notification wakes, in place of the descriptor.
    pub fn register(&self, waker: &Waker) {
        self.task.register(waker);
    }

    /// Makes notifications go to the descriptor again.
    pub fn forget_task(&self) {
        drop(self.task.take());
    }

    #[cold]
    fn wake(&self) {
        if let Some(task) = self.task.take() {
            return task.wake();
        }
        let descriptor = match &self.wakes {
            Wakes::Descriptor(descriptor) => descriptor,
            Wakes::Thread(thread) => return thread.get().map_or((), Thread::unpark),
        };
        // The write fails only when the counter is full, and then the wait ends anyway.
        let _ = rustix::io::write(descriptor, &1u64.to_ne_bytes());
    }

    /// Marks the shard as asleep. The shard must check its queues once more before it waits.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Marks the shard as awake.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Returns whether the shard sleeps. The answer is a hint: the flag is read without a fence.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// Returns the eventfd that a driver waits for; -1 if this notifier unparks a thread.
    pub(super) fn descriptor(&self) -> RawFd {
        self.as_fd().map_or(-1, |descriptor| descriptor.as_raw_fd())
    }

    /// Returns the eventfd that a driver waits for, if there is one.
    pub(super) fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        match &self.wakes {
            Wakes::Descriptor(descriptor) => Some(descriptor.as_fd()),
            Wakes::Thread(_) => None,
        }
    }
}
