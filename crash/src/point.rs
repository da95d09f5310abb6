//! Where somebody is killed: during which operation, who, and at which of its calls.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use crate::Failure;

/// What is going on when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Operation {
    Register,
    Pay,
    Void,
    TabOpen,
    TabPay,
    TabClaim,
    TabClose,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Victim {
    Payer,
    Payee,
    Directory,
}

/// An operation and who is killed in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Plot {
    pub(crate) operation: Operation,
    pub(crate) victim: Victim,
}

/// One kill, or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) plot: Plot,
    /// At which call, counted from 1 over all threads; 0 for none at all.
    pub(crate) nth: u64,
    /// At which call of the restart, if then again; 0 for never.
    pub(crate) again: u64,
}

impl Operation {
    const ALL: [Self; 7] = [
        Self::Register,
        Self::Pay,
        Self::Void,
        Self::TabOpen,
        Self::TabPay,
        Self::TabClaim,
        Self::TabClose,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Pay => "pay",
            Self::Void => "void",
            Self::TabOpen => "tab-open",
            Self::TabPay => "tab-pay",
            Self::TabClaim => "tab-claim",
            Self::TabClose => "tab-close",
        }
    }
}

impl Victim {
    const ALL: [Self; 3] = [Self::Payer, Self::Payee, Self::Directory];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Payer => "payer",
            Self::Payee => "payee",
            Self::Directory => "directory",
        }
    }
}

impl Plot {
    /// All that can be: whoever registers is alone with the directory, and a claim is the payee's.
    pub(crate) fn all() -> Vec<Self> {
        let of = |operation| Victim::ALL.map(|victim| Self { operation, victim });
        let mut all: Vec<Self> = Operation::ALL.into_iter().flat_map(of).collect();
        all.retain(|plot| {
            !matches!(
                (plot.operation, plot.victim),
                (Operation::Register, Victim::Payee) | (Operation::TabClaim, Victim::Payer)
            )
        });
        all
    }

    /// Whether the victim's part is before the command: a void is between payer and directory, and
    /// what the payee has to do with it is the order that is voided.
    pub(crate) const fn begins_early(self) -> bool {
        matches!(
            (self.operation, self.victim),
            (Operation::Void, Victim::Payee)
        )
    }
}

impl Display for Plot {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.operation.name(), self.victim.name())
    }
}

impl Display for Point {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.plot, self.nth)?;
        match self.again {
            0 => Ok(()),
            again => write!(f, "+{again}"),
        }
    }
}

/// What the command line names: an operation, one with its victim, or one point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    operation: Operation,
    victim: Option<Victim>,
    /// The two calls of a point.
    pub(crate) calls: Option<(u64, u64)>,
}

impl Wanted {
    pub(crate) fn includes(&self, plot: &Plot) -> bool {
        plot.operation == self.operation && self.victim.is_none_or(|it| it == plot.victim)
    }
}

impl FromStr for Wanted {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut parts = text.split('/');
        let name = parts.next().unwrap_or_default();
        let named = |it: &Operation| it.name() == name;
        let operation = Operation::ALL.into_iter().find(named).ok_or_else(|| {
            let names = Operation::ALL.map(Operation::name).join(", ");
            format!("it is one of {names}, with /VICTIM or /VICTIM/CALL behind it")
        })?;
        let victim = match parts.next() {
            None => None,
            Some(name) => {
                let found = Victim::ALL.into_iter().find(|it| it.name() == name);
                Some(found.ok_or("the victim is payer, payee or directory")?)
            }
        };
        let calls = match parts.next() {
            None => None,
            Some(calls) => {
                let (nth, again) = calls.split_once('+').unwrap_or((calls, "0"));
                Some((nth.parse()?, again.parse()?))
            }
        };
        if parts.next().is_some() {
            return Err("there is too much behind the call".into());
        }
        let wanted = Self {
            operation,
            victim,
            calls,
        };
        match Plot::all().iter().any(|plot| wanted.includes(plot)) {
            true => Ok(wanted),
            false => Err("this victim has no part in it".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_written() {
        for plot in Plot::all() {
            for (nth, again) in [(1, 0), (17, 5)] {
                let point = Point { plot, nth, again };
                let wanted: Wanted = point.to_string().parse().expect("it was written");
                assert!(wanted.includes(&plot));
                assert_eq!(wanted.calls, Some((nth, again)));
            }
        }
        for wrong in [
            "",
            "paid",
            "pay/bank",
            "pay/payee/x",
            "pay/payee/1+",
            "register/payee",
        ] {
            assert!(wrong.parse::<Wanted>().is_err(), "{wrong}");
        }
    }
}
