//! The node's account at the directory: its name, its money, its keys.

use std::path::{Path, PathBuf};

use quid_common::amount::{Amount, Currency};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::wire::{AskBalance, AskKeys, KeysStanding, Message, Welcome};
use tokio::time::Instant;

use super::Node;
use crate::directory::{REQUEST_WAIT, RequestError, Session, unexpected};
use crate::known::Had;

/// A registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The account's name.
    pub name: Name,
    /// Its key.
    pub key: PublicKey,
    /// The registration's entry in the log.
    pub entry: u64,
}

/// How the account stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The account's name.
    pub name: Name,
    /// What it can spend.
    pub balance: Amount,
    /// What is reserved for its tabs.
    pub held: Amount,
    /// How many tabs of this home are open or may be.
    pub tabs: u64,
    /// The ledger.
    pub ledger: LedgerId,
    /// What is counted.
    pub currency: Currency,
    /// How many of this home's orders have no known end yet.
    pub pending: u64,
    /// Where the proof is that the directory has signed two histories, if it has. Nothing is paid
    /// or accepted then.
    pub fork: Option<PathBuf>,
    /// What the directory does not show of its log, or says that it lacks, for people.
    pub doubt: Option<String>,
}

impl Node {
    /// Registers the home's key under `name`. Repeated with the same name, it answers as the first
    /// time.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Dropping this future may leave the name registered; ask again.
    pub async fn register(&self, name: &Name) -> Result<Registered, RequestError> {
        self.register_with(name, None, None).await
    }

    /// As [`Self::register`], with a recovery key, which can name another key for the account one
    /// day and must be the same when this is repeated; and with the code that the operator of a
    /// directory that registers by invitation gave out. Repeated for the same name, it is one use of
    /// the code.
    ///
    /// # Errors
    /// [`RequestError`]; a code that is not good is refused by name.
    ///
    /// # Cancel safety
    /// As [`Self::register`].
    pub async fn register_with(
        &self,
        name: &Name,
        recovery: Option<PublicKey>,
        invite: Option<&str>,
    ) -> Result<Registered, RequestError> {
        self.parts.directory.register(name, recovery, invite).await
    }

    /// Waits until this node is logged in, at most 5 s.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn login(&self) -> Result<Session, RequestError> {
        let link = self
            .parts
            .directory
            .link(Instant::now() + REQUEST_WAIT)
            .await?;
        let Welcome {
            name,
            currency,
            ledger,
            address,
            ..
        } = link.welcome.clone();
        Ok(Session {
            name,
            currency,
            ledger,
            address,
        })
    }

    /// How the account stands.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn status(&self) -> Result<Status, RequestError> {
        let Session {
            name,
            currency,
            ledger,
            ..
        } = self.login().await?;
        let balance = match self.parts.directory.ask(AskBalance {}).await? {
            Message::Balance(balance) => balance,
            answer => return Err(unexpected(&answer)),
        };
        self.parts.clock.observe(balance.time, Instant::now());
        let journal = self.parts.home.journal();
        let had = Had {
            balance: balance.available,
            held: balance.held,
            time: balance.time,
        };
        journal.keep_had(had).await?;
        let pending = journal.open_orders_count().await?;
        let tabs = journal.open_tabs().await?.len() as u64;
        Ok(Status {
            name,
            balance: had.balance,
            held: had.held,
            tabs,
            ledger,
            currency,
            pending,
            fork: self.parts.trust.fork().map(Path::to_owned),
            doubt: self.parts.trust.doubt(),
        })
    }

    /// Where the keys of `name` stand.
    ///
    /// # Errors
    /// [`RequestError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keys(&self, name: &Name) -> Result<KeysStanding, RequestError> {
        let name = name.clone();
        match self.parts.directory.ask(AskKeys { name }).await? {
            Message::KeysStanding(standing) => Ok(standing),
            answer => Err(unexpected(&answer)),
        }
    }
}
