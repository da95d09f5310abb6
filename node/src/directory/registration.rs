//! Registering this home's key: on a connection that has no account yet.

use quid_common::entry::{Fact, Registration};
use quid_common::id::InstanceId;
use quid_common::key::PublicKey;
use quid_common::name::Name;
use quid_common::signed::Signed;
use quid_common::wire::{CloseCode, Message, Prove, Register};
use quinn::Connection;

use super::{Directory, PresenceWish, RequestError, State, ask_stranger, unexpected};
use crate::heads::Source;
use crate::node::Registered;
use crate::quic::close_code;

impl Directory {
    /// Registers this home's key under `name`, on a connection of its own.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the name registered.
    pub(crate) async fn register(
        &self,
        name: &Name,
        recovery: Option<PublicKey>,
        invite: Option<&str>,
    ) -> Result<Registered, RequestError> {
        let _turn = self.turn.lock().await;
        let connection = self.dial().await?;
        let registered = self.register_on(&connection, name, recovery, invite).await;
        connection.close(close_code(CloseCode::BYE), b"");
        let registered = registered?;
        // Whoever waits for a session may hope again.
        self.state.send_if_modified(|state| {
            let denied = matches!(state, State::Denied(_));
            if denied {
                *state = State::Seeking("logging in".to_owned());
            }
            denied
        });
        self.kick.notify_waiters();
        Ok(registered)
    }

    async fn register_on(
        &self,
        connection: &Connection,
        name: &Name,
        recovery: Option<PublicKey>,
        invite: Option<&str>,
    ) -> Result<Registered, RequestError> {
        let key = self.home.key();
        let registration = Registration {
            directory: self.home.directory().key(),
            name: name.clone(),
            key,
            recovery,
        };
        let registration = Signed::new(registration, self.home.secret())
            .into_bytes()
            .into();
        let question = Register {
            registration,
            invite: invite.map(str::to_owned),
        }
        .into();
        let receipt = match ask_stranger(connection, &question).await? {
            Message::Registered(registered) => registered.receipt,
            answer => return Err(unexpected(&answer)),
        };
        // The receipt can be verified once the ledger is known.
        let mut instance = InstanceId([0; 16]);
        let random = &self.home.surroundings().random;
        random
            .fill(&mut instance.0)
            .map_err(|error| RequestError::Local(error.to_string()))?;
        self.log_in(
            connection,
            PresenceWish {
                instance,
                listening: false,
                hidden: true,
            },
        )
        .await?;
        let proven = self
            .trust
            .prove(&receipt, Source::Directory)
            .map_err(|error| RequestError::Protocol(error.to_string()))?;
        match &proven.entry().fact {
            Fact::Register(fact)
                if fact.statement().key == key && fact.statement().name == *name => {}
            _ => {
                return Err(RequestError::Protocol(
                    "the receipt is another's".to_owned(),
                ));
            }
        }
        // From here on this home is told of all money that comes.
        let entry = proven.index();
        let opening = self.is_opening(connection, entry + 1).await;
        let told = if opening { entry + 1 } else { entry };
        self.home.journal().advance_watermark(told).await?;
        Ok(Registered {
            name: name.clone(),
            key,
            entry,
        })
    }

    /// Whether `entry` is the opening balance that came with the registration before it: not worth
    /// an event of its own.
    async fn is_opening(&self, connection: &Connection, entry: u64) -> bool {
        let Ok(Message::Proof(proof)) = ask_stranger(connection, &Prove { entry }.into()).await
        else {
            return false;
        };
        self.trust
            .prove(&proof.receipt, Source::Directory)
            .is_ok_and(|proven| match &proven.entry().fact {
                Fact::Issue(issue) => {
                    proven.index() == entry && issue.statement().account == self.home.key()
                }
                _ => false,
            })
    }
}
