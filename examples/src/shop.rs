//! A shop with a few things on offer, each sold once:
//!
//! ```text
//! shop HOME THINGS
//! ```
//!
//! Every thing has a reference that the payment must carry. The node takes no order without one
//! that it issued and that is unused, and tells of a payment once, after its receipt is verified:
//! so whatever `Event::Received` names may be handed over.

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;
use std::sync::Arc;

use quid_node::{Decision, Event, Home, Node, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [home, things] = arguments.as_slice() else {
        return Err("usage: shop HOME THINGS".into());
    };
    let things: u32 = things.parse()?;

    let home = Home::open(Path::new(home))?;
    let currency = home
        .currency()
        .ok_or("register a name first: quid register NAME")?;
    let price = currency.parse("2.50")?;
    let options = Options {
        listen: true,
        require_reference: true,
        // Too little is declined, so that the customer keeps the money and the reference.
        accept: Some(Arc::new(move |order| {
            if order.amount >= price {
                Decision::Accept
            } else {
                Decision::Decline
            }
        })),
        ..Options::default()
    };
    let node = Node::start(home, options).await?;
    node.login().await?;

    let mut events = node.events();
    let mut on_offer = HashMap::new();
    for thing in 1..=things {
        let reference = node.new_reference()?;
        println!(
            "offer {thing}: {}, reference {reference}",
            currency.display(price)
        );
        on_offer.insert(reference, thing);
    }

    while !on_offer.is_empty() {
        let Some(event) = events.next().await else {
            break;
        };
        let Event::Received {
            payer,
            reference: Some(reference),
            entry,
            ..
        } = event
        else {
            continue;
        };
        if let Some(thing) = on_offer.remove(&reference) {
            println!("handing over thing {thing} to {payer} (entry {entry})");
        }
    }
    println!("sold out");
    node.close().await;
    Ok(())
}
