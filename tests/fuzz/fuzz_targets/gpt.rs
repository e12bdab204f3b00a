//! See `prestaged::fuzzing::gpt`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::gpt(data));
