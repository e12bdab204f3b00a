//! See `prestaged::fuzzing::units`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::units(data));
