//! The payees' process: each payee takes offers from its payers and settles them on one stream.
//!
//! A payee does here what the library's does, but for its journal: it checks that the order is the
//! connected payer's own and addressed to it, leaves the signature to the directory, verifies the
//! receipt, and only then says *paid*.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;

use quid_common::key::PublicKey;
use quid_common::order::SignedOrder;
use quid_common::receipt::Receipt;
use quid_common::tls;
use quid_common::wire::{Declined, Message, Offer, OpenSettle, Run, Settled, Submit};
use quinn::SendStream;
use tokio::sync::Notify;
use tokio::task::{JoinSet, LocalSet, spawn_local, yield_now};

use crate::client::{self, Node, PAYEE, Session, is_passing};
use crate::options::Payees;
use crate::proofs::Proofs;
use crate::report::Failure;
use crate::stream::{Reader, queue};

/// Serves until stdin ends. Prints each payee's address on a line of its own, then an empty line.
pub(crate) fn run(role: &Payees) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let mut payees = JoinSet::new();
        for number in 0..role.count {
            let node = Node::new(PAYEE, number.into(), true)?;
            let session = node.log_in(&role.directory, &name(number), true).await?;
            println!("{}", node.endpoint.local_addr()?);
            payees.spawn_local(serve(node, session, role.directory.key()));
        }
        println!();
        let (end, ended) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            let _ = end.send(());
        });
        tokio::select! {
            Some(payee) = payees.join_next() => payee?,
            _ = ended => Ok(()),
        }
    })
}

/// Where the payees of a process listen, from what it prints.
pub(crate) fn addresses(lines: &mut impl std::io::BufRead) -> Result<Vec<SocketAddr>, Failure> {
    let mut addresses = Vec::new();
    loop {
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Err("the payees ended".into());
        }
        match line.trim_end() {
            "" => return Ok(addresses),
            address => addresses.push(address.parse()?),
        }
    }
}

/// A payee: what waits for the directory's answer, by number.
struct Payee {
    node: Node,
    proofs: RefCell<Proofs>,
    session: Session,
    settle: Outbox,
    waiting: RefCell<HashMap<u64, Waiting>>,
    next: Cell<u64>,
}

/// An order on its way to the directory.
struct Waiting {
    payer: Rc<Outbox>,
    /// The payer's number for it.
    number: u64,
    order: Vec<u8>,
}

/// Bytes for one stream, gathered until its writer comes round to them.
#[derive(Default)]
struct Outbox {
    bytes: RefCell<Vec<u8>>,
    run: RefCell<Run>,
    wake: Notify,
}

impl Outbox {
    async fn write_to(&self, mut stream: SendStream) -> Result<(), Failure> {
        loop {
            let bytes = self.bytes.take();
            if bytes.is_empty() {
                self.wake.notified().await;
            } else {
                stream.write_all(&bytes).await?;
            }
        }
    }
}

async fn serve(node: Node, session: Session, directory: PublicKey) -> Result<(), Failure> {
    let (send, receive) = session.connection.open_bi().await?;
    let payee = Rc::new(Payee {
        node,
        proofs: RefCell::new(Proofs::new(session.ledger(), directory)),
        session,
        settle: Outbox::default(),
        waiting: RefCell::default(),
        next: Cell::new(0),
    });
    queue(&mut payee.settle.bytes.borrow_mut(), OpenSettle {});
    let (answers, payers) = (Rc::clone(&payee), Rc::clone(&payee));
    tokio::select! {
        ended = payee.settle.write_to(send) => ended,
        ended = take_answers(&answers, Reader::new(receive)) => ended,
        ended = take_payers(payers) => ended,
    }
}

async fn take_answers(payee: &Payee, mut reader: Reader) -> Result<(), Failure> {
    let mut passed_on = Vec::new();
    while reader.more().await? {
        while let Some(message) = reader.ready()? {
            passed_on.extend(payee.answered(message)?);
        }
        // The payers verify for themselves: their receipts leave before this node looks at them.
        yield_now().await;
        payee.proofs.borrow_mut().verify(&passed_on)?;
        passed_on.clear();
    }
    Err("the settle stream ended".into())
}

