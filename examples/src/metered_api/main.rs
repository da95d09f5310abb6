//! A toy model that answers token by token and is paid by the token:
//!
//! ```text
//! metered-api serve HOME PRICE [--window TOKENS] [--exposure TOKENS] [--listen ADDRESS] [--pace MS]
//! metered-api ask HOME SELLER ADDRESS QUESTION... --price AMOUNT --most TOKENS [--ahead TOKENS]
//! ```
//!
//! The model gives a few tokens on credit, its window, and goes on as they are paid; the client pays
//! for each token as it comes. Both resume after a kill. The connection is plain TCP, a line for
//! each thing said; README.md says what that does and does not protect.

mod ask;
mod model;
mod serve;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser};
use quid_common::name::Name;

#[derive(Debug, Parser)]
#[command(name = "metered-api", about = "Sells or buys answers, token by token")]
enum Command {
    /// Answers whoever pays, until it is stopped.
    Serve(Serve),
    /// Asks questions, one after another, on one tab.
    Ask(Ask),
}

#[derive(Debug, Args)]
struct Serve {
    /// A folder made by `quid init`, with a name registered by `quid register`.
    home: PathBuf,
    /// What a token costs.
    price: String,
    /// Tokens that are said before they are paid.
    #[arg(long, default_value_t = 4)]
    window: u32,
    /// Tokens that may be paid and not be on our disk yet: a kill loses so many at most.
    #[arg(long, default_value_t = 8)]
    exposure: u32,
    /// Where clients connect.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Milliseconds that the model thinks about each token.
    #[arg(long, default_value_t = 20)]
    pace: u64,
}

#[derive(Debug, Args)]
struct Ask {
    /// A folder made by `quid init`, with a name registered by `quid register`.
    home: PathBuf,
    /// The model's name.
    seller: Name,
    /// Where the model listens.
    address: SocketAddr,
    /// What to ask.
    #[arg(required = true)]
    questions: Vec<String>,
    /// The most that a token may cost.
    #[arg(long)]
    price: String,
    /// The most tokens of one answer.
    #[arg(long, default_value_t = 60)]
    most: u32,
    /// Tokens that are paid before they have come.
    #[arg(long, default_value_t = 0)]
    ahead: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let ended = match Command::parse() {
        Command::Serve(serve) => serve::run(&serve).await,
        Command::Ask(ask) => ask::run(&ask).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metered-api: {error}");
            ExitCode::FAILURE
        }
    }
}
