//! The payee of tabs, in a process of its own: the library's node, which takes every tab that is
//! opened to it.

use std::io::{BufRead, Write};
use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::chain::LENGTH_MAX;
use quid_node::{Home, IncomingTab, Kind, Node, Options, TabPolicy};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::options::TabPayee;
use crate::report::Failure;

/// The name under which it is paid.
pub(crate) const NAME: &str = "tab-payee";

/// Units that one tab of a bench pays are of the currency's smallest.
pub(crate) const UNIT: u64 = 1;

/// Where the payee stands. All counts are since its process began.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Tabs taken.
    pub(crate) tabs: u64,
    /// Units that they have paid, each proven by its link.
    pub(crate) paid: u64,
    /// Claims in the log.
    pub(crate) claims: u64,
    /// Units that they moved.
    pub(crate) claimed: u64,
    /// Units of the balance beyond what the account began with.
    pub(crate) earned: u64,
}

/// Takes tabs until stdin ends. Says with an empty line that it can be paid, and answers each line
/// on stdin with its [`Standing`].
pub(crate) fn run(role: &TabPayee) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let home = Home::init(&role.home, &role.directory)?;
        let node = Node::start(home, options(role)?).await?;
        node.register(&NAME.parse()?).await?;
        let began_with = node.status().await?.balance;
        let mut lines = lines();
        println!();
        let mut taken: Vec<IncomingTab> = Vec::new();
        loop {
            tokio::select! {
                tab = node.next_tab() => taken.extend(tab),
                line = lines.recv() => {
                    if line.is_none() {
                        break;
                    }
                    let standing = standing(&node, &taken, began_with).await?;
                    println!("{}", serde_json::to_string(&standing)?);
                    std::io::stdout().flush()?;
                }
            }
        }
        node.close().await;
        Ok(())
    })
}

fn options(role: &TabPayee) -> Result<Options, Failure> {
    let worth = |units: u32| Amount::new(u64::from(units.min(LENGTH_MAX)) * UNIT);
    let tabs = TabPolicy {
        exposure: worth(role.exposure),
        unclaimed: worth(role.unclaimed),
        every: Duration::from_millis(role.every),
        ..TabPolicy::default()
    };
    let bind = ([127, 0, 0, 1], 0).into();
    Ok(Options {
        listen: true,
        bind,
        tabs,
        ..Options::default()
    })
}

async fn standing(
    node: &Node,
    taken: &[IncomingTab],
    began_with: Amount,
) -> Result<Standing, Failure> {
    let status = node.status().await?;
    let earned = status.balance.checked_sub(began_with);
    let history = node.history(usize::MAX, None).await?;
    let claims = history.iter().filter(|line| line.kind == Kind::Claim);
    Ok(Standing {
        tabs: taken.len() as u64,
        paid: taken.iter().map(|tab| u64::from(tab.paid())).sum(),
        claims: claims.clone().count() as u64,
        claimed: claims.map(|line| line.amount.units() / UNIT).sum(),
        earned: earned.ok_or("the payee has lost money")?.units() / UNIT,
    })
}

/// The lines on stdin, read by a thread of its own; ends with them.
pub(crate) fn lines() -> mpsc::Receiver<String> {
    let (line, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for read in std::io::stdin().lock().lines() {
            if read.map(|read| line.blocking_send(read)).is_err() {
                return;
            }
        }
    });
    lines
}
