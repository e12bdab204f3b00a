//! See `prestaged::fuzzing::recipe`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::recipe(data));
