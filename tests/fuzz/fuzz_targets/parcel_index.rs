//! See `prestaged::fuzzing::parcel_index`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::parcel_index(data));
