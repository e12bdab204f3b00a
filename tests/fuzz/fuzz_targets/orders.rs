//! See `prestaged::fuzzing::orders`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::orders(data));
