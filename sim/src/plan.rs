//! What goes wrong, and when, as the seed says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quid_common::id::OperationId;
use quid_common::name::Name;
use quid_common::refusal::Reason;
use quid_directory::settlement::{Answer, Ask};
use tokio::time::{Instant, sleep, timeout};

use crate::dice::Dice;
use crate::host::Host;
use crate::machine::Power;
use crate::net::{Net, Weather, ip};
use crate::person::Person;
use crate::witness::Witness;

/// Everything that things can go wrong with.
#[derive(Clone, Debug)]
pub struct Targets {
    /// The directory's machine.
    pub host: Arc<Host>,
    /// Everybody's machines.
    pub people: Vec<Arc<Person>>,
    /// All accounts, any of which the operator may freeze.
    pub names: Vec<Name>,
    /// The network between them.
    pub net: Net,
    /// Who counts.
    pub witness: Arc<Witness>,
}

impl Targets {
    /// Lets things go wrong, and the operator freeze accounts, for ever.
    pub async fn trouble(self, seed: u64) {
        tokio::join!(self.break_things(seed), self.operate(seed));
    }

    async fn operate(&self, seed: u64) {
        let mut dice = Dice::new(seed, "operator");
        loop {
            sleep(dice.time(500..6_000)).await;
            self.freeze(&mut dice).await;
        }
    }

    async fn break_things(&self, seed: u64) {
        let mut dice = Dice::new(seed, "plan");
        // Whom to join again, and when.
        let mut cuts: Vec<(Instant, IpAddr, IpAddr)> = Vec::new();
        loop {
            sleep(dice.time(300..4_000)).await;
            cuts.retain(|&(until, one, other)| {
                let lasts = Instant::now() < until;
                if !lasts {
                    self.net.cut(one, other, false);
                }
                lasts
            });
            match dice.number(0..10) {
                0..3 => self.change_weather(&mut dice),
                3..5 => cuts.push(self.cut(&mut dice)),
                5..7 => {
                    let person = self.people.get(dice.index(self.people.len()));
                    if let Some(person) = person {
                        fail(&person.power(), &mut dice);
                    }
                }
                7..9 => {
                    if dice.happens(600) {
                        self.witness.count("directory power cuts ordered");
                        fail(&self.host.power(), &mut dice);
                    }
                }
                _ => {
                    self.witness.count("wall clock jumps");
                    let by = Duration::from_secs(dice.number(1..20_000));
                    self.host.jump(by, dice.happens(500));
                }
            }
        }
    }

    /// Freezes an account for a while, as its operator does it.
    async fn freeze(&self, dice: &mut Dice) {
        let Some(name) = self.names.get(dice.index(self.names.len())) else {
            return;
        };
        if self.stand(name, true, dice).await {
            sleep(dice.time(300..9_000)).await;
            self.stand(name, false, dice).await;
        }
    }

    /// Asks, by one operation, until it is known that the account stands so; not if it is nobody's.
    async fn stand(&self, name: &Name, frozen: bool, dice: &mut Dice) -> bool {
        let mut operation = OperationId([0; 16]);
        dice.fill(&mut operation.0);
        loop {
            let (Some(settlements), Some(address)) = (self.host.settlements(), self.host.address())
            else {
                sleep(dice.time(100..500)).await;
                continue;
            };
            let ask = Ask::Freeze(operation, name.clone(), frozen);
            let answer = timeout(OPERATOR_WAIT, settlements.ask(address.key(), ask)).await;
            match answer {
                Ok(Answer::Done(_)) => return true,
                Ok(Answer::Refused(Reason::UNKNOWN_ACCOUNT, _)) => return false,
                // The power failed, or it is busy: the same operation again, which may have settled.
                _ => sleep(dice.time(100..500)).await,
            }
        }
    }

    fn change_weather(&self, dice: &mut Dice) {
        self.witness.count("weather changes");
        let mut sometimes = |most: u64| {
            if dice.happens(600) {
                dice.number(0..most)
            } else {
                0
            }
        };
        let weather = Weather {
            lost: sometimes(250),
            doubled: sometimes(150),
            late: sometimes(300),
            near_ms: 1 + sometimes(40),
            spread_ms: sometimes(60),
            late_ms: sometimes(1_500),
        };
        self.net.set(weather);
    }

    /// Cuts two machines off from each other; until when.
    fn cut(&self, dice: &mut Dice) -> (Instant, IpAddr, IpAddr) {
        let machine = |dice: &mut Dice| -> IpAddr {
            let of = 1 + dice.number(0..1 + self.people.len() as u64);
            ip(u8::try_from(of).unwrap_or(1))
        };
        let (one, other) = (machine(dice), machine(dice));
        self.witness.count("partitions");
        self.net.cut(one, other, true);
        (Instant::now() + dice.time(500..20_000), one, other)
    }
}

/// How long the operator waits for an answer.
const OPERATOR_WAIT: Duration = Duration::from_secs(5);

/// Cuts the power now, or at one of the next datagrams or writes.
fn fail(power: &Power, dice: &mut Dice) {
    let soon = |dice: &mut Dice| u32::try_from(dice.number(0..60)).ok();
    match dice.number(0..3) {
        0 => power.cut(),
        1 => power.fail_after(soon(dice), None),
        _ => power.fail_after(None, soon(dice)),
    }
}
