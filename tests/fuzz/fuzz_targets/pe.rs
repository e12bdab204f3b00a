//! See `prestaged::fuzzing::pe`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::pe(data));
