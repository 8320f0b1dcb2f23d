//! libFuzzer runs [`cluster_fuzz::segments`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::segments(bytes));
