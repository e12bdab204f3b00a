//! See `prestaged::fuzzing::host`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::host(data));
