//! Fuzzes [`quid_fuzz::peer`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::peer(bytes));
