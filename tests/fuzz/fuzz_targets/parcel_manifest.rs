//! See `prestaged::fuzzing::parcel_manifest`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| prestaged::fuzzing::parcel_manifest(data));
