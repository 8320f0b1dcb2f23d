//! libFuzzer runs [`cluster_fuzz::link`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::link(bytes));
