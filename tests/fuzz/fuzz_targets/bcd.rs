//! See `prestaged::fuzzing::bcd`.

#![no_main]

// nt-hive's panics are caught by the reader; libFuzzer's hook would end the process before that.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| ())),
    |data: &[u8]| prestaged::fuzzing::bcd(data)
);
