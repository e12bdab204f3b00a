//! See `prestaged::fuzzing::wim_table`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::wim_table(data));
