//! How the tabs of an account stand, for people and programs.

use std::collections::HashMap;
use std::sync::Arc;

use quid_common::amount::Amount;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::tab::{Terms, units};
use quid_common::time::LedgerTime;

use super::desk::Desk;
use super::incoming::{Held, Phase};
use super::paying::Paying;
use super::policy::TabPolicy;
use super::{Tabs, hold};
use crate::directory::RequestError;
use crate::journal::{IncomingRow, Journal, JournalError, TabRow, TabState};

/// Which end of a tab an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It pays.
    Payer,
    /// It is paid.
    Payee,
}

impl Role {
    /// The name that output uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Payer => "payer",
            Self::Payee => "payee",
        }
    }
}

/// How far a tab's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TabStage {
    /// Its terms may have been sent; whether it is open is not known.
    Opening,
    /// It can be paid on.
    Open,
    /// No more is paid; what was is being claimed, or the rest is on its way back.
    Ending,
    /// Nothing of it is held any more.
    Over,
}

impl TabStage {
    /// The name that output uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Opening => "opening",
            Self::Open => "open",
            Self::Ending => "ending",
            Self::Over => "over",
        }
    }
}

/// One tab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabItem {
    /// Which: unique among those of one payer.
    pub tab: OrderId,
    /// Who is on the other side, if the name is known.
    pub peer: Option<Name>,
    /// The other side's key.
    pub key: PublicKey,
    /// Which end this account is.
    pub role: Role,
    /// How far it has come.
    pub stage: TabStage,
    /// What each unit is worth.
    pub unit: Amount,
    /// How many units it can pay.
    pub units: u32,
    /// Units paid.
    pub paid: u32,
    /// Units claimed at the directory; none if it cannot be asked.
    pub claimed: Option<u32>,
    /// To a payee, what it would lose if its program were killed now; to a payer, what it has sent
    /// and not had acknowledged.
    pub at_risk: Amount,
    /// To a payee, the most that [`Self::at_risk`] can be.
    pub exposure: Option<Amount>,
    /// What the whole tab is worth.
    pub hold: Amount,
    /// When it ends, in ledger time.
    pub expires: LedgerTime,
    /// Why it ended, if for a bad reason.
    pub reason: Option<Reason>,
    /// The entry that this is about, if it is about one.
    pub entry: Option<u64>,
}

/// Whether the directory is asked how tabs stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// About each that the account pays on.
    Directory,
    /// Nobody is.
    Nobody,
}

/// All open tabs of an account: those that it pays on, then those that pay it.
pub(crate) async fn list(
    tabs: &Arc<Tabs>,
    desk: Option<&Arc<Desk>>,
    asking: Asking,
) -> Result<Vec<TabItem>, JournalError> {
    let journal = tabs.ground.books.home.journal();
    let mut items = Vec::new();
    let mut reached = asking == Asking::Directory;
    for row in journal.open_tabs().await? {
        let id = row.terms.statement().id;
        let live = tabs.get(id).map(|tab| own(&tab.paying));
        let mut item = live.unwrap_or_else(|| kept(&row));
        if tabs.is_ending(id) {
            item.stage = TabStage::Ending;
        }
        let told = match reached {
            true => tabs.ask(id).await,
            // One wait is enough for all of them.
            false => Err(RequestError::Unreachable(String::new())),
        };
        reached = !matches!(told, Err(RequestError::Unreachable(_)));
        match told {
            Ok(Some(open)) => {
                item.claimed = Some(open.claimed);
                item.paid = item.paid.max(open.claimed);
                if open.expires < item.expires {
                    item.expires = open.expires;
                    item.stage = TabStage::Ending;
                }
            }
            // It has ended since the row was read.
            Ok(None) if row.state != TabState::Opening => continue,
            Ok(None) | Err(_) => {}
        }
        items.push(item);
    }
    let live: HashMap<_, _> = desk
        .map(|desk| desk.all())
        .unwrap_or_default()
        .into_iter()
        .map(|held| (held.which(), held))
        .collect();
    for row in journal.open_incoming_tabs().await? {
        let which = (row.terms.payer, row.terms.id);
        items.push(match live.get(&which) {
            Some(held) => incoming(held, None),
            None => noted(&row),
        });
    }
    Ok(items)
}

/// A tab that this process pays on.
pub(super) fn own(paying: &Paying) -> TabItem {
    let progress = paying.progress();
    let stage = if paying.has_ended() {
        TabStage::Ending
    } else {
        TabStage::Open
    };
    TabItem {
        paid: progress.paid,
        at_risk: paying.amount(progress.queued.saturating_sub(progress.paid)),
        stage,
        ..payer_item(&paying.terms, &paying.payee)
    }
}

/// The newest tabs that an account opened, as the journal has them.
pub(crate) async fn newest(journal: &Journal, limit: u32) -> Result<Vec<TabItem>, JournalError> {
    let rows = journal.newest_tabs(limit).await?;
    Ok(rows.iter().map(kept).collect())
}

/// A tab that no process pays on just now.
fn kept(row: &TabRow) -> TabItem {
    let (stage, reason) = match row.state {
        TabState::Opening => (TabStage::Opening, None),
        TabState::Open { .. } => (TabStage::Open, None),
        TabState::Closed { .. } => (TabStage::Over, None),
        TabState::Refused { reason } => (TabStage::Over, Some(reason)),
    };
    TabItem {
        paid: row.paid,
        stage,
        reason,
        ..payer_item(row.terms.statement(), &row.payee)
    }
}

fn payer_item(terms: &Terms, payee: &Name) -> TabItem {
    let payee = (terms.payee, Some(payee.clone()));
    item(terms, Role::Payer, payee)
}

/// A tab that pays this process.
pub(super) fn incoming(held: &Held, entry: Option<u64>) -> TabItem {
    let state = held.lock();
    let stage = match state.phase() {
        Phase::Open | Phase::Stopping => TabStage::Open,
        Phase::Ending(_) => TabStage::Ending,
        Phase::Over(_) => TabStage::Over,
    };
    let payer = (held.terms.payer, state.payer.clone());
    TabItem {
        stage,
        paid: state.mark.index,
        claimed: Some(state.claimed),
        at_risk: held.amount(state.mark.index.saturating_sub(state.saved)),
        exposure: Some(held.exposure()),
        expires: state.expires,
        reason: state.phase().over().and_then(|over| over.0),
        entry,
        ..item(&held.terms, Role::Payee, payer)
    }
}

/// A tab that pays this account, while no process takes payments.
fn noted(row: &IncomingRow) -> TabItem {
    let risk = TabPolicy::default().risk(&row.terms);
    let payer = (row.terms.payer, row.payer.clone());
    TabItem {
        paid: row.mark.index,
        claimed: Some(row.claimed),
        exposure: units(row.terms.unit, risk.exposure),
        expires: row.expires,
        ..item(&row.terms, Role::Payee, payer)
    }
}

/// A tab of which nothing is known but its terms, and who is on the other side.
fn item(terms: &Terms, role: Role, (key, peer): (PublicKey, Option<Name>)) -> TabItem {
    TabItem {
        tab: terms.id,
        peer,
        key,
        role,
        stage: TabStage::Open,
        unit: terms.unit,
        units: terms.length,
        paid: 0,
        claimed: None,
        at_risk: Amount::ZERO,
        exposure: None,
        hold: hold(terms),
        expires: terms.expires,
        reason: None,
        entry: None,
    }
}
