//! Counter of allocations, by Rust and by the C and C++ of the measured libraries.
//!
//! This program's `malloc` and its relatives replace those of the C library, and forward every call to them. While
//! nothing is counted, that costs a load and a jump that is always taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Begins to count. Returns the current count.
pub fn begin() -> u64 {
    COUNTING.store(true, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

/// Ends counting. Returns the current count, or `None` if allocations cannot be counted on this platform.
pub fn end() -> Option<u64> {
    COUNTING.store(false, Ordering::Relaxed);
    cfg!(target_env = "gnu").then(|| COUNT.load(Ordering::Relaxed))
}

#[cfg(target_env = "gnu")]
mod malloc {
    use libc::{c_int, c_void, size_t};

    use super::{COUNT, COUNTING, Ordering};

    // SAFETY: the signatures are those of glibc, which defines these functions.
    unsafe extern "C" {
        fn __libc_malloc(bytes: size_t) -> *mut c_void;
        fn __libc_calloc(count: size_t, bytes: size_t) -> *mut c_void;
        fn __libc_realloc(memory: *mut c_void, bytes: size_t) -> *mut c_void;
        fn __libc_memalign(alignment: size_t, bytes: size_t) -> *mut c_void;
    }

    #[inline]
    fn count() {
        if COUNTING.load(Ordering::Relaxed) {
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
    }

    // SAFETY: the C library's own function does the work with unchanged arguments, here and in the functions below. It
    // keeps the contract of `malloc`, and its `free` releases the memory.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: the arguments are those of the caller, who keeps the contract of `malloc`.
        unsafe { __libc_malloc(bytes) }
    }

    // SAFETY: the C library's own function does the work with unchanged arguments.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(number: size_t, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: the arguments are those of the caller, who keeps the contract of `calloc`.
        unsafe { __libc_calloc(number, bytes) }
    }

    // SAFETY: the C library's own function does the work with unchanged arguments.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(memory: *mut c_void, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: the arguments are those of the caller, who keeps the contract of `realloc`.
        unsafe { __libc_realloc(memory, bytes) }
    }

    // SAFETY: the C library's own function does the work with unchanged arguments.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn aligned_alloc(alignment: size_t, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: the arguments are those of the caller, who keeps the contract of `aligned_alloc`.
        unsafe { __libc_memalign(alignment, bytes) }
    }

    // SAFETY: the C library's own function does the work; the caller provides a valid `place` for the address.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: size_t, bytes: size_t) -> c_int {
        if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
            return libc::EINVAL;
        }
        count();
        // SAFETY: the alignment was checked, and any number of bytes is allowed.
        let memory = unsafe { __libc_memalign(alignment, bytes) };
        if memory.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller provides a valid `place`.
        unsafe { place.write(memory) };
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocation_counts_while_somebody_counts() {
        let before = begin();
        let memory = std::hint::black_box(vec![0_u8; 1000]);
        let after = end();
        assert!(after.is_none_or(|after| after > before), "{before} to {after:?} for {}", memory.len());
    }
}
