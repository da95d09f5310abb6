//! `quid receipt`: receipts shown, saved and verified.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use quid_common::amount::{Amount, Currency};
use quid_common::checkpoint::CheckpointError;
use quid_common::entry::ToVerify;
use quid_common::fork::{Fork, ForkError, TwoHistories};
use quid_common::id::LedgerId;
use quid_common::key::PublicKey;
use quid_common::receipt::{Proven, Receipt as Proof, ReceiptError};
use quid_node::Home;
use serde::Serialize;

use super::exit::Exit;
use super::failure::{Failure, Report, quoted};
use super::item::{self, Item, Verdict};
use super::screen::{Output, Sink};

mod fields;

pub(crate) use fields::receipt_item;
use fields::{amount, kind};

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

/// One step of the way in which a receipt is judged.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    /// What is looked at.
    pub(crate) name: &'static str,
    /// Whether it is good; none if an earlier step was not, so that it was never looked at.
    pub(crate) ok: Option<bool>,
    /// What it is that holds, or why it does not.
    pub(crate) message: String,
}

/// Judges the text of a receipt as [`verify`] does, and tells it step by step.
pub(crate) fn steps(text: &[u8], ground: &Ground) -> Vec<Step> {
    let judged = judge(text, ground);
    let failed = judged
        .as_ref()
        .err()
        .map(|flaw| (step_of(flaw.reason), flaw.message.clone()));
    let held: Vec<String> = match &judged {
        Ok((receipt, proven, ledger)) => holds(receipt, proven, *ledger, ground).into(),
        Err(_) => Vec::new(),
    };
    let told = STEPS.iter().enumerate().map(|(at, (name, holds))| {
        let (ok, message) = match &failed {
            None => (Some(true), held.get(at).cloned().unwrap_or_default()),
            Some((bad, _)) if at < *bad => (Some(true), (*holds).to_owned()),
            Some((bad, why)) if at == *bad => (Some(false), why.clone()),
            Some(_) => (None, "not looked at: it proves nothing any more".to_owned()),
        };
        Step { name, ok, message }
    });
    told.collect()
}

/// What holds at each of [`STEPS`] of a good receipt.
fn holds(receipt: &Proof, proven: &Proven, ledger: LedgerId, ground: &Ground) -> [String; 5] {
    let size = proven.head().size;
    let root: String = proven
        .head()
        .root
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let signers = proven.entry().fact.signatures().len();
    [
        format!(
            "a receipt of entry {}, {} bytes long",
            receipt.index,
            receipt.entry.len()
        ),
        format!(
            "the directory `{}` signed a log of {size} entries of the ledger `{ledger}`, with the root \
             `{root}`",
            ground.directory
        ),
        format!(
            "{} hashes lead from entry {} to that root: it is in the log, unaltered",
            receipt.path.len() / 32,
            receipt.index
        ),
        format!(
            "the entry is a {}",
            kind(&proven.entry().fact, ground.directory)
        ),
        match signers {
            0 => "it rests on the directory's word alone".to_owned(),
            1 => "whoever it binds has signed exactly this, with their own key".to_owned(),
            more => format!("all {more} whom it binds have signed exactly this"),
        },
    ]
}

/// The steps in their order, and what is said of one that holds while a later one does not.
const STEPS: [(&str, &str); 5] = [
    ("form", "it reads as a receipt"),
    ("checkpoint", "the directory signed the head of the log"),
    ("inclusion", "the entry is in that log"),
    ("entry", "the entry can be read"),
    ("signature", "whoever it binds has signed it"),
];

/// Which of [`STEPS`] a flaw belongs to.
fn step_of(reason: &str) -> usize {
    match reason {
        "checkpoint_malformed" | "checkpoint_ledger" | "checkpoint_signature" => 1,
        "path" => 2,
        "entry" => 3,
        "signature" => 4,
        _ => 0,
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
        smallest_units: amount(&proven.entry().fact).map(Amount::units),
        memo: shown.memo.filter(|memo| !memo.is_empty()),
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
