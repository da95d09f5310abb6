//! Who is online, as it changes.

use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::wire::Person;

/// A change of who is online.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Somebody is online, newly, still, or at another address.
    Online(Person),
    /// Somebody has gone.
    Offline {
        /// Who.
        name: Name,
        /// Their key.
        key: PublicKey,
    },
}

/// Who is online: everybody first, then changes.
#[derive(Debug)]
pub struct PresenceEvents {}

impl PresenceEvents {
    /// The next change; `None` once the node is closed or the directory is lost for good.
    ///
    /// # Cancel safety
    /// Safe: a change is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Presence> {
        todo!()
    }
}
