//! Atomics of this crate, imported in one place so that loom can replace them.
//!
//! A build with `--cfg loom` uses loom's types, which record every access and try every order in which threads can see
//! it. Any other build uses those of the standard library.

#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    thread::yield_now,
};

#[cfg(loom)]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
    thread::yield_now,
};
