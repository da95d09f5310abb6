//! Fuzzes [`quid_fuzz::data_folder`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::data_folder(bytes));