async fn take_payers(payee: Rc<Payee>) -> Result<(), Failure> {
    while let Some(incoming) = payee.node.endpoint.accept().await {
        let payee = Rc::clone(&payee);
        spawn_local(async move {
            // A payer that leaves concerns nobody else.
            let _ = take_offers(&payee, incoming).await;
        });
    }
    Ok(())
}

async fn take_offers(payee: &Payee, incoming: quinn::Incoming) -> Result<(), Failure> {
    let connection = incoming.await?;
    let identity = connection.peer_identity().ok_or("no certificate")?;
    let chain = identity
        .downcast::<Vec<rustls::pki_types::CertificateDer<'static>>>()
        .map_err(|_| "another kind of identity")?;
    let payer = PublicKey::from_bytes(tls::key_of(chain.first().ok_or("no certificate")?)?);
    let (send, receive) = connection.accept_bi().await?;
    let mut reader = Reader::new(receive);
    let outbox = Rc::new(Outbox::default());
    let writer = Rc::clone(&outbox);
    spawn_local(async move {
        let _ = writer.write_to(send).await;
    });
    while reader.more().await? {
        while let Some(message) = reader.ready()? {
            let Message::Offer(offer) = message else {
                return Err("not an offer".into());
            };
            payee.offered(payer, offer, &outbox)?;
        }
        payee.settle.wake.notify_one();
    }
    Ok(())
}

impl Payee {
    fn offered(&self, payer: PublicKey, offer: Offer, outbox: &Rc<Outbox>) -> Result<(), Failure> {
        let order = SignedOrder::from_bytes(&offer.order)?;
        let stated = order.statement();
        let fits = stated.payer == payer
            && stated.payee == self.node.public()
            && stated.ledger == self.session.ledger()
            && self.session.now() < stated.id.expiry()
            && !stated.amount.is_zero();
        if !fits {
            return Err("an offer that is not to this payee".into());
        }
        let number = self.next.get();
        self.next.set(number + 1);
        let waiting = Waiting {
            payer: Rc::clone(outbox),
            number: offer.number,
            order: order.into_bytes(),
        };
        self.waiting.borrow_mut().insert(number, waiting);
        queue(
            &mut self.settle.bytes.borrow_mut(),
            Submit {
                number,
                order: offer.order,
                decline: None,
            },
        );
        Ok(())
    }

    /// Passes an answer on to its payer; gives a receipt back with the order that it is to prove.
    fn answered(&self, message: Message) -> Result<Option<(Receipt, Vec<u8>)>, Failure> {
        match message {
            Message::Settled(Settled { number, receipt }) => {
                let waiting = self.waiting.borrow_mut().remove(&number).ok_or("unasked")?;
                let mut out = waiting.payer.bytes.borrow_mut();
                let mut run = waiting.payer.run.borrow_mut();
                run.write_paid(waiting.number, receipt.borrow(), &mut out);
                waiting.payer.wake.notify_one();
                Ok(Some((receipt, waiting.order)))
            }
            Message::SubmitRefused(refused) if is_passing(refused.reason) => {
                // The payer hears that it is to slow down, and offers the same bytes again.
                let waiting = self
                    .waiting
                    .borrow_mut()
                    .remove(&refused.number)
                    .ok_or("unasked")?;
                let declined = Declined {
                    number: waiting.number,
                    reason: refused.reason,
                };
                queue(&mut waiting.payer.bytes.borrow_mut(), declined);
                waiting.payer.wake.notify_one();
                Ok(None)
            }
            other => Err(format!("not settled: {other:?}").into()),
        }
    }
}

fn name(number: u16) -> String {
    format!("payee-{}", client::letters(number.into()))
}
