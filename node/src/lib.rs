//! A Quid node: pay and be paid directly over QUIC, and settle with a directory.
//!
//! Goals: hand signed orders straight to the payee; never lose track of one (each is in the
//! journal before it is sent, and ends as *settled*, *refused* or honestly *unknown*, which the
//! node resolves by asking); survive the loss of anything on the way; keep every queue, wait and
//! allocation bounded.
//!
//! Not here: balances and rules (the directory's), words for people (the command line's), and
//! trust in what a payee or payer says about money: only receipts and the directory's own answer
//! count.
//!
//! ```no_run
//! use quid_node::{Home, Node, Options, Payment, State};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let home = Home::open("/home/alice/.quid".as_ref())?;
//! let node = Node::start(home, Options::default()).await?;
//! let currency = node.login().await?.currency;
//! let payment = Payment::new("bob".parse()?, currency.parse("0.25")?);
//! let outcome = node.pay(payment).await?;
//! match outcome.state {
//!     State::Settled { entry, .. } => println!("settled as entry {entry}"),
//!     State::Refused { reason, .. } => println!("refused: {reason}"),
//!     State::Unknown => println!("order {} is being asked about", outcome.order),
//! }
//! node.close().await;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]
// Foreign bytes pass through here, and a panic ends the program. Not in the tests, which may.
#![cfg_attr(
    not(test),
    deny(
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::missing_panics_doc,
        clippy::panic,
        clippy::panic_in_result_fn,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub use directory::{RequestError, Session};
pub use events::{Event, Events};
pub use history::{HistoryItem, HistoryState, Kind, SentItem, SentState};
pub use home::{Home, HomeError, KeyFile, ListenerLock, Passphrase};
pub use intent::Intent;
pub use journal::JournalError;
pub use keys::{ContactChange, KeyDesk, KeyError, KeyOutcome, KeyStep};
pub use known::{Had, Known};
pub use node::{Accept, Decision, Node, Options, ReceiptId, Registered, StartError, Status};
pub use pay::{Outcome, PayError, Payment, Resolved, Route, State, WAIT_DEFAULT};
pub use picture::{PICTURE_PIXELS_MAX, PictureError, read_qr};
pub use presence::{Presence, PresenceEvents};
pub use quic::{ConnectError, directory_key, knock};
pub use quid_common::random::Random;
pub use quid_common::request::{Request, RequestId, RequestLink, Wanted};
pub use quid_common::wire::{KeysStanding, PendingRecovery, Person};
pub use requests::{
    Answered, AnsweredTab, CancelledRequest, Prospect, Refund, RequestItem, RequestOpening,
    RequestPayment, RequestStage, RequestTerms, Unpayable,
};
pub use surroundings::{Network, Surroundings, Workers};
pub use tabs::{
    AcceptTab, IncomingTab, Opened, Progress, Role, Tab, TabClosed, TabError, TabItem, TabOpening,
    TabOutcome, TabOver, TabPolicy, TabStage,
};
pub use void::VoidOutcome;

mod backoff;
mod books;
mod calls;
mod clock;
mod collect;
mod compare;
mod directory;
mod events;
mod evidence;
mod fate;
mod heads;
mod history;
mod home;
mod inbox;
mod intent;
mod journal;
mod keys;
mod known;
mod node;
mod pay;
mod peer;
mod picture;
mod presence;
mod quic;
mod requests;
mod resolve;
mod silence;
mod stream;
mod surroundings;
mod tabs;
mod tasks;
mod trust;
mod void;
