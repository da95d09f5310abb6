//! Fuzzes [`quid_fuzz::printable`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::printable(bytes));
