//! `quid pay` and `quid request` before and after a node is asked: who is asked first, and where the
//! link is shown.

use std::io::{self, IsTerminal};

use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc;

use super::ask::Asker;
use super::failure::Failure;
use super::init::typed_line;
use super::item::{Item, Prospect, Requested};
use super::listen::{self, Station};
use super::qr::{Picture, Squares};
use super::request::{AskRequest, PayLinkRequest, PayRequest, Request};
use super::screen::{Output, Sink};
use super::value::Payee;
use super::{AskFor, Pay};

impl Asker<'_> {
    /// Pays somebody by name, or what a link asks for.
    pub(super) async fn pay(&self, pay: Pay, sink: &Sink) -> Result<(), Failure> {
        match pay.payee {
            Payee::Name(payee) => {
                if pay.again || pay.yes {
                    return Err(Failure::usage(
                        "--yes and --again are for the link of a request: leave them out",
                    ));
                }
                let amount = pay.amount.ok_or_else(|| {
                    Failure::usage("missing: AMOUNT; `quid pay --help` shows how")
                })?;
                let request = PayRequest {
                    payee,
                    amount,
                    memo: pay.memo.unwrap_or_default(),
                    reference: pay.reference,
                    wait: pay.wait,
                    intent: None,
                };
                self.ask(Request::Pay(request), sink).await
            }
            Payee::Link(link) => {
                if pay.reference.is_some() {
                    return Err(Failure::usage(
                        "--reference: a request has its own; leave it out",
                    ));
                }
                let request = PayLinkRequest {
                    link: *link,
                    amount: pay.amount,
                    memo: pay.memo,
                    again: pay.again,
                    wait: pay.wait,
                };
                if !pay.yes {
                    self.confirm(&request, sink).await?;
                }
                self.ask(Request::PayLink(request), sink).await
            }
        }
    }

    /// Shows who asks for what, and lets a person say yes. What was paid before is not asked about:
    /// nothing is sent for it.
    async fn confirm(&self, request: &PayLinkRequest, sink: &Sink) -> Result<(), Failure> {
        let (caught, outputs) = Sink::channel();
        let link = request.link.clone();
        let ask = async {
            let asked = self.ask(Request::Prospect { link }, &caught).await;
            drop(caught);
            asked
        };
        let (asked, prospect) = tokio::join!(ask, prospect(outputs, sink));
        asked?;
        let mut prospect =
            prospect.ok_or_else(|| Failure::other("internal", "the answer held no request"))?;
        if prospect.earlier.is_some() && !request.again {
            return Ok(());
        }
        if let Some(amount) = &request.amount {
            prospect.amount.get_or_insert_with(|| amount.to_string());
        }
        if !self.asks {
            let message = format!(
                "{}; nobody can be asked here: run it again with --yes to pay",
                prospect.sentence()
            );
            return Err(Failure::other("not_confirmed", message));
        }
        sink.note(Item::from(prospect).to_string()).await?;
        sink.note("Type yes to pay:").await?;
        let answer = tokio::select! {
            answer = typed_line() => answer,
            () = self.stop.cancelled() => String::new(),
        };
        if answer.trim() == "yes" {
            Ok(())
        } else {
            let message = "not confirmed; nothing was sent";
            Err(Failure::other("not_confirmed", message))
        }
    }

    /// Makes a request, and shows its link as it is wanted. To wait for its payment this process
    /// listens, unless another does.
    pub(super) async fn request(&self, asked: AskFor, sink: &Sink) -> Result<(), Failure> {
        if let Some(request) = asked.cancel {
            return self.ask(Request::Cancel { request }, sink).await;
        }
        if asked.wait && self.node.is_none() {
            match Station::open(self.path, |_| Ok(listen::waiting())).await {
                Ok(station) => {
                    let asker = Asker {
                        path: self.path,
                        stop: self.stop,
                        node: Some(station.current()?),
                        asks: self.asks,
                    };
                    let result = asker.made(asked, sink).await;
                    station.close().await;
                    return result;
                }
                // Then that process is asked.
                Err(Failure::Told(report)) if report.error == "held" => {}
                Err(error) => return Err(error),
            }
        }
        self.made(asked, sink).await
    }

    async fn made(&self, asked: AskFor, sink: &Sink) -> Result<(), Failure> {
        let request = AskRequest {
            amount: asked.amount.or(asked.unit),
            units: asked.units,
            memo: asked.memo.unwrap_or_default(),
            life: asked.expires,
            once: asked.once,
            wait: asked.wait,
        };
        let show = Show {
            drawn: asked.qr || io::stderr().is_terminal(),
            forced: asked.qr,
            // Before anything is asked for.
            picture: asked.png.map(Picture::make).transpose()?,
        };
        let (caught, outputs) = Sink::channel();
        let ask = async {
            let result = self.ask(Request::Ask(request), &caught).await;
            drop(caught);
            result
        };
        let (asked, shown) = tokio::join!(ask, show.outputs(outputs, sink));
        // A picture that cannot be written takes nothing back: the link stands.
        asked.and(shown)
    }
}

/// How a link is shown beside its text.
struct Show {
    drawn: bool,
    forced: bool,
    picture: Option<Picture>,
}

impl Show {
    /// Passes outputs on; the request that is among them is shown.
    async fn outputs(
        mut self,
        mut outputs: mpsc::Receiver<Output>,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let mut result = Ok(());
        while let Some(output) = outputs.recv().await {
            match output {
                Output::Item(item) => match *item {
                    Item::Requested(item) => result = result.and(self.show(item, sink).await),
                    other => sink.item(other).await?,
                },
                other => sink.send(other).await?,
            }
        }
        result
    }

    async fn show(&mut self, mut item: Requested, sink: &Sink) -> Result<(), Failure> {
        let link = item.link.clone();
        let saved = match self.picture.take() {
            None => Ok(()),
            Some(picture) => Squares::for_paper(&link)
                .and_then(|code| picture.draw(&code))
                .map(|file| item.file = Some(file.display().to_string())),
        };
        sink.item(item).await?;
        if self.drawn {
            self.draw(&link, sink).await?;
        }
        saved
    }

    async fn draw(&self, link: &str, sink: &Sink) -> Result<(), Failure> {
        let code = Squares::for_screen(link)?;
        let room = tcgetwinsize(io::stderr()).map_or(usize::MAX, |size| size.ws_col.into());
        if code.columns() > room && !self.forced {
            let note = format!(
                "the QR code needs {} columns and the terminal has {room}: widen it, or --png FILE \
                 saves it",
                code.columns()
            );
            return Ok(sink.note(note).await?);
        }
        let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        for line in code.lines(colour) {
            sink.note(line).await?;
        }
        Ok(())
    }
}

/// The prospect among outputs; everything else is passed on.
async fn prospect(mut outputs: mpsc::Receiver<Output>, sink: &Sink) -> Option<Prospect> {
    let mut prospect = None;
    while let Some(output) = outputs.recv().await {
        match output {
            Output::Item(item) => match *item {
                Item::Prospect(item) => prospect = Some(item),
                other => sink.item(other).await.ok()?,
            },
            other => sink.send(other).await.ok()?,
        }
    }
    prospect
}
