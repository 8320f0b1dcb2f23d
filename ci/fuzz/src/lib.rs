//! What anybody may hand to the decoders, to a link and to the configuration.
//!
//! Each target takes any bytes at all, and panics if what is made of them is not as it should be. `ci/fuzz-run` has
//! libFuzzer look for such bytes; the tests of this package hand over those that were written down or found.

mod allocations;
mod config;
mod input;
mod link;
mod wire;

pub use config::config;
pub use link::link;
pub use wire::{control, frames, greetings, segments};

/// A target: panics when the bytes find something.
pub type Target = fn(&[u8]);

/// Every target with its name, which is that of its folder of inputs.
pub const TARGETS: [(&str, Target); 6] = [
    ("segments", segments),
    ("greetings", greetings),
    ("control", control),
    ("frames", frames),
    ("link", link),
    ("config", config),
];
