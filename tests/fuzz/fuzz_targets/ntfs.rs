//! See `prestaged::fuzzing::ntfs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::ntfs(data));
