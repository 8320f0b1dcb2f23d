//! The inputs that were written down or found, handed to the targets they belong to; and short random ones.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use cluster_fuzz::TARGETS;

/// `inputs/<target>/*`: seeds that show the fuzzer what there is, and what it has found once.
fn inputs(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_input_is_taken_as_it_should_be() {
    for (name, target) in TARGETS {
        let files = inputs(name);
        assert!(!files.is_empty(), "{name} has no inputs");
        for file in files {
            let bytes = fs::read(&file).unwrap();
            let taken = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
            assert!(taken.is_ok(), "{}", file.display());
        }
    }
}

/// Each cut short, and with each byte changed once, as far as that is quick.
#[test]
fn damaged_inputs_are_taken_too() {
    for (name, target) in TARGETS {
        for file in inputs(name) {
            let bytes = fs::read(&file).unwrap();
            for at in (0..bytes.len()).step_by(1 + bytes.len() / 512) {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x81;
                let taken = catch_unwind(AssertUnwindSafe(|| [&damaged[..], &bytes[..at]].map(target)));
                assert!(taken.is_ok(), "{}, byte {at}", file.display());
            }
        }
    }
}
