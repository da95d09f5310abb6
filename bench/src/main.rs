//! `quid-bench`: what a directory on this machine can do, beside the floors that bound it.
//!
//! Each scenario starts the real directory program as a process of its own, and the members that
//! load it as others, all speaking the real protocol over loopback. The last line on stdout is one
//! flat JSON object; bench/README.md says what each field means.

mod claim;
mod client;
mod crowd;
mod directory;
mod fill;
mod flood;
mod flooder;
mod floods;
mod floors;
mod idle;
mod large;
mod latency;
mod least;
mod login;
mod members;
mod options;
mod payees;
mod payers;
mod proofs;
mod report;
mod settle;
mod stream;
mod submit;
mod tab;
mod tab_members;
mod tab_payee;
mod tab_payers;
mod tabs;
mod usage;

use std::process::ExitCode;

use clap::Parser;

use crate::options::{Bench, Scenario};

fn main() -> ExitCode {
    let bench = Bench::parse();
    let result = match bench.scenario {
        Scenario::Settle(options) => settle::settle(&options),
        Scenario::Hot(options) => settle::hot(&options),
        Scenario::Latency(options) => settle::latency(&options),
        Scenario::Login(options) => login::login(&options),
        Scenario::Idle(options) => idle::idle(&options),
        Scenario::Large(options) => large::large(&options),
        Scenario::Restart(options) => large::restart(&options),
        Scenario::Audit(options) => large::audit(&options),
        Scenario::Tab(options) => tab::tab(&options),
        Scenario::Tick(options) => tab::tick(&options),
        Scenario::Tabs(options) => tabs::tabs(&options),
        Scenario::Claim(options) => claim::claim(&options),
        Scenario::Flood(options) => return ended(floods::floods(&options)),
        Scenario::Flooder(role) => return ended(flooder::run(&role)),
        Scenario::TabPayee(role) => return ended(tab_payee::run(&role)),
        Scenario::TabPayers(role) => return ended(tab_payers::run(&role)),
        Scenario::Payees(role) => return ended(payees::run(&role)),
        Scenario::Payers(role) => return ended(payers::run(&role)),
        Scenario::Greet => return ended(login::greet()),
        Scenario::Echo => return ended(floors::echo()),
    };
    ended(result.and_then(|report| report.print()))
}

fn ended(result: Result<(), report::Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quid-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
