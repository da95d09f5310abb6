//! Refusals: final or not, numbered for ever, without free text.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why something was refused: a stable number (PROTOCOL.md, "Refusals").
///
/// Numbers that this version does not know can be held and passed on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Reason(pub u16);

/// What a refusal says about the order's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Final for these bytes, and the id is as if they had never come.
    Static,
    /// Final: the id is burnt, and the log says so.
    Logged,
    /// Final by ledger time: the order can never settle any more.
    Expired,
    /// Says nothing about the order; the same bytes may settle later.
    NotFinal,
    /// About a request that is no order.
    Request,
}

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $number:literal $konst:ident $name:literal $class:ident;)+) => {
        impl Reason {
            $($(#[doc = $doc])+ pub const $konst: Self = Self($number);)+

            /// Every reason of this version, by number.
            pub const ALL: &'static [Self] = &[$(Self::$konst),+];

            /// The name that output and scripts see; `unrecognised` for a later version's.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$konst => $name,)+
                    Self(_) => "unrecognised",
                }
            }

            /// What this says about the order's fate. A later version's number is not final.
            #[must_use]
            pub const fn class(self) -> Class {
                match self {
                    $(Self::$konst => Class::$class,)+
                    Self(_) => Class::NotFinal,
                }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn explain(self) -> &'static str {
                match self {
                    $(Self::$konst => concat!($($doc),+).trim_ascii(),)+
                    Self(_) => "refused for a reason that this version does not know",
                }
            }
        }
    };
}

reasons! {
    /// the message is not encoded as the protocol says
    1 ENCODING "encoding" Static;
    /// the order is for another ledger
    2 WRONG_LEDGER "wrong_ledger" Static;
    /// the signature is not the signer's
    3 BAD_SIGNATURE "bad_signature" Static;
    /// only the order's payer or payee may submit it
    4 WRONG_SUBMITTER "wrong_submitter" Static;
    /// other content was sent under an id that is used
    5 ID_REUSED "id_reused" Static;
    /// the amount is zero
    6 ZERO_AMOUNT "zero_amount" Static;
    /// payer and payee are the same account
    7 SELF_PAYMENT "self_payment" Static;
    /// the tab's length, hold, end or grace is out of range
    8 BAD_TERMS "bad_terms" Static;
    /// this key was replaced by another one of its account
    9 KEY_REPLACED "key_replaced" Static;

    /// the payer voided this order
    16 VOIDED "voided" Logged;
    /// the payer's account is frozen
    17 FROZEN "frozen" Logged;
    /// the payee declined
    18 PAYEE_DECLINED "payee_declined" Logged;
    /// the payer's balance is too small
    19 INSUFFICIENT_FUNDS "insufficient_funds" Logged;

    /// the order's time is over
    32 EXPIRED "expired" Expired;

    /// the directory is busy; ask again with the same bytes
    48 BUSY "busy" NotFinal;
    /// the order's expiry is too far ahead
    49 EXPIRY_TOO_FAR "expiry_too_far" NotFinal;
    /// there is no such account
    50 UNKNOWN_ACCOUNT "unknown_account" NotFinal;
    /// the directory is stopping; ask again
    51 STOPPING "stopping" NotFinal;
    /// the decline is not the payee's word about this order; the order's own fate is open
    52 BAD_DECLINE "bad_decline" NotFinal;
    /// the directory's log lacks entries that it has signed; it writes nothing until its operator restores them
    53 LOG_INCOMPLETE "log_incomplete" NotFinal;
    /// the payer has as many open tabs as it may have; close one first
    54 TOO_MANY_TABS "too_many_tabs" NotFinal;

    /// log in first
    64 NOT_LOGGED_IN "not_logged_in" Request;
    /// this key has no account; register it first
    65 NOT_REGISTERED "not_registered" Request;
    /// this key is registered under another name
    66 ALREADY_REGISTERED "already_registered" Request;
    /// the name is taken
    67 NAME_TAKEN "name_taken" Request;
    /// the name looks too much like one that is taken
    68 NAME_LOOKS_TAKEN "name_looks_taken" Request;
    /// the name is reserved
    69 NAME_RESERVED "name_reserved" Request;
    /// more than one secret could sign for this key
    70 UNSOUND_KEY "unsound_key" Request;
    /// there is nothing here by that name or number for this account
    71 NOT_FOUND "not_found" Request;
    /// the session already did that
    72 OUT_OF_TURN "out_of_turn" Request;
    /// the message's kind is unknown here
    73 UNKNOWN_KIND "unknown_kind" Request;
    /// the message is longer than allowed at this stage
    74 TOO_LONG "too_long" Request;
    /// this operation id was used for something else
    75 OPERATION_REUSED "operation_reused" Request;
    /// more would be in circulation than amounts can count
    76 SUPPLY_EXCEEDED "supply_exceeded" Request;
    /// the directory has no room: for another account, or for another session of this one
    77 FULL "full" Request;
    /// there is no open tab by that id
    78 NO_TAB "no_tab" Request;
    /// the claim does not go on from what is claimed; ask where the tab stands
    79 STALE_CLAIM "stale_claim" Request;
    /// the claim goes beyond the tab's end
    80 PAST_END "past_end" Request;
    /// the link does not belong to this tab
    81 BAD_LINK "bad_link" Request;
    /// the claim moves more links than one may
    82 GAP_TOO_LONG "gap_too_long" Request;
    /// the tab has ended and takes no more payments
    83 TAB_OVER "tab_over" Request;

    /// this key has no say in that account
    101 WRONG_KEY "wrong_key" Request;
    /// this does not follow the key's last word about the account; ask where its keys stand
    102 STALE_CHANGE "stale_change" Request;
    /// the key is or was an account's, or is the recovery key
    103 KEY_USED "key_used" Request;
    /// there is no such recovery
    104 NO_RECOVERY "no_recovery" Request;
    /// the recovery has not taken effect yet
    105 TOO_EARLY "too_early" Request;
    /// the account is frozen
    106 ACCOUNT_FROZEN "account_frozen" Request;

    /// this directory registers by invitation; give the code that its operator gave you
    112 UNINVITED "uninvited" Request;
    /// the directory knows no such invite code
    113 INVITE_UNKNOWN "invite_unknown" Request;
    /// the invite code's time is over
    114 INVITE_EXPIRED "invite_expired" Request;
    /// the invite code is used up
    115 INVITE_USED_UP "invite_used_up" Request;
    /// this directory registers nobody now
    116 REGISTRATION_CLOSED "registration_closed" Request;
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.explain())
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_unique() {
        for (at, reason) in Reason::ALL.iter().enumerate() {
            for other in &Reason::ALL[at + 1..] {
                assert!(reason.0 < other.0, "{reason:?} before {other:?}");
                assert_ne!(reason.name(), other.name());
            }
        }
    }

    #[test]
    fn a_later_versions_reason_is_never_final() {
        assert_eq!(Reason(9_999).class(), Class::NotFinal);
        assert_eq!(Reason(9_999).name(), "unrecognised");
    }
}
