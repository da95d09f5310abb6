//! Finding a payee: its key, which must be the one paid before, and the way to it.

use std::net::SocketAddr;

use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_common::wire::Find;
use tokio::time::Instant;

use super::{PayError, Payer};
use crate::directory::{RequestError, found_key};
use crate::peer::PayeeLink;
use crate::quic::is_callable;
use crate::requests::{Aim, Unpayable};

/// How a payee can be reached, before anything of an order has left.
#[derive(Debug)]
pub(super) enum Way {
    /// On a connection that is open.
    Open(PayeeLink),
    /// Perhaps at this address.
    Address(SocketAddr),
    /// Not at all.
    Offline,
}

impl Payer {
    /// Refuses what needs no question.
    pub(super) fn check_payee(&self, payee: &Name) -> Result<(), PayError> {
        if self.books.home.name().as_ref() == Some(payee) {
            return Err(PayError::Local(Reason::SELF_PAYMENT));
        }
        match self.books.trust.fork() {
            Some(file) => Err(PayError::Forked {
                file: file.to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// The key of a payee for whom a tab is to be opened, which must be the one paid before, and
    /// its address if it is online.
    pub(crate) async fn meet(
        &self,
        payee: &Name,
        limit: Instant,
    ) -> Result<(PublicKey, Option<SocketAddr>), PayError> {
        self.check_payee(payee)?;
        let pinned = self.books.home.journal().contact(payee).await?;
        let (key, address) = self.ask_for(payee, pinned, limit).await?;
        if key == self.books.home.key() {
            return Err(PayError::Local(Reason::SELF_PAYMENT));
        }
        Ok((key, address))
    }

    /// The payee's key, which must be the one paid before, and the way to it.
    pub(super) async fn find(
        &self,
        payee: &Name,
        limit: Instant,
    ) -> Result<(PublicKey, Way), PayError> {
        let pinned = self.books.home.journal().contact(payee).await?;
        if let Some(key) = pinned
            && let Some(open) = self.payees.open(&key).await
        {
            return Ok((key, Way::Open(open)));
        }
        let (key, address) = self.ask_for(payee, pinned, limit).await?;
        Ok((key, address.map_or(Way::Offline, Way::Address)))
    }

    /// What the directory says of a payee.
    async fn ask_for(
        &self,
        payee: &Name,
        pinned: Option<PublicKey>,
        limit: Instant,
    ) -> Result<(PublicKey, Option<SocketAddr>), PayError> {
        let ask = Find {
            name: payee.clone(),
        };
        let found = self
            .directory
            .ask_until(ask, limit)
            .await
            .and_then(found_key);
        let (key, address) = match found {
            Ok(found) => found,
            Err(RequestError::Refused(Reason::UNKNOWN_ACCOUNT | Reason::NOT_FOUND)) => {
                return Err(PayError::Local(Reason::UNKNOWN_ACCOUNT));
            }
            Err(error) => return Err(error.into()),
        };
        match pinned {
            Some(pinned) if pinned != key => {
                tracing::error!(
                    name = %payee, %pinned, offered = %key,
                    "a payee's key has changed: nothing was sent"
                );
                Err(PayError::KeyChanged {
                    name: payee.clone(),
                    pinned,
                    offered: key,
                })
            }
            _ => {
                let address = address
                    .and_then(|address| address.parse().ok())
                    .filter(is_callable);
                Ok((key, address))
            }
        }
    }

    /// Holds what was found against the aim; the way, which may have to be walked to be known.
    pub(super) async fn check_aim(
        &self,
        aim: Option<&Aim>,
        (name, key): (&Name, PublicKey),
        way: Way,
    ) -> Result<Way, PayError> {
        let Some(aim) = aim else { return Ok(way) };
        aim.check_key(name, key)?;
        match way {
            way if !aim.direct => Ok(way),
            Way::Open(open) => Ok(Way::Open(open)),
            // Found out before anything is written, so that no order is burnt for it.
            Way::Address(address) => {
                let reached = self.payees.reach(key, address).await;
                Ok(Way::Open(reached.ok_or_else(|| offline(name))?))
            }
            Way::Offline => Err(offline(name).into()),
        }
    }
}

fn offline(name: &Name) -> Unpayable {
    Unpayable::PayeeOffline { name: name.clone() }
}
