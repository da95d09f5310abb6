//! Fuzzes [`quid_fuzz::receipts`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::receipts(bytes));
