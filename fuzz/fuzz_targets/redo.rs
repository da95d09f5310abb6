//! Fuzzes [`quid_fuzz::redo`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::redo(bytes));
