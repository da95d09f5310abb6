//! The keys of accounts: where they stand, and what this home's keys say about its account.
//!
//! All of it is said on a connection that does not log in, since what is signed says all. A key that
//! is to follow is on the disk before the directory hears of it, and the one before stays there until
//! a receipt proves that it was replaced; after a crash in between the directory is asked which of the
//! two it is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use quid_common::account::{Change, Lock, Objection, Recovery, Rotation, Takeover};
use quid_common::entry::Fact;
use quid_common::id::LedgerId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::name::Name;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::tls::TlsIdentity;
use quid_common::wire::{AskKeys, AskSuccessor, ChangeKeys, CloseCode, KeysStanding, Message};
use quinn::Connection;
use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::directory::{RequestError, unexpected};
use crate::heads::Source;
use crate::home::{Home, HomeError, Passphrase};
use crate::journal::JournalError;
use crate::node::StartError;
use crate::quic::{Role, Socket, close_code};
use crate::stream;
use crate::trust::Trust;

/// A visit to a home's directory, for its account's keys.
#[derive(Debug)]
pub struct KeyDesk<'h> {
    home: &'h Home,
    socket: Socket,
    connection: Connection,
}

/// What came of a wish about an account's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOutcome {
    /// The entry that says it; none if there was nothing to be said.
    pub entry: Option<u64>,
    /// Where the keys stand after it.
    pub standing: KeysStanding,
}

/// How a key followed another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyStep {
    /// The entry.
    pub entry: u64,
    /// The key that followed.
    pub key: PublicKey,
    /// Whether the key before has signed it; otherwise the recovery key wanted it, and only the
    /// directory's log says so.
    pub by_key: bool,
}

/// A contact whose key is another than the one that was paid before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactChange {
    /// The key that was paid before.
    pub pinned: PublicKey,
    /// The key that the directory names.
    pub offered: PublicKey,
    /// How the one became the other, in order; proved each. None if the directory shows no way from
    /// one to the other.
    pub steps: Option<Vec<KeyStep>>,
}

