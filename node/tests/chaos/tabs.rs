//! Tabs among the payments: opened, paid on and closed by commands that are killed, to payees that
//! are killed too.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::books::All;
use crate::plugs::{Chance, Finished, HEALING, Member, by, finish};

/// Who pays on tabs, and what came of it.
pub(crate) struct TabPayer {
    pub(crate) who: Arc<Member>,
    /// Tabs that are certainly open, and whom they pay.
    known: Vec<(&'static str, String)>,
    /// What each payee was paid.
    paid: BTreeMap<&'static str, Paid>,
    /// Commands that were killed.
    pub(crate) killed: usize,
}

/// Units that a payee was paid.
#[derive(Debug, Default)]
struct Paid {
    /// Acknowledged by the payee.
    sure: u64,
    /// Those, and all of which nobody said that they are not paid.
    perhaps: u64,
}

impl TabPayer {
    pub(crate) fn new(who: &Arc<Member>) -> Self {
        Self {
            who: Arc::clone(who),
            known: Vec::new(),
            paid: PAYEES.map(|payee| (payee, Paid::default())).into(),
            killed: 0,
        }
    }

    /// Opens, pays on and closes tabs at random until all payments have begun.
    pub(crate) fn pay_on(&mut self, mut chance: Chance, payments: usize, started: &AtomicUsize) {
        while started.load(Ordering::Relaxed) < payments {
            let payee = *chance.of(&PAYEES);
            let at = self.known.iter().position(|(whom, _)| *whom == payee);
            match (at, chance.below(8)) {
                (None, _) | (_, 0) => self.open(payee, &mut chance),
                (Some(at), 1) => {
                    let (_, tab) = self.known.swap_remove(at);
                    self.run(&["tab", "close", &tab], &mut chance);
                }
                (Some(at), _) => self.pay(at, &mut chance),
            }
        }
    }

    fn open(&mut self, payee: &'static str, chance: &mut Chance) {
        let words = ["tab", "open", payee, "--unit", UNIT, "--units", LENGTH];
        let finished = self.run(
            &[&words[..], &["--grace", "12s", "--wait", "3"]].concat(),
            chance,
        );
        let Some(said) = finished.last else { return };
        if let (Some("open"), Some(tab)) = (said["state"].as_str(), said["tab"].as_str()) {
            self.known.push((payee, tab.to_owned()));
        }
    }

    fn pay(&mut self, at: usize, chance: &mut Chance) {
        let (payee, tab) = self.known[at].clone();
        let units = 1 + chance.below(9);
        let words = ["tab", "pay", &tab, &units.to_string(), "--wait", "3"];
        let finished = self.run(&words, chance);
        let said = finished.last.unwrap_or_default();
        let acknowledged = said["acknowledged"].as_u64().unwrap_or_default();
        let nothing_more = matches!(
            (said["state"].as_str(), said["error"].as_str()),
            (Some("refused"), _) | (None, Some("payee_unreachable" | "unreachable" | "no_tab"))
        );
        let paid = self.paid.entry(payee).or_default();
        paid.sure += acknowledged;
        paid.perhaps += if nothing_more { acknowledged } else { units };
        if said["state"] == "refused" {
            self.known.swap_remove(at);
        }
    }

    fn run(&mut self, words: &[&str], chance: &mut Chance) -> Finished {
        let begun = Instant::now();
        let child = self
            .who
            .home
            .command(&[&["--json"], words].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("quid runs");
        let kill_after = chance.one_in(5).then(|| chance.up_to(KILLED_AFTER));
        let finished = finish(child, begun, kill_after);
        self.killed += usize::from(finished.killed);
        finished
    }

    /// Once all has healed: ends whatever is open, and waits until nothing is held any more.
    pub(crate) fn close(&self) {
        by(Instant::now() + HEALING, || {
            for tab in self.who.ask(&["tab", "list"])? {
                let id = tab["tab"].as_str().unwrap_or_default().to_owned();
                if tab["state"] != "ending" {
                    self.who.ask(&["tab", "close", &id])?;
                }
            }
            let held = self.who.status()?["held"].clone();
            match held == "0.000000" {
                true => Ok(()),
                false => Err(format!("{held} are held still")),
            }
        });
    }

    /// Holds what the commands said against the books of both sides. Each kill of a payee may lose
    /// what it had not written down: a hundredth of each tab.
    pub(crate) fn check(&self, all: &All, kills_of_a_payee: usize) -> Vec<String> {
        let mut wrong = Vec::new();
        for (payee, paid) in &self.paid {
            let (out, came) = (
                all[self.who.name].claims(payee, false),
                all[*payee].claims(self.who.name, true),
            );
            let claimed: u64 = out.values().sum();
            let lost = EXPOSURE * u64::try_from(kills_of_a_payee).expect("few");
            if out != came || claimed > paid.perhaps || claimed + lost < paid.sure {
                wrong.push(format!("{payee} was paid {paid:?}: {out:?}, {came:?}"));
            }
        }
        wrong
    }
}

/// Those who are paid on tabs.
const PAYEES: [&str; 2] = ["bob", "carol"];

const UNIT: &str = "0.000001";
const LENGTH: &str = "400";
/// Units of a tab that a payee may lose with a kill.
const EXPOSURE: u64 = 4;

/// Longest time after which a command is killed.
const KILLED_AFTER: Duration = Duration::from_millis(400);
