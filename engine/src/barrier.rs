//! A pair of memory barriers of unequal cost.
//!
//! A light barrier on one thread and a heavy barrier on another are ordered as two sequentially
//! consistent fences would be: if the light one comes first, what its thread stored before is seen
//! after the heavy one; if the heavy one comes first, what *its* thread stored before is seen after
//! the light one. The light one costs nothing, since it only holds the compiler to the order; the
//! heavy one makes the kernel run a full fence on every core that runs this process (`membarrier`,
//! a microsecond or two). Two light ones order nothing, and a light one does not pair with a
//! fence.

pub(crate) use imp::{available, heavy, light};

#[cfg(not(any(loom, miri)))]
mod imp {
    use std::sync::{
        OnceLock,
        atomic::{Ordering, compiler_fence},
    };

    /// Whether heavy barriers work here. The first call registers the process with the kernel.
    pub(crate) fn available() -> bool {
        static REGISTERED: OnceLock<bool> = OnceLock::new();
        *REGISTERED.get_or_init(|| membarrier(libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0)
    }

    /// The cheap side.
    #[inline(always)]
    pub(crate) fn light() {
        compiler_fence(Ordering::SeqCst);
    }

    /// The dear side; only where [`available`] said true.
    ///
    /// # Panics
    /// When the kernel refuses, which after a registration it does not: going on without the
    /// barrier would lose wake-ups.
    pub(crate) fn heavy() {
        let result = membarrier(libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED);
        assert_eq!(result, 0, "membarrier: {}", std::io::Error::last_os_error());
    }

    fn membarrier(command: libc::c_int) -> libc::c_long {
        // SAFETY: membarrier takes three integers and touches no memory of the caller's.
        unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
    }
}

/// Miri knows no membarrier; two fences are the stronger pair that it can run.
#[cfg(all(miri, not(loom)))]
mod imp {
    use std::sync::atomic::{Ordering, fence};

    pub(crate) fn available() -> bool {
        true
    }

    pub(crate) fn light() {
        fence(Ordering::SeqCst);
    }

    pub(crate) fn heavy() {
        fence(Ordering::SeqCst);
    }
}

/// Under loom both are a read-modify-write of one and the same atomic. Such operations stand in one
/// order and each acquires what the earlier ones released, which is the promise above and no more:
/// two fences would also pair with the doorbell's own fences, and so hide a fence or a heavy
/// barrier that is missing.
#[cfg(loom)]
mod imp {
    use crate::sync::{AtomicU32, Ordering};

    ::loom::lazy_static! {
        static ref CROSSING: AtomicU32 = AtomicU32::new(0);
    }

    pub(crate) fn available() -> bool {
        true
    }

    pub(crate) fn light() {
        CROSSING.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn heavy() {
        CROSSING.fetch_add(1, Ordering::AcqRel);
    }
}
