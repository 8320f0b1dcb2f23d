//! Counts how often memory is asked for, whoever asks: Rust, and the C and C++ of the libraries that are measured.
//!
//! This program's `malloc` and its kin stand before those of the C library, and hand everything on to them. While nobody
//! counts, that costs a load and a jump that is always taken.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static COUNTING: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);

/// Begins to count; answers where the count stands.
pub fn begin() -> u64 {
    COUNTING.store(true, Ordering::Relaxed);
    COUNT.load(Ordering::Relaxed)
}

/// Ends counting; answers where the count stands, or `None` where nothing can be counted.
pub fn end() -> Option<u64> {
    COUNTING.store(false, Ordering::Relaxed);
    cfg!(target_env = "gnu").then(|| COUNT.load(Ordering::Relaxed))
}

#[cfg(target_env = "gnu")]
mod malloc {
    use libc::{c_int, c_void, size_t};

    use super::{COUNT, COUNTING, Ordering};

    // SAFETY: the signatures are those of glibc, where these are.
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

    // SAFETY: of this and the following: the C library's own function does the work, with the arguments as they are, so
    // that what it promises is kept, and its `free` takes back what it gave.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn malloc(bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: as above.
        unsafe { __libc_malloc(bytes) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn calloc(number: size_t, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: as above.
        unsafe { __libc_calloc(number, bytes) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn realloc(memory: *mut c_void, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: as above.
        unsafe { __libc_realloc(memory, bytes) }
    }

    // SAFETY: as above.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn aligned_alloc(alignment: size_t, bytes: size_t) -> *mut c_void {
        count();
        // SAFETY: as above.
        unsafe { __libc_memalign(alignment, bytes) }
    }

    // SAFETY: as above; the caller gives a place for the address.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: size_t, bytes: size_t) -> c_int {
        if !alignment.is_power_of_two() || alignment < size_of::<*mut c_void>() {
            return libc::EINVAL;
        }
        count();
        // SAFETY: as above.
        let memory = unsafe { __libc_memalign(alignment, bytes) };
        if memory.is_null() {
            return libc::ENOMEM;
        }
        // SAFETY: the caller gives a valid place.
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
