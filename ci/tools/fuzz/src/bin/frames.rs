//! libFuzzer runs [`cluster_fuzz::frames`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::frames(bytes));
