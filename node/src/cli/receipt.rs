//! `quid receipt`: receipts shown, saved and verified.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use quid_common::amount::Currency;
use quid_common::checkpoint::CheckpointError;
use quid_common::entry::ToVerify;
use quid_common::fork::{Fork, ForkError, TwoHistories};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::receipt::{Proven, Receipt as Proof, ReceiptError};
use quid_node::Home;

use super::exit::Exit;
use super::failure::{Failure, Report, quoted};
use super::item::{self, Item, Verdict};
use super::run::receipt_item;
use super::screen::{Output, Sink};

/// Writes a receipt's text to a new file.
///
/// # Errors
/// Names the file; one that is there already is left as it is.
pub(crate) fn save(receipt: &mut item::Receipt, file: &Path) -> Result<(), Failure> {
    let shown = file.display().to_string();
    let made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file);
    let written = made.and_then(|mut file| {
        file.write_all(receipt.receipt.as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => {
            receipt.file = Some(shown);
            Ok(())
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(Failure::files(format!(
            "{} exists already and was left as it is: choose another --out",
            quoted(&shown)
        ))),
        Err(error) => Err(Failure::files(format!(
            "cannot write {}: {error}",
            quoted(&shown)
        ))),
    }
}

/// The text of a receipt's file.
///
/// # Errors
/// If the file cannot be read; one that is no receipt is for [`verify`] to say.
pub(crate) fn load(file: &Path) -> Result<Vec<u8>, Failure> {
    let read = || -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        File::open(file)?
            .take(TEXT_LEN_MAX + 1)
            .read_to_end(&mut text)?;
        Ok(text)
    };
    read().map_err(|error| {
        Failure::files(format!(
            "cannot read {}: {error}",
            quoted(&file.display().to_string())
        ))
    })
}

/// What a receipt is judged by.
#[derive(Clone, Debug)]
pub(crate) struct Ground {
    /// The directory's key.
    pub(crate) directory: PublicKey,
    /// The ledger, if it is known; else a receipt's own is taken.
    pub(crate) ledger: Option<LedgerId>,
    /// What it counts, if that is known; else no amounts are shown.
    pub(crate) currency: Option<Currency>,
}

impl Ground {
    /// What a home knows.
    pub(crate) fn of_home(home: &Home) -> Self {
        Self {
            directory: home.directory().key(),
            ledger: home.ledger(),
            currency: home.currency(),
        }
    }

    /// The directory's key and nothing else.
    pub(crate) const fn of_key(directory: PublicKey) -> Self {
        Self {
            directory,
            ledger: None,
            currency: None,
        }
    }
}

/// Judges the text of a receipt, or of a proof of two histories, by nothing but `ground`.
///
/// # Errors
/// Exit code 5 with the verdict if it is not good.
pub(crate) async fn verify(text: &[u8], ground: &Ground, sink: &Sink) -> Result<(), Failure> {
    let verdict = if Fork::is_claimed_by(text) {
        judge_fork(text, &ground.directory).map(two_histories)
    } else {
        judge(text, ground).map(|(receipt, proven, ledger)| good(&receipt, &proven, ledger, ground))
    };
    match verdict {
        Ok(verdict) => {
            if ground.ledger.is_none()
                && let Some(ledger) = &verdict.ledger
            {
                sink.note(format!(
                    "no ledger is known here yet: the file's own is taken, {ledger}"
                ))
                .await?;
            }
            sink.item(verdict).await?;
            Ok(())
        }
        Err(flaw) => Err(flaw.told().into()),
    }
}

/// What is said of a good receipt.
fn good(receipt: &Proof, proven: &Proven, ledger: LedgerId, ground: &Ground) -> Verdict {
    let shown = receipt_item(ground, receipt, proven);
    Verdict {
        ok: true,
        entry: Some(shown.entry),
        kind: Some(shown.kind),
        time: Some(shown.time),
        ledger: Some(ledger.to_string()),
        order: shown.order,
        tab: shown.tab,
        payer: shown.payer,
        payee: shown.payee,
        amount: shown.amount,
        currency: shown.currency,
        ..Verdict::default()
    }
}

/// What is said of a good proof of two histories.
fn two_histories(proved: TwoHistories) -> Verdict {
    Verdict {
        ok: true,
        kind: Some("fork".to_owned()),
        ledger: Some(proved.ledger().to_string()),
        fork: Some(proved.size()),
        ..Verdict::default()
    }
}

/// Why a receipt, or a proof of two histories, is not good.
struct Flaw {
    entry: Option<u64>,
    reason: &'static str,
    message: String,
}

impl Flaw {
    fn told(self) -> Report {
        let message = format!("not verified: {}", self.message);
        let item = Verdict {
            ok: false,
            entry: self.entry,
            reason: Some(self.reason.to_owned()),
            error: Some("not_verified".to_owned()),
            message: Some(message.clone()),
            ..Verdict::default()
        };
        let mut report = Report::new(Exit::Unverified, "not_verified", message);
        report.item = Some(Item::from(item));
        report
    }
}

fn judge(text: &[u8], ground: &Ground) -> Result<(Proof, Proven, LedgerId), Flaw> {
    let receipt = std::str::from_utf8(text)
        .map_err(|_| ReceiptError::Text)
        .and_then(Proof::from_text)
        .map_err(|error| flaw(None, &error))?;
    let entry = Some(receipt.index);
    let ledger = match ground.ledger {
        Some(ledger) => ledger,
        None => receipt.checkpoint.ledger().ok_or(Flaw {
            entry,
            reason: "checkpoint_malformed",
            message: "the checkpoint names no ledger".to_owned(),
        })?,
    };
    let proven = receipt
        .verify(ledger, &ground.directory)
        .map_err(|error| flaw(entry, &error))?;
    // The directory vouches for the entry; whoever is said to have signed it must have.
    let signatures = proven.entry().fact.signatures();
    let signed = |(key, message, signature): &ToVerify| key.verify(message, signature);
    if !signatures.iter().all(signed) {
        return Err(Flaw {
            entry,
            reason: "signature",
            message: "the directory logged what its signer never signed; keep this receipt, it \
                      proves that the directory lied"
                .to_owned(),
        });
    }
    Ok((receipt, proven, ledger))
}

fn flaw(entry: Option<u64>, error: &ReceiptError) -> Flaw {
    let reason = match error {
        ReceiptError::Text => "not_a_receipt",
        ReceiptError::Encoding(_) => "encoding",
        ReceiptError::Checkpoint(CheckpointError::Malformed) => "checkpoint_malformed",
        ReceiptError::Checkpoint(CheckpointError::Ledger) => "checkpoint_ledger",
        ReceiptError::Checkpoint(CheckpointError::Signature) => "checkpoint_signature",
        ReceiptError::Path => "path",
        ReceiptError::Entry(_) => "entry",
    };
    Flaw {
        entry,
        reason,
        message: error.to_string(),
    }
}

fn judge_fork(text: &[u8], directory: &PublicKey) -> Result<TwoHistories, Flaw> {
    let fork = std::str::from_utf8(text)
        .map_err(|_| ForkError::Text)
        .and_then(Fork::from_text);
    fork.and_then(|fork| fork.verify(directory))
        .map_err(|error| Flaw {
            entry: None,
            reason: match error {
                ForkError::Text => "not_a_fork",
                ForkError::Encoding(_) => "encoding",
                ForkError::Older(_) => "older",
                ForkError::Newer(_) | ForkError::Order => "newer",
                ForkError::Root => "root",
                ForkError::Proof => "proof",
            },
            message: error.to_string(),
        })
}

/// Takes the one receipt that a request answers with, and passes on anything else.
pub(crate) async fn caught(
    mut outputs: tokio::sync::mpsc::Receiver<Output>,
    sink: &Sink,
) -> Option<item::Receipt> {
    let mut receipt = None;
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Item(item) => match *item {
                Item::Receipt(item) => receipt = Some(item),
                other => sink.item(other).await.ok()?,
            },
            other => sink.send(other).await.ok()?,
        }
    }
    receipt
}

/// Longest receipt text that is read: an entry, its path and a checkpoint fit several times.
const TEXT_LEN_MAX: u64 = 64 * 1024;
