//! libFuzzer runs [`cluster_fuzz::control`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::control(bytes));
