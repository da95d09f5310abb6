//! What an operator may set of the directory's limits; the rest are constants where they apply.

use clap::{Args, ValueEnum};

use crate::rates::Rate;

/// The settings of `serve` that bound what strangers and members may do, and how often.
///
/// Rates are high enough that honest use does not meet them: they end floods. Each burst is meant
/// for the first hour of a community, or for a node that comes back with much to ask.
#[derive(Clone, Debug, Args)]
pub struct Limits {
    /// Who may register: everybody, whoever has a code of `invite`, or nobody.
    #[arg(long, value_enum, default_value = "open", value_name = "WHO")]
    pub registration: Admission,
    /// Registrations, all together; those by invitation do not count. A rate is written 10/s,
    /// 600/min, 600/min:5000 (at most 5000 at once) or off.
    #[arg(long, default_value = "600/min:50000", value_name = "RATE")]
    pub registrations: Rate,
    /// Tries to register from one network, which is a /24 of IPv4 or a /48 of IPv6.
    #[arg(long, default_value = "120/min:20000", value_name = "RATE")]
    pub registrations_per_network: Rate,
    /// Logins of one account.
    #[arg(long, default_value = "50/s:1000", value_name = "RATE")]
    pub logins: Rate,
    /// Questions of one account. A page of people or history counts as one for every five lines.
    #[arg(long, default_value = "500/s:2000", value_name = "RATE")]
    pub questions: Rate,
    /// Tabs that one account opens.
    #[arg(long, default_value = "20/s:1000", value_name = "RATE")]
    pub tab_openings: Rate,
}

/// Who may register.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Admission {
    /// Everybody, as often as the rates allow.
    Open,
    /// Whoever has an invite code that is good.
    Invite,
    /// Nobody.
    Closed,
}

impl Default for Limits {
    /// What `serve` does unless it is told otherwise.
    fn default() -> Self {
        /// The defaults above, parsed as the program does.
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            limits: Limits,
        }
        <Alone as clap::Parser>::parse_from(["limits"]).limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_read() {
        let limits = Limits::default();
        assert_eq!(limits.registration, Admission::Open);
        assert_ne!(limits.questions, Rate::OFF);
    }
}
