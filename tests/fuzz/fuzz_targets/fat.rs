//! See `prestaged::fuzzing::fat`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::fat(data));
