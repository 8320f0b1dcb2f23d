//! Limit on the memory that a piece of work holds.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct MeasuringAllocator;

#[global_allocator]
static ALLOCATOR: MeasuringAllocator = MeasuringAllocator;

thread_local! {
    /// Bytes that this thread has allocated less those that it has freed. Freeing another thread's memory can make it
    /// negative. `MOST` is the maximum that this has been.
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

/// Runs `work`, which may hold `limit` bytes more than were held before it.
///
/// # Panics
/// Panics if `work` held more at any time.
pub fn within<T>(limit: usize, work: impl FnOnce() -> T) -> T {
    let before = HELD.get();
    MOST.set(before);
    let result = work();
    let most = MOST.get() - before;
    assert!(most <= limit as isize, "{most} bytes were allocated at a time, {limit} are allowed");
    result
}

fn count(bytes: isize) {
    // A thread that ends has no counters any more, and they are not needed then.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        let _ = MOST.try_with(|most| most.set(most.get().max(held.get())));
    });
}

#[allow(unsafe_code, reason = "an allocator is made of unsafe functions")]
// SAFETY: every call is forwarded unchanged to the system's allocator, which keeps the contract of `GlobalAlloc`.
unsafe impl GlobalAlloc for MeasuringAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of this function, which is that of the system's allocator.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller keeps the contract of this function, which is that of the system's allocator.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: the caller keeps the contract of this function, which is that of the system's allocator.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller keeps the contract of this function, which is that of the system's allocator.
        unsafe { System.dealloc(memory, layout) }
    }
}
