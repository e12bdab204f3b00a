//! See `prestaged::fuzzing::probe`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::probe(data));
