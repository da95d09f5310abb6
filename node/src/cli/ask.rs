//! Commands carried out by whoever can: the shell's own node, or [`once`].

use std::path::{Path, PathBuf};

use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::item;
use super::once::{check, interruption, once};
use super::receipt::{Ground, caught, load, save, verify};
use super::request::{OpenTabRequest, PayTabRequest, RefundRequest, Request};
use super::run::run;
use super::screen::Sink;
use super::value::{DirectoryKey, FileOrId, ReceiptName};
use super::{Command, Receipt, Tab, passphrase};
use crate::control::Current;

/// Where a command's requests go.
#[derive(Debug)]
pub(crate) struct Asker<'a> {
    /// The home.
    pub(crate) path: &'a Path,
    /// Ends the command early.
    pub(crate) stop: &'a CancellationToken,
    /// The node of this process, if it has one that stays.
    pub(crate) node: Option<Current>,
    /// Whether somebody can be asked who reads notes and types the answer.
    pub(crate) asks: bool,
}

impl Asker<'_> {
    /// Carries out any command that is asked of a node; the others say that they are not.
    pub(crate) async fn execute(&self, command: Command, sink: &Sink) -> Result<(), Failure> {
        let request = match command {
            Command::Register {
                name,
                invite,
                recovery,
            } => Request::Register {
                name,
                invite,
                recovery: recovery
                    .map(|file| passphrase::recovery(&file))
                    .transpose()?,
            },
            Command::Status => Request::Status,
            Command::Who { watch } => Request::Who { watch },
            Command::Pay(pay) => return self.pay(pay, sink).await,
            Command::Request(asked) => return self.request(asked, sink).await,
            Command::Requests { limit } => Request::Requests {
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
            },
            Command::Refund(refund) => Request::Refund(RefundRequest {
                entry: refund.entry,
                memo: refund.memo,
                wait: refund.wait,
            }),
            Command::Void { order } => Request::Void { order },
            Command::Tab(tab) => of_tab(tab),
            Command::History(history) => Request::History {
                limit: history.limit,
                after: history.after,
            },
            Command::Receipt(Receipt::Show { id, out }) => return self.show(id, out, sink).await,
            Command::Receipt(Receipt::Verify {
                file_or_id,
                directory,
            }) => return self.verify(file_or_id, directory, sink).await,
            Command::Init(_)
            | Command::Listen(_)
            | Command::Shell(_)
            | Command::Wallet(_)
            | Command::Key(_)
            | Command::Doctor
            | Command::Config { .. }
            | Command::Completions { .. }
            | Command::Man { .. } => {
                return Err(Failure::usage(
                    "this is a command of its own: run it outside the shell",
                ));
            }
        };
        self.ask(request, sink).await
    }

    pub(super) async fn ask(&self, request: Request, sink: &Sink) -> Result<(), Failure> {
        let Some(Current { node, listening }) = &self.node else {
            return once(self.path, request, sink, self.stop).await;
        };
        let currency = node.home().currency();
        check(&request, currency.as_ref())?;
        let _progress = (!request.is_endless()).then(|| sink.progress(request.progress()));
        let interrupted = interruption(&request, currency.as_ref());
        tokio::select! {
            result = run(node, *listening, request, sink) => result,
            () = self.stop.cancelled() => interrupted,
        }
    }

    async fn show(
        &self,
        which: ReceiptName,
        out: Option<PathBuf>,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let mut receipt = self.receipt(which, sink).await?;
        if let Some(file) = out {
            save(&mut receipt, &file)?;
        }
        sink.item(receipt).await?;
        Ok(())
    }

    async fn verify(
        &self,
        what: FileOrId,
        directory: Option<DirectoryKey>,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let ground = match directory {
            Some(DirectoryKey(key)) => Ground::of_key(key),
            None => Ground::of_home(&passphrase::open(self.path)?),
        };
        let text = match what {
            FileOrId::File(file) => load(&file)?,
            FileOrId::Id(which) => self.receipt(which, sink).await?.receipt.into_bytes(),
        };
        verify(&text, &ground, sink).await
    }

    async fn receipt(&self, which: ReceiptName, sink: &Sink) -> Result<item::Receipt, Failure> {
        let (caught_sink, outputs) = Sink::channel();
        let request = Request::Receipt { which };
        let ask = async {
            let result = self.ask(request, &caught_sink).await;
            drop(caught_sink);
            result
        };
        let (asked, receipt) = tokio::join!(ask, caught(outputs, sink));
        asked?;
        receipt.ok_or_else(|| Failure::other("internal", "the answer held no receipt"))
    }
}

fn of_tab(tab: Tab) -> Request {
    match tab {
        Tab::Open(open) => Request::OpenTab(OpenTabRequest {
            payee: open.name,
            unit: open.unit,
            units: open.units,
            expires: open.expires,
            grace: open.grace,
            memo: open.memo.unwrap_or_default(),
            reference: open.reference,
            wait: open.wait,
            intent: None,
        }),
        Tab::List => Request::Tabs,
        Tab::Pay { tab, units, wait } => Request::PayTab(PayTabRequest { tab, units, wait }),
        Tab::Close { tab } => Request::CloseTab { tab },
    }
}
