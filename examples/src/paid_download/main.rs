//! Sells a file chunk by chunk, and buys it, each chunk paid before the next is handed over:
//!
//! ```text
//! paid-download sell HOME FILE PRICE [--window CHUNKS] [--listen ADDRESS]
//! paid-download buy HOME SELLER ADDRESS FILE_ID OUT --most AMOUNT [--ahead CHUNKS] [--rate BYTES]
//! ```
//!
//! Either side may be killed at any time and run again: the buyer goes on where its file ends and on
//! the same tab, and pays for no chunk twice. The money is on the tab, the data on a plain TCP
//! connection that names the tab; README.md says what that does and does not protect.

mod buy;
mod manifest;
mod progress;
mod sell;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use quid_common::name::Name;

use crate::manifest::FileId;

#[derive(Debug, Parser)]
#[command(name = "paid-download", about = "Sells or buys a file, chunk by chunk")]
enum Command {
    /// Sells a file to whoever pays, until it is stopped.
    Sell(Sell),
    /// Buys a file, or the rest of it.
    Buy(Buy),
}

#[derive(Debug, Args)]
struct Sell {
    /// A folder made by `quid init`, with a name registered by `quid register`.
    home: PathBuf,
    /// What is sold.
    file: PathBuf,
    /// What a chunk of 64 KiB costs.
    price: String,
    /// Chunks that are handed over before they are paid.
    #[arg(long, default_value_t = 0)]
    window: u32,
    /// Where buyers connect for the data.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
struct Buy {
    /// A folder made by `quid init`, with a name registered by `quid register`.
    home: PathBuf,
    /// The seller's name.
    seller: Name,
    /// Where the seller hands out the data.
    address: SocketAddr,
    /// Which file: what the seller printed, got from whoever recommends the file.
    file: FileId,
    /// Where it is put. Until it is whole, what there is of it is in OUT.part.
    out: PathBuf,
    /// The most that the whole file may cost.
    #[arg(long)]
    most: String,
    /// Chunks that are paid before they have come.
    #[arg(long, default_value_t = 2)]
    ahead: u32,
    /// Bytes a second, at most.
    #[arg(long)]
    rate: Option<u32>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = match Command::parse() {
        Command::Sell(sell) => sell::run(&sell).await,
        Command::Buy(buy) => buy::run(&buy).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("paid-download: {error}");
            ExitCode::FAILURE
        }
    }
}
