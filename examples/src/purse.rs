//! The buyer's side: the tab that pays a seller, an earlier run's if that left one open.

use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::name::Name;
use quid_common::tab::units;
use quid_node::{Node, Opened, Role, Tab, TabItem, TabOpening, TabStage};
use tokio::time::sleep;

use crate::Failure;

/// Goes on with an open tab to `seller` that has units worth `unit` and that `fits`, or opens one
/// of so many `units`. Tabs that do not fit are closed.
///
/// # Errors
/// Why there is no tab, for people. If whether one is open is not known yet, the next run knows it.
pub async fn tab_to(
    node: &Node,
    seller: &Name,
    unit: Amount,
    units: u32,
    fits: impl Fn(&TabItem) -> bool,
) -> Result<Tab, Failure> {
    for item in ours(node, seller).await? {
        let tab = node.tab(item.tab).await?;
        if item.unit == unit && fits(&item) {
            return Ok(tab);
        }
        tab.close().await?;
    }
    let opening = TabOpening::new(seller.clone(), unit, units);
    match node.open_tab(opening).await?.state {
        Opened::Open(tab) => Ok(tab),
        Opened::Refused(reason) => Err(format!("the tab was refused: {reason}").into()),
        Opened::Unknown => Err("whether the tab is open is not known yet; run again".into()),
    }
}

/// Closes whatever tabs to `seller` are open, also those that earlier runs left. Gives what they
/// have paid.
///
/// # Errors
/// What could not be closed; its money comes back when the tab's time has passed.
pub async fn close_all(node: &Node, seller: &Name) -> Result<Amount, Failure> {
    let mut sum = Amount::ZERO;
    for item in ours(node, seller).await? {
        let closed = node.tab(item.tab).await?.close().await?;
        let paid = units(item.unit, closed.paid);
        sum = paid
            .and_then(|paid| sum.checked_add(paid))
            .ok_or("more than there is")?;
    }
    Ok(sum)
}

/// The tabs to `seller` that can be paid on, once it is known of all whether they opened.
async fn ours(node: &Node, seller: &Name) -> Result<Vec<TabItem>, Failure> {
    for _ in 0..LOOKS_MAX {
        let mut items = node.tabs().await?;
        items.retain(|item| item.role == Role::Payer && item.peer.as_ref() == Some(seller));
        if items.iter().all(|item| item.stage != TabStage::Opening) {
            items.retain(|item| item.stage == TabStage::Open);
            return Ok(items);
        }
        sleep(LOOK_EVERY).await;
    }
    Err("whether an earlier tab is open is not known yet; run again".into())
}

const LOOK_EVERY: Duration = Duration::from_millis(200);
const LOOKS_MAX: u32 = 50;
