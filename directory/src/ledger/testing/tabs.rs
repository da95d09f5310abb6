//! Tabs in the world of the ledger's tests.

use quid_common::amount::Amount;
use quid_common::chain::{Link, Mark};
use quid_common::entry::{Entry, Fact};
use quid_common::id::{LedgerId, OrderId};
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{Memo, STATEMENT_VERSION};
use quid_common::signed::Signed;
use quid_common::tab::{Close, Hashed, SignedClose, SignedTerms, Terms};
use quid_common::time::LedgerTime;

use super::{Verdict, Words, World, amount, key, number, order_id, what};

/// What stands in a tab's terms; start from [`World::tab`] and change what the test is about.
#[derive(Clone)]
pub(in crate::ledger) struct TabDraft {
    pub(in crate::ledger) version: u8,
    pub(in crate::ledger) ledger: LedgerId,
    pub(in crate::ledger) id: OrderId,
    pub(in crate::ledger) payer: SecretKey,
    pub(in crate::ledger) payee: PublicKey,
    pub(in crate::ledger) unit: Amount,
    pub(in crate::ledger) length: u32,
    pub(in crate::ledger) expires: LedgerTime,
    pub(in crate::ledger) grace: u32,
    pub(in crate::ledger) memo: String,
}

impl TabDraft {
    pub(in crate::ledger) fn sign(&self) -> SignedTerms {
        let terms = Terms {
            version: self.version,
            ledger: self.ledger,
            id: self.id,
            payer: self.payer.public(),
            payee: self.payee,
            unit: self.unit,
            length: self.length,
            anchor: self.mark(0).link,
            expires: self.expires,
            grace: self.grace,
            memo: Memo::new(self.memo.clone()).expect("short"),
            reference: None,
        };
        Signed::new(terms, &self.payer)
    }

    /// So many units paid; beyond the end with a link that leads there by no way.
    pub(in crate::ledger) fn mark(&self, index: u32) -> Mark {
        // Of a chain too long for a test the first links are as good as any.
        let last = self.length.min(LONGEST);
        let link = Link([7; 32]).down(&self.id, last.saturating_sub(index));
        Mark { index, link }
    }

    /// A claim from `from` up to `index`, hashed.
    pub(in crate::ledger) fn hashed(&self, from: u32, index: u32) -> Hashed {
        Hashed::new(&self.id, from, self.mark(index)).expect("a claim that can be hashed")
    }

    pub(in crate::ledger) fn close(&self, by: &SecretKey) -> SignedClose {
        Close::sign(self.ledger, self.payer.public(), self.id, by)
    }
}

impl World {
    /// Ten units of 1 from `payer` to `payee`, open by 60 s, until 120 s and a grace of 60 s.
    pub(in crate::ledger) fn tab(&self, id: &str, payer: &str, payee: &str) -> TabDraft {
        TabDraft {
            version: STATEMENT_VERSION,
            ledger: self.ledger.ledger_id(),
            id: order_id(id, 60_000),
            payer: key(payer),
            payee: key(payee).public(),
            unit: amount(1),
            length: 10,
            expires: LedgerTime::from_millis(120_000),
            grace: 60,
            memo: String::new(),
        }
    }

    /// Submits terms and appends what the ledger says; returns what came of it.
    pub(in crate::ledger) fn open_tab(
        &mut self,
        terms: &SignedTerms,
        submitter: &PublicKey,
        now: u64,
    ) -> String {
        let now = LedgerTime::from_millis(now);
        let time = now.max(self.ledger.time());
        let verdict = self
            .ledger
            .decide_tab(terms, submitter, now, &mut |payer, id| {
                self.past(payer, id, time)
            });
        let which = (terms.statement().payer, terms.statement().id);
        self.take_of(which, verdict, time)
    }

    /// Claims on the tab of this id, whoever opened it.
    pub(in crate::ledger) fn claim(
        &mut self,
        tab: &TabDraft,
        hashed: &Hashed,
        submitter: &PublicKey,
        now: u64,
    ) -> String {
        let time = LedgerTime::from_millis(now).max(self.ledger.time());
        let payer = tab.payer.public();
        let verdict = self.ledger.decide_claim(&payer, tab.id, hashed, submitter);
        match &verdict {
            Verdict::Known { entry } => match &self.log[*entry as usize].fact {
                Fact::Claim(first) => {
                    assert_eq!((first.payer, first.id), (payer, tab.id));
                    assert_eq!(
                        (first.index, first.link),
                        (hashed.to().index, hashed.to().link)
                    );
                }
                other => panic!("no claim: {other:?}"),
            },
            Verdict::Append(Fact::Claim(claim)) => {
                let below = claim.link.down(&claim.id, claim.index - claim.from);
                assert_eq!(self.ledger.check_link(claim, &below), Ok(()));
            }
            _ => {}
        }
        self.take(verdict, time)
    }

