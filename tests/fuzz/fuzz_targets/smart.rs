//! See `prestaged::fuzzing::smart`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::smart(data));
