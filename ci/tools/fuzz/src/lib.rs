//! Fuzz targets for the decoders, for a link and for the configuration.
//!
//! Each target takes any bytes, and panics if the result for them is wrong. `ci/fuzz-run` has libFuzzer look for such
//! bytes; the tests of this package run the inputs that were written by hand or found.

mod allocations;
mod config;
mod input;
mod link;
mod wire;

pub use config::config;
pub use link::link;
pub use wire::{control, frames, greetings, segments};

/// Target, which panics if the bytes reveal an error.
pub type Target = fn(&[u8]);

/// All targets with their names, which are those of their folders of inputs.
pub const TARGETS: [(&str, Target); 6] = [
    ("segments", segments),
    ("greetings", greetings),
    ("control", control),
    ("frames", frames),
    ("link", link),
    ("config", config),
];
