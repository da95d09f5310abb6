//! Pays once and says how it ended:
//!
//! ```text
//! pay-once HOME PAYEE AMOUNT [REFERENCE]
//! ```
//!
//! HOME is a folder made by `quid init`, with a name registered by `quid register`.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use quid_node::{Home, Node, Options, Payment, State};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (home, payee, amount, reference) = match arguments.as_slice() {
        [home, payee, amount] => (home, payee, amount, None),
        [home, payee, amount, reference] => (home, payee, amount, Some(reference.parse()?)),
        _ => return Err("usage: pay-once HOME PAYEE AMOUNT [REFERENCE]".into()),
    };

    let node = Node::start(Home::open(Path::new(home))?, Options::default()).await?;
    // Logging in tells the currency, and with it what "2.50" means.
    let currency = node.login().await?.currency;
    let mut payment = Payment::new(payee.parse()?, currency.parse(amount)?);
    payment.reference = reference;

    let outcome = node.pay(payment).await?;
    let code = match outcome.state {
        State::Settled { entry, .. } => {
            println!(
                "paid {} to {payee} (entry {entry})",
                currency.display(outcome.amount)
            );
            ExitCode::SUCCESS
        }
        State::Refused { reason, .. } => {
            println!("not paid: {reason}");
            ExitCode::from(3)
        }
        // The journal in HOME holds the order: whoever opens it next asks on.
        State::Unknown => {
            println!("not known yet: order {}", outcome.order);
            ExitCode::from(4)
        }
    };
    node.close().await;
    Ok(code)
}
