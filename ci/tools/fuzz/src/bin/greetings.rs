//! libFuzzer runs [`cluster_fuzz::greetings`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| cluster_fuzz::greetings(bytes));
