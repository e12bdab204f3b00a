//! See `prestaged::fuzzing::worker`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::worker(data));
