//! libFuzzer runs [`cluster_fuzz::config`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::config(bytes));
