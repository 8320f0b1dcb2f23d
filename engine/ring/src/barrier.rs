//! Pair of memory barriers of unequal cost.
//!
//! A light barrier on one thread and a heavy barrier on another are ordered as two sequentially consistent fences would
//! be. If the light barrier comes first, every store before it is visible after the heavy one. If the heavy barrier
//! comes first, every store before *it* is visible after the light one.
//!
//! The light barrier costs nothing, since it only makes the compiler keep the order. The heavy barrier makes the kernel
//! run a full fence on every core that runs this process (`membarrier`, a microsecond or two). Two light barriers order
//! nothing, and a light barrier does not pair with a fence.

pub use imp::{available, heavy, light};

#[cfg(not(any(loom, miri)))]
mod imp {
    use std::sync::{
        OnceLock,
        atomic::{Ordering, compiler_fence},
    };

    /// Returns whether heavy barriers work here. The first call registers the process with the kernel.
    pub fn available() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
    }

    /// Runs the cheap barrier of the pair.
    #[inline(always)]
    pub fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    /// Runs the expensive barrier of the pair. Allowed only after [`available`] has returned `true`.
    ///
    /// # Panics
    /// Panics if the kernel refuses, which it does not after a registration. Without the barrier, wake-ups would be
    /// lost.
    pub fn heavy() {
        let result = membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        assert_eq!(result, 0, "membarrier: {}", std::io::Error::last_os_error());
    }

    fn membarrier(command: libc::c_int) -> libc::c_long {
        // SAFETY: membarrier takes three integers and touches no memory of the caller.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }
}

/// Barriers under miri, which has no membarrier: two fences, a stronger pair.
#[cfg(all(miri, not(loom)))]
mod imp {
    use std::sync::atomic::{Ordering, fence};

    /// Returns true.
    pub fn available() -> bool {
        true
    }

    /// Runs the cheap barrier of the pair.
    pub fn light() {
        fence(Ordering::SeqCst);
    }

    /// Runs the expensive barrier of the pair.
    pub fn heavy() {
        fence(Ordering::SeqCst);
    }
}

/// Barriers under loom: both are a read-modify-write of one atomic. Such operations have a single order, and each
/// acquires what the earlier ones released. This is exactly the documented guarantee. Two fences would also pair with
/// the doorbell's own fences, and so hide a missing fence or heavy barrier.
#[cfg(loom)]
mod imp {
    use crate::sync::{AtomicU32, Ordering};

    ::loom::lazy_static! {
        static ref CROSSING: AtomicU32 = AtomicU32::new(0);
    }

    /// Returns true.
    pub fn available() -> bool {
        true
    }

    /// Runs the cheap barrier of the pair.
    pub fn light() {
        CROSSING.fetch_add(1, Ordering::AcqRel);
    }

    /// Runs the expensive barrier of the pair.
    pub fn heavy() {
        CROSSING.fetch_add(1, Ordering::AcqRel);
    }
}
