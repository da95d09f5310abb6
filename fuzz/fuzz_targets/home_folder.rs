//! Fuzzes [`quid_fuzz::home_folder`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::home_folder(bytes));