impl<'h> KeyDesk<'h> {
    /// Connects to the home's directory; at most 10 s.
    ///
    /// # Errors
    /// [`KeyError`]: nothing was said.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn open(home: &'h Home) -> Result<Self, KeyError> {
        let identity = TlsIdentity::new(&home.secret().seed()).map_err(StartError::from)?;
        let address = home.directory();
        let v6 = address
            .host()
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_ipv6());
        let any: IpAddr = if v6 {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        };
        let socket = Socket::bind(SocketAddr::new(any, 0), identity, false)?;
        let unreachable =
            |error: &dyn std::fmt::Display| RequestError::Unreachable(error.to_string());
        let found = timeout(DIAL_WAIT, socket.resolve(address.host(), address.port())).await;
        let addresses = found
            .map_err(|_| unreachable(&"its address was not found in time"))?
            .map_err(|error| unreachable(&error))?;
        let mut last = unreachable(&"no address");
        for to in addresses {
            let called = socket.call(to, address.key(), Role::Directory, DIAL_WAIT);
            match called.await {
                Ok(connection) => {
                    return Ok(Self {
                        home,
                        socket,
                        connection,
                    });
                }
                Err(error) => last = unreachable(&error),
            }
        }
        Err(last.into())
    }

    /// Says goodbye; a second at most.
    pub async fn close(self) {
        self.connection.close(close_code(CloseCode::BYE), b"");
        self.socket.close(CLOSE_WAIT).await;
    }

    /// Where the keys of `name` stand.
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn standing(&self, name: &Name) -> Result<KeysStanding, KeyError> {
        let question = AskKeys { name: name.clone() };
        let standing = match self.ask(question).await? {
            Message::KeysStanding(standing) => standing,
            answer => return Err(unexpected(&answer).into()),
        };
        match self.home.ledger() {
            Some(ledger) if ledger != standing.ledger => Err(RequestError::Protocol(
                "it has another ledger than this home's".to_owned(),
            )
            .into()),
            _ => Ok(standing),
        }
    }

    /// Replaces the home's key by a new one, which is sealed if this one is; open the home again
    /// after it. Repeated after a crash or a lost answer, it goes on with the same new key.
    ///
    /// Nobody else may use the home meanwhile: take [`Home::lock_listener`].
    ///
    /// # Errors
    /// [`KeyError`]. After [`RequestError::Unreachable`] the key may have been replaced: ask again.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the key replaced; ask again.
    pub async fn rotate(
        &self,
        name: &Name,
        passphrase: Option<&Passphrase>,
    ) -> Result<KeyOutcome, KeyError> {
        if let Some(outcome) = self.settle_next(name, passphrase).await? {
            return Ok(outcome);
        }
        let standing = self.standing(name).await?;
        let next = self.home.make_next_key(passphrase)?;
        let old = self.home.secret();
        let rotation = Rotation::sign(standing.ledger, standing.account, standing.said, old, &next);
        let changed = self.change(&standing, Change::Rotation(rotation)).await;
        let entry = match changed {
            Ok(entry) => entry,
            // Nothing of it is in the log, nor will be: the next try makes another.
            Err(KeyError::Request(error @ RequestError::Refused(_))) => {
                self.home.drop_next_key()?;
                return Err(error.into());
            }
            Err(error) => return Err(error),
        };
        self.home.install_next_key()?;
        self.outcome(name, Some(entry)).await
    }

    /// Finds out what became of a next key that was made before, and makes it the home's if it is the
    /// account's; then the home must be opened again. None if there is none, or the directory does not
    /// have it so far.
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// # Cancel safety
    /// Safe: ask again.
    pub async fn settle_next(
        &self,
        name: &Name,
        passphrase: Option<&Passphrase>,
    ) -> Result<Option<KeyOutcome>, KeyError> {
        let Some(next) = self.home.next_key(passphrase)? else {
            return Ok(None);
        };
        let standing = self.standing(name).await?;
        let steps = if standing.key == self.home.key() {
            None
        } else {
            self.steps(standing.ledger, self.home.key(), next.public())
                .await?
        };
        let Some(last) = steps.and_then(|steps| steps.last().cloned()) else {
            return Ok(None);
        };
        self.home.install_next_key()?;
        Ok(Some(KeyOutcome {
            entry: Some(last.entry),
            standing,
        }))
    }

    /// Makes the home's key that of `name`, by the account's recovery key: announces it, or says so
    /// once the announcement is due. Ask again after [`KeysStanding::pending`] says.
    ///
    /// # Errors
    /// [`KeyError`]. After [`RequestError::Unreachable`] it may have been announced: ask again.
    ///
    /// # Cancel safety
    /// Dropping the future may leave it announced; ask again.
    pub async fn recover(&self, name: &Name, recovery: &SecretKey) -> Result<KeyOutcome, KeyError> {
        let standing = self.standing(name).await?;
        let mine = self.home.key();
        if standing.key == mine {
            return Ok(KeyOutcome {
                entry: None,
                standing,
            });
        }
        let (ledger, account) = (standing.ledger, standing.account);
        let change = match &standing.pending {
            Some(pending) if pending.successor == mine && standing.time < pending.due => {
                return Ok(KeyOutcome {
                    entry: None,
                    standing,
                });
            }
            Some(pending) if pending.successor == mine => {
                Change::Takeover(Takeover::sign(ledger, account, self.home.secret()))
            }
            _ => {
                let said = standing.recovery_said;
                Change::Recovery(Recovery::sign(ledger, account, said, mine, recovery))
            }
        };
        let entry = self.change(&standing, change).await?;
        self.outcome(name, Some(entry)).await
    }

    /// Objects, with the home's key, to the recovery that has been announced: it then takes 30 days,
    /// and the account is frozen.
    ///
    /// # Errors
    /// [`KeyError`]; *no recovery* if there is none.
    ///
    /// # Cancel safety
    /// Dropping the future may leave it objected to; ask again.
    pub async fn object(&self, name: &Name) -> Result<KeyOutcome, KeyError> {
        let standing = self.standing(name).await?;
        let Some(pending) = &standing.pending else {
            return Err(RequestError::Refused(Reason::NO_RECOVERY).into());
        };
        let objection = Objection::sign(
            standing.ledger,
            standing.account,
            pending.announced,
            self.home.secret(),
        );
        let entry = self.change(&standing, Change::Objection(objection)).await?;
        self.outcome(name, Some(entry)).await
    }

    /// Freezes the account or, with its recovery key only, thaws it; with the home's key if there is no
    /// other.
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// # Cancel safety
    /// Dropping the future may leave it frozen or thawed; ask again.
    pub async fn lock(
        &self,
        name: &Name,
        frozen: bool,
        recovery: Option<&SecretKey>,
    ) -> Result<KeyOutcome, KeyError> {
        let standing = self.standing(name).await?;
        let (by, said) = match recovery {
            Some(recovery) => (recovery, standing.recovery_said),
            None => (self.home.secret(), standing.said),
        };
        let lock = Lock::sign(standing.ledger, standing.account, said, frozen, by);
        let entry = self.change(&standing, Change::Lock(lock)).await?;
        self.outcome(name, Some(entry)).await
    }

    /// Whether the key of `name` is another than the one that this home has paid, and how it became
    /// that. None if it is the same, or was never paid.
    ///
    /// # Errors
    /// [`KeyError`].
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn contact(&self, name: &Name) -> Result<Option<ContactChange>, KeyError> {
        let standing = self.standing(name).await?;
        let pinned = self.home.journal().contact(name).await?;
        let Some(pinned) = pinned.filter(|pinned| *pinned != standing.key) else {
            return Ok(None);
        };
        let offered = standing.key;
        let steps = self.steps(standing.ledger, pinned, offered).await?;
        Ok(Some(ContactChange {
            pinned,
            offered,
            steps,
        }))
    }

    /// Pays `name` under `key` from now on.
    ///
    /// # Errors
    /// [`KeyError`] if it cannot be written down.
    pub async fn accept(&self, name: &Name, key: PublicKey) -> Result<(), KeyError> {
        self.home.journal().repin(name, key).await?;
        Ok(())
    }

    /// How `to` followed `from`, each step proved; none if it did not.
    async fn steps(
        &self,
        ledger: LedgerId,
        from: PublicKey,
        to: PublicKey,
    ) -> Result<Option<Vec<KeyStep>>, KeyError> {
        let (mut steps, mut key) = (Vec::new(), from);
        while key != to && steps.len() < STEPS_MAX {
            let receipt = match self.ask(AskSuccessor { key }).await? {
                Message::Successor(successor) => successor.receipt,
                Message::Refused(refused) if refused.reason == Reason::UNKNOWN_ACCOUNT => None,
                answer => return Err(unexpected(&answer).into()),
            };
            let Some(receipt) = receipt else {
                return Ok(None);
            };
            let step = step(&key, &self.prove(ledger, &receipt)?, receipt.index)?;
            key = step.key;
            steps.push(step);
        }
        Ok((key == to).then_some(steps))
    }

    /// Says `change`; the entry that says it is proved.
    async fn change(&self, standing: &KeysStanding, change: Change) -> Result<u64, KeyError> {
        let question = ChangeKeys {
            change: change.bytes().to_vec().into(),
        };
        let receipt = match self.ask(question).await? {
            Message::KeysChanged(changed) => changed.receipt,
            answer => return Err(unexpected(&answer).into()),
        };
        let fact = self.prove(standing.ledger, &receipt)?;
        if fact != change.into_fact() {
            return Err(protocol("the receipt is another's"));
        }
        Ok(receipt.index)
    }

    fn prove(&self, ledger: LedgerId, receipt: &Receipt) -> Result<Fact, KeyError> {
        let trust = Trust::new(self.home.directory().key(), Some(ledger), self.home.path());
        let proven = trust.prove(receipt, Source::Directory);
        let proven = proven.map_err(|error| protocol(&error.to_string()))?;
        Ok(proven.entry().fact.clone())
    }

    async fn outcome(&self, name: &Name, entry: Option<u64>) -> Result<KeyOutcome, KeyError> {
        let standing = self.standing(name).await?;
        Ok(KeyOutcome { entry, standing })
    }

    async fn ask(&self, question: impl Into<Message> + Send) -> Result<Message, KeyError> {
        let question = question.into();
        let deadline = Instant::now() + ASK_WAIT;
        match stream::ask(&self.connection, &question, deadline).await {
            Ok(answer) => Ok(answer),
            Err(error) if error.is_breach() => Err(protocol(&error.to_string())),
            Err(error) => Err(RequestError::Unreachable(error.to_string()).into()),
        }
    }
}

