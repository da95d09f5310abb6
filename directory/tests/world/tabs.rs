//! Tabs of a world's members, from the outside.

use std::time::Duration;

use quid_common::amount::Amount;
use quid_common::chain::{Chain, Link};
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::order::{Memo, STATEMENT_VERSION};
use quid_common::refusal::Reason;
use quid_common::signed::Signed;
use quid_common::tab::{Close, SignedTerms, Terms};
use quid_common::time::LedgerTime;
use quid_common::wire::{
    AskBalance, AskTab, Message, OpenTab, SubmitClaim, SubmitClose, SubmitTab,
};

use super::{Directory, Member, Settle};

/// Terms, and the chain that only their payer has.
pub(crate) struct Paper {
    pub(crate) terms: SignedTerms,
    pub(crate) chain: Chain,
}

impl Paper {
    pub(crate) fn id(&self) -> OrderId {
        self.terms.statement().id
    }

    pub(crate) fn payer(&self) -> PublicKey {
        self.terms.statement().payer
    }

    pub(crate) fn link(&mut self, index: u32) -> Link {
        self.chain.link(index).expect("within the chain")
    }
}

impl Member {
    /// Terms of `length` units worth 1 each that run for an hour, with an id made of `number`.
    pub(crate) fn paper(&self, payee: PublicKey, length: u32, number: u64) -> Paper {
        let opens = Duration::from_secs(60);
        self.paper_for(
            payee,
            length,
            number,
            (opens, Duration::from_secs(3600), 60),
        )
    }

    /// Terms that open for so long after the login, run for so long after that, and leave so many
    /// seconds of grace.
    pub(crate) fn paper_for(
        &self,
        payee: PublicKey,
        length: u32,
        number: u64,
        (opens, runs, grace): (Duration, Duration, u32),
    ) -> Paper {
        let mut random = [0; 10];
        random[2..].copy_from_slice(&number.to_be_bytes());
        let id = OrderId::new(self.time().plus(opens), random);
        let chain = Chain::new(id, length, Link([number as u8; 32])).expect("within bounds");
        let terms = Terms {
            version: STATEMENT_VERSION,
            ledger: self.ledger(),
            id,
            payer: self.key(),
            payee,
            unit: Amount::new(1).expect("small"),
            length,
            anchor: chain.anchor(),
            expires: id.expiry().plus(runs),
            grace,
            memo: Memo::default(),
            reference: None,
        };
        Paper {
            terms: Signed::new(terms, &self.client.key),
            chain,
        }
    }

    /// Where a tab stands, and the ledger's time.
    pub(crate) async fn standing(&self, paper: &Paper) -> (Option<OpenTab>, LedgerTime) {
        let ask = AskTab {
            payer: paper.payer(),
            id: paper.id(),
        };
        match self.client.request(&ask.into()).await {
            Message::TabStanding(standing) => (standing.tab, standing.time),
            other => panic!("not a standing: {other:?}"),
        }
    }

    /// Available and held.
    pub(crate) async fn money(&self) -> (u64, u64) {
        match self.client.request(&AskBalance {}.into()).await {
            Message::Balance(balance) => (balance.available.units(), balance.held.units()),
            other => panic!("not a balance: {other:?}"),
        }
    }
}

impl Settle {
    pub(crate) async fn open(&mut self, paper: &Paper) -> Result<u64, Reason> {
        self.open_terms(&paper.terms).await
    }

    pub(crate) async fn open_terms(&mut self, terms: &SignedTerms) -> Result<u64, Reason> {
        let number = self.next_number();
        let terms = terms.bytes().to_vec().into();
        self.stream.send(&SubmitTab { number, terms }.into()).await;
        self.answer().await
    }

    /// Claims all units up to `to`, after those up to `from`.
    pub(crate) async fn claim(
        &mut self,
        paper: &mut Paper,
        from: u32,
        to: u32,
    ) -> Result<u64, Reason> {
        let link = paper.link(to);
        self.claim_with(paper, from, to, link).await
    }

    pub(crate) async fn claim_with(
        &mut self,
        paper: &Paper,
        from: u32,
        index: u32,
        link: Link,
    ) -> Result<u64, Reason> {
        self.send_claim(paper, from, index, link).await;
        self.answer().await
    }

    pub(crate) async fn close(&mut self, by: &Member, paper: &Paper) -> Result<u64, Reason> {
        self.send_close(by, paper).await;
        self.answer().await
    }

    /// Claims without waiting for the answer, which will carry this number.
    pub(crate) async fn send_claim(
        &mut self,
        paper: &Paper,
        from: u32,
        index: u32,
        link: Link,
    ) -> u64 {
        let number = self.next_number();
        let (payer, id) = (paper.payer(), paper.id());
        let claim = SubmitClaim {
            number,
            payer,
            id,
            from,
            index,
            link,
        };
        self.stream.send(&claim.into()).await;
        number
    }

    /// Closes without waiting for the answer, which will carry this number.
    pub(crate) async fn send_close(&mut self, by: &Member, paper: &Paper) -> u64 {
        let number = self.next_number();
        let close = Close::sign(by.ledger(), paper.payer(), paper.id(), &by.client.key);
        let close = close.into_bytes().into();
        self.stream
            .send(&SubmitClose { number, close }.into())
            .await;
        number
    }
}

impl Directory {
    /// A session of somebody who is registered already.
    pub(crate) async fn back(&self, seed: u8) -> Member {
        let login = self.client(seed).await.log_in(false).await;
        login.expect("registered")
    }
}
