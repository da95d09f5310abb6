//! Fuzzes [`quid_fuzz::ledger_rules`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| quid_fuzz::ledger_rules(bytes));