/// What an entry makes of `key`.
fn step(key: &PublicKey, fact: &Fact, entry: u64) -> Result<KeyStep, KeyError> {
    match fact {
        Fact::Rotation(rotation) if rotation.statement().key == *key && rotation.verify() => {
            Ok(KeyStep {
                entry,
                key: rotation.statement().successor(),
                by_key: true,
            })
        }
        Fact::Takeover(takeover) => Ok(KeyStep {
            entry,
            key: takeover.statement().key,
            by_key: false,
        }),
        _ => Err(protocol("the entry does not replace the key")),
    }
}

fn protocol(why: &str) -> KeyError {
    RequestError::Protocol(why.to_owned()).into()
}

/// Why something about keys was not done.
#[derive(Debug, Error)]
pub enum KeyError {
    /// No socket.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A file of the home's, or a key's, is in the way.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The directory did not do it, or may have.
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl From<JournalError> for KeyError {
    fn from(error: JournalError) -> Self {
        Self::Home(HomeError::from(error))
    }
}

/// Longest time for finding the directory, and for one handshake.
const DIAL_WAIT: Duration = Duration::from_secs(3);

/// Longest time for an answer.
const ASK_WAIT: Duration = Duration::from_secs(5);

/// How long the goodbye may take.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

/// Most keys that are followed from one to another on one connection: a directory lets strangers ask
/// sixteen times.
const STEPS_MAX: usize = 12;