    pub(in crate::ledger) fn close(
        &mut self,
        close: &SignedClose,
        submitter: &PublicKey,
        now: u64,
    ) -> String {
        let now = LedgerTime::from_millis(now);
        let time = now.max(self.ledger.time());
        let verdict = self.ledger.decide_close(close, submitter, now);
        if let Verdict::Known { entry } = verdict {
            let Fact::Close(first) = &self.log[entry as usize].fact else {
                panic!("entry {entry} is no close")
            };
            let (first, asked) = (first.statement(), close.statement());
            assert!(first.id == asked.id && self.ledger.is_same(&first.payer, &asked.payer));
        }
        self.take(verdict, time)
    }

    /// Releases the tab if it is due, as [`super::Ledger::due`] must say as well.
    pub(in crate::ledger) fn release(&mut self, tab: &TabDraft, now: u64, since: u64) -> String {
        let [now, since] = [now, since].map(LedgerTime::from_millis);
        let payer = tab.payer.public();
        let fact = self.ledger.decide_release(&payer, tab.id, now, since);
        let due = self.ledger.due(now, since, usize::MAX);
        let of = |it: &(PublicKey, OrderId)| it.1 == tab.id && self.ledger.is_same(&it.0, &payer);
        assert_eq!(due.iter().any(of), fact.is_some());
        let Some(fact) = fact else {
            return "not_due".into();
        };
        let outcome = what(&fact).to_owned();
        let time = now.max(self.ledger.time());
        self.apply(Entry { time, fact })
            .expect("what is due can be released");
        outcome
    }

    pub(in crate::ledger) fn held(&self, name: &str) -> u64 {
        let account = self.ledger.account(&key(name).public());
        account.expect("registered").held.units()
    }

    /// `ID PAYER PAYEE UNIT x LENGTH now T [opens T] [expires T] [grace S] [by NAME] [memo WORD]`
    pub(super) fn play_tab(&mut self, words: &mut Words<'_>) -> String {
        let (id, payer, payee) = (words.next(), words.next(), words.next());
        let mut tab = self.tab(id, payer, payee);
        tab.unit = amount(number(words.next()));
        assert_eq!(words.next(), "x");
        tab.length = small(words.next());
        assert_eq!(words.next(), "now");
        let (now, mut by) = (number(words.next()), payer);
        words.each(|word, words| match word {
            "opens" => tab.id = order_id(id, number(words.next())),
            "expires" => tab.expires = LedgerTime::from_millis(number(words.next())),
            "grace" => tab.grace = small(words.next()),
            "by" => by = words.next(),
            "memo" => tab.memo = words.next().to_owned(),
            other => panic!("{other}?"),
        });
        let outcome = self.open_tab(&tab.sign(), &key(by).public(), now);
        self.drafts.entry(id.to_owned()).or_insert(tab);
        outcome
    }

    /// `ID FROM INDEX now T [by NAME] [with ID]`, the last for another tab's links.
    pub(super) fn play_claim(&mut self, words: &mut Words<'_>) -> String {
        let tab = self.drafts[words.next()].clone();
        let (from, index) = (small(words.next()), small(words.next()));
        assert_eq!(words.next(), "now");
        let now = number(words.next());
        let (mut by, mut mark) = (tab.payee, tab.mark(index));
        words.each(|word, words| match word {
            "by" => by = key(words.next()).public(),
            "with" => mark = self.drafts[words.next()].mark(index),
            other => panic!("{other}?"),
        });
        match Hashed::new(&tab.id, from, mark) {
            Ok(hashed) => self.claim(&tab, &hashed, &by, now),
            Err(reason) => reason.name().to_owned(),
        }
    }

    /// `ID NAME now T [from NAME]`, the last for who submits it.
    pub(super) fn play_close(&mut self, words: &mut Words<'_>) -> String {
        let tab = self.drafts[words.next()].clone();
        let by = key(words.next());
        assert_eq!(words.next(), "now");
        let (now, mut from) = (number(words.next()), by.public());
        words.each(|word, words| match word {
            "from" => from = key(words.next()).public(),
            other => panic!("{other}?"),
        });
        // A payer whose key was replaced closes under the one that it has.
        let mut named = tab.payer.public();
        if self.ledger.is_same(&named, &by.public()) {
            named = by.public();
        }
        let close = Close::sign(tab.ledger, named, tab.id, &by);
        self.close(&close, &from, now)
    }

    /// `ID now T [since T]`, the last for when the directory began to serve.
    pub(super) fn play_release(&mut self, words: &mut Words<'_>) -> String {
        let tab = self.drafts[words.next()].clone();
        assert_eq!(words.next(), "now");
        let (now, mut since) = (number(words.next()), 0);
        words.each(|word, words| match word {
            "since" => since = number(words.next()),
            other => panic!("{other}?"),
        });
        self.release(&tab, now, since)
    }
}

fn small(text: &str) -> u32 {
    number(text).try_into().expect("fits")
}

/// Most links that a test makes of one chain.
const LONGEST: u32 = 200_000;
