//! Bytes and money on one line: in place on a terminal, a line for each tenth elsewhere.

use std::io::{IsTerminal, Write};

use quid_common::amount::{Amount, Currency};
use quid_common::tab::units;

use crate::manifest::{CHUNK_LEN, Manifest};

/// How far a download is.
#[derive(Debug)]
pub(crate) struct Progress {
    len: u64,
    chunks: u32,
    price: Amount,
    currency: Currency,
    in_place: bool,
    /// The tenth that was told last.
    told: Option<u32>,
}

impl Progress {
    pub(crate) fn new(manifest: &Manifest, price: Amount, currency: Currency) -> Self {
        Self {
            len: manifest.len,
            chunks: manifest.chunks(),
            price,
            currency,
            in_place: std::io::stdout().is_terminal(),
            told: None,
        }
    }

    /// Tells that so many chunks are here.
    pub(crate) fn show(&mut self, have: u32) {
        let tenth = have * 10 / self.chunks;
        if !self.in_place && self.told == Some(tenth) {
            return;
        }
        self.told = Some(tenth);
        let line = self.line(have);
        let mut out = std::io::stdout().lock();
        // Nobody needs to see it for the download to go on.
        let _ = match (self.in_place, have == self.chunks) {
            (true, false) => write!(out, "\r{line}"),
            (true, true) => writeln!(out, "\r{line}"),
            (false, _) => writeln!(out, "{line}"),
        };
        let _ = out.flush();
    }

    fn line(&self, have: u32) -> String {
        let bytes = (u64::from(have) * CHUNK_LEN).min(self.len);
        let full = (have * BAR_LEN / self.chunks) as usize;
        let bar = "#".repeat(full) + &".".repeat(BAR_LEN as usize - full);
        let money = |count| {
            let amount = units(self.price, count).unwrap_or(Amount::MAX);
            self.currency.format(amount)
        };
        format!(
            "[{bar}] {:5.1} of {:.1} MiB  {} of {} {}",
            mib(bytes),
            mib(self.len),
            money(have),
            money(self.chunks),
            self.currency.code()
        )
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

const BAR_LEN: u32 = 30;
