//! Changes of keys in a table.

use quid_common::account::{Change, Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::time::LedgerTime;

use super::{Words, World, key, name, number};

impl World {
    /// Decides `change` and appends what the ledger says; returns what came of it.
    pub(in crate::ledger) fn change(&mut self, change: &Change, now: u64) -> String {
        let signed = change.clone().into_fact().signatures();
        assert!(
            signed
                .iter()
                .all(|(key, message, signature)| key.verify(message, signature))
        );
        let now = LedgerTime::from_millis(now);
        let time = now.max(self.ledger.time());
        let verdict = self.ledger.decide_change(change, now);
        self.take(verdict, time)
    }

    /// The change that a line of a table says, unless it says otherwise after what was last said.
    pub(super) fn play_change(&mut self, what: &str, words: &mut Words<'_>) -> String {
        let account = self
            .ledger
            .by_name(&name(words.next()))
            .expect("registered");
        let (own_said, recovery_said) = (account.own_said(), account.recovery_said());
        let (number_, pending) = (account.number, account.pending().map(|it| it.entry));
        let recovery = account.recovery;
        let signer = key(words.next());
        let new = matches!(what, "rotate" | "recover").then(|| key(words.next()));
        assert_eq!(words.next(), "now");
        let now = number(words.next());
        let mut said = if recovery == Some(signer.public()) {
            recovery_said
        } else {
            own_said
        };
        let mut announced = pending.unwrap_or_default();
        words.each(|word, words| match word {
            "said" => said = number(words.next()),
            "announced" => announced = number(words.next()),
            other => panic!("{other}?"),
        });
        let ledger = self.ledger.ledger_id();
        let change = match (what, new) {
            ("rotate", Some(new)) => {
                Change::Rotation(Rotation::sign(ledger, number_, said, &signer, &new))
            }
            ("recover", Some(new)) => {
                Change::Recovery(Recovery::sign(ledger, number_, said, new.public(), &signer))
            }
            ("object", _) => {
                Change::Objection(Objection::sign(ledger, number_, announced, &signer))
            }
            ("takeover", _) => Change::Takeover(Takeover::sign(ledger, number_, &signer)),
            (lock, _) => Change::Lock(Lock::sign(ledger, number_, said, lock == "lock", &signer)),
        };
        self.change(&change, now)
    }
}
