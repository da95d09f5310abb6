//! What goes wrong, and when, as the seed says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

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
    /// The network between them.
    pub net: Net,
    /// Who counts.
    pub witness: Arc<Witness>,
}

impl Targets {
    /// Lets things go wrong, for ever.
    pub async fn trouble(self, seed: u64) {
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

/// Cuts the power now, or at one of the next datagrams or writes.
fn fail(power: &Power, dice: &mut Dice) {
    let soon = |dice: &mut Dice| u32::try_from(dice.number(0..60)).ok();
    match dice.number(0..3) {
        0 => power.cut(),
        1 => power.fail_after(soon(dice), None),
        _ => power.fail_after(None, soon(dice)),
    }
}
