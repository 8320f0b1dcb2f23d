//! The bell that ends a shard's wait, rung by applications and by other shards.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread::{self, Thread};

/// A bell: a descriptor that the shard's wait looks at, and a flag that says whether ringing is needed.
///
/// Why no ring is lost: whoever has work for the shard first makes it visible (pushes it to a queue), then calls
/// [`ring`](Bell::ring), which fences and looks at `asleep`. The shard first sets `asleep`, then fences, then looks at its
/// queues, and waits only if they are empty. Of the two, one sees what the other wrote: either the ringer sees `asleep`
/// and writes to the descriptor, or the shard sees the work. The descriptor counts, so a ring between the look and the
/// wait ends the wait at once.
#[derive(Debug)]
pub struct Bell {
    asleep: AtomicBool,
    wakes: Wakes,
}

/// What a stroke of the bell wakes.
#[derive(Debug)]
enum Wakes {
    /// Whoever waits for the descriptor.
    Descriptor(OwnedFd),
    /// The thread that parks: the first that [waits](Bell::wait_here).
    Thread(OnceLock<Thread>),
}

impl Bell {
    /// A bell that nobody waits for.
    pub fn new() -> io::Result<Bell> {
        // SAFETY: eventfd takes no pointers.
        let descriptor = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        if descriptor < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor was just made, and nobody else owns it.
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Bell { asleep: AtomicBool::new(false), wakes: Wakes::Descriptor(descriptor) })
    }

    /// A bell that wakes a parked thread, for what has no descriptor to wait for.
    pub fn for_thread() -> Bell {
        Bell { asleep: AtomicBool::new(false), wakes: Wakes::Thread(OnceLock::new()) }
    }

    /// This thread is the one that is woken, from now on. It may park once it has [fallen asleep](Bell::fall_asleep).
    pub fn wait_here(&self) {
        if let Wakes::Thread(thread) = &self.wakes {
            thread.get_or_init(thread::current);
        }
    }

    /// Wakes the shard if it sleeps. What it is to find must be visible before.
    #[inline]
    pub fn ring(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.strike();
        }
    }

    #[cold]
    fn strike(&self) {
        let descriptor = match &self.wakes {
            Wakes::Descriptor(descriptor) => descriptor,
            Wakes::Thread(thread) => return thread.get().map_or((), Thread::unpark),
        };
        let one = 1u64.to_ne_bytes();
        // SAFETY: eight readable bytes, as an eventfd takes. It fails only when the counter is full, and then the wait
        // ends anyway.
        unsafe { libc::write(descriptor.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// The shard is about to wait. It must look at its queues once more after this.
    pub fn fall_asleep(&self) {
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// The shard is awake.
    pub fn wake_up(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }

    /// Whether the shard sleeps, as far as can be seen without a fence: a hint.
    pub fn is_asleep(&self) -> bool {
        self.asleep.load(Ordering::Relaxed)
    }

    /// What a driver waits for; a bell for a thread has none.
    pub(super) fn descriptor(&self) -> RawFd {
        match &self.wakes {
            Wakes::Descriptor(descriptor) => descriptor.as_raw_fd(),
            Wakes::Thread(_) => -1,
        }
    }
}
