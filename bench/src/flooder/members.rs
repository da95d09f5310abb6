//! Floods by accounts.

use std::sync::Arc;
use std::time::Duration;

use quid_common::frame::Frame;
use quid_common::id::OrderId;
use quid_common::key::PublicKey;
use quid_common::refusal::Reason;
use quid_common::wire::*;
use quinn::{Connection, Endpoint, SendStream};
use rand::RngExt;
use tokio::time::{sleep, timeout};

use super::{CALL_WAIT, ROLE, Siege, Workers, endpoint};
use crate::client::{Node, Session, key, letters};
use crate::report::Failure;
use crate::stream::{Reader, ask, queue};

/// Accounts that flood, registered before it begins.
pub(super) async fn accounts(siege: &Siege, count: u32) -> Result<Vec<(Endpoint, u32)>, Failure> {
    let mut accounts = Vec::new();
    for number in 0..count.max(1) {
        let endpoint = endpoint(number)?;
        let (node, connection) = siege
            .call(&endpoint, number)
            .await
            .ok_or("a flooder was not let in")?;
        let name = format!("flooder-{}", letters(number));
        node.register(&connection, &siege.directory, &name).await?;
        connection.close(0_u32.into(), b"");
        siege.closed();
        accounts.push((endpoint, number));
    }
    Ok(accounts)
}

/// A session of the account `number`; `None` if it was refused.
pub(super) async fn log_in(
    siege: &Siege,
    endpoint: &Endpoint,
    number: u32,
) -> Option<(Node, Session)> {
    let (node, connection) = siege.call(endpoint, number).await?;
    match timeout(CALL_WAIT, node.begin(connection, false)).await {
        Ok(Ok(session)) => Some((node, session)),
        _ => {
            siege.refused();
            siege.closed();
            None
        }
    }
}

/// Does `work` on one session of each account after another, so many at once, as long as the flood
/// is on. A session that ends is begun anew.
async fn each<F>(
    siege: &Arc<Siege>,
    count: u32,
    at_once: u32,
    work: impl Fn(Arc<Siege>, Node, Arc<Session>) -> F + Clone + Send + 'static,
) -> Result<Workers, Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut workers = Workers::new();
    for (endpoint, number) in accounts(siege, count).await? {
        for _ in 0..at_once {
            let (siege, work, endpoint) = (Arc::clone(siege), work.clone(), endpoint.clone());
            workers.add(async move {
                loop {
                    siege.wanted().await;
                    let Some((node, session)) = log_in(&siege, &endpoint, number).await else {
                        sleep(AGAIN).await;
                        continue;
                    };
                    let session = Arc::new(session);
                    // Whatever ends it is the directory's answer to a flood.
                    while siege.is_on()
                        && work(Arc::clone(&siege), node.clone(), Arc::clone(&session))
                            .await
                            .is_ok()
                    {}
                    session.connection.close(0_u32.into(), b"");
                    siege.closed();
                }
            });
        }
    }
    Ok(workers)
}

/// Asks `question` and counts the answer.
async fn question(siege: &Siege, at: &Connection, question: Message) -> Result<(), Failure> {
    let answer = timeout(ANSWER_WAIT, ask(at.open_bi().await?, question)).await??;
    match answer {
        Message::Refused(Refused {
            reason: Reason::BUSY,
        }) => siege.refused(),
        _ => siege.done(),
    }
    Ok(())
}

pub(super) async fn who(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, QUESTIONERS, |siege, _, session| async move {
        let page = Who {
            after: None,
            limit: PAGE_LEN_MAX,
        };
        question(&siege, &session.connection, page.into()).await
    })
    .await
}

pub(super) async fn questions(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(
        siege,
        count,
        QUESTIONERS,
        |siege, node, session| async move {
            let history = AskHistory {
                before: None,
                after: None,
                limit: PAGE_LEN_MAX,
            };
            let size = rand::rng().random_range(1..200);
            let growth = AskConsistency { from: 1, to: size };
            let fate = AskFate {
                payer: node.public(),
                id: random_id(&session),
            };
            let all: [Message; 4] = [
                history.into(),
                growth.into(),
                fate.into(),
                AskBalance {}.into(),
            ];
            for one in all {
                question(&siege, &session.connection, one).await?;
            }
            Ok(())
        },
    )
    .await
}

/// What is other accounts': orders, tabs, entries.
pub(super) async fn others(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(
        siege,
        count,
        QUESTIONERS,
        |siege, node, session| async move {
            let victim = key(ROLE, 999_998);
            let (payer, id) = (victim.public(), random_id(&session));
            let entry = rand::rng().random_range(0..100);
            let all: [Message; 3] = [
                AskFate { payer, id }.into(),
                AskTab { payer, id }.into(),
                Prove { entry }.into(),
            ];
            for one in all {
                question(&siege, &session.connection, one).await?;
            }
            // An order between two others, as if it were the sender's to submit.
            let order = session.order(&victim, PublicKey::from_bytes([9; 32]));
            submit_once(&siege, &session, order, Reason::WRONG_SUBMITTER).await?;
            drop(node);
            Ok(())
        },
    )
    .await
}

async fn submit_once(
    siege: &Siege,
    session: &Session,
    order: Vec<u8>,
    expected: Reason,
) -> Result<(), Failure> {
    let (mut send, receive) = session.connection.open_bi().await?;
    let mut out = Vec::new();
    queue(&mut out, OpenSettle {});
    queue(&mut out, submission(1, order));
    send.write_all(&out).await?;
    let _ = send.finish();
    match timeout(ANSWER_WAIT, Reader::new(receive).next()).await?? {
        Message::SubmitRefused(it) if it.reason == expected => siege.done(),
        Message::SubmitRefused(it) if it.reason == Reason::BUSY => siege.refused(),
        // What is not owed must not settle, whatever else happens.
        other => {
            eprintln!("quid-bench: a hostile order was answered: {other:?}");
            std::process::exit(1);
        }
    }
    Ok(())
}

/// Every kind of message as the first of a stream, with random bytes in it.
pub(super) async fn messages(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, QUESTIONERS, |siege, _, session| async move {
        for (kind, _) in Message::KINDS {
            let mut body = vec![0; rand::rng().random_range(0..64)];
            rand::rng().fill(body.as_mut_slice());
            let (mut send, mut receive) = session.connection.open_bi().await?;
            let mut out = Vec::new();
            Frame { kind: *kind, body }.write(&mut out);
            send.write_all(&out).await?;
            let _ = send.finish();
            let _ = timeout(ANSWER_WAIT, receive.read_to_end(64 * 1024)).await?;
            siege.done();
        }
        Ok(())
    })
    .await
}

/// Bad signatures, as fast as they are refused.
pub(super) async fn signatures(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, 1, |siege, node, session| async move {
        let mut order = session.order(&node.key, PublicKey::from_bytes([9; 32]));
        if let Some(last) = order.len().checked_sub(60).and_then(|at| order.get_mut(at)) {
            *last ^= 1;
        }
        submit_all(&siege, &session, &vec![order; SUBMITTED]).await
    })
    .await
}

/// Good orders, each a new one.
pub(super) async fn orders(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, 1, |siege, node, session| async move {
        let payee = key(ROLE, 0).public();
        let payee = if node.public() == payee {
            key(ROLE, 1).public()
        } else {
            payee
        };
        let orders: Vec<Vec<u8>> = (0..SUBMITTED)
            .map(|_| session.order(&node.key, payee))
            .collect();
        submit_all(&siege, &session, &orders).await
    })
    .await
}

/// Submits and counts what is settled, and what is refused as *busy*.
async fn submit_all(siege: &Siege, session: &Session, orders: &[Vec<u8>]) -> Result<(), Failure> {
    let (mut send, receive) = session.connection.open_bi().await?;
    let mut out = Vec::new();
    queue(&mut out, OpenSettle {});
    for (number, order) in (0..).zip(orders) {
        queue(&mut out, submission(number, order.clone()));
    }
    send.write_all(&out).await?;
    let _ = send.finish();
    let mut answers = Reader::new(receive);
    for _ in orders {
        match timeout(ANSWER_WAIT, answers.next()).await?? {
            Message::SubmitRefused(it) if it.reason == Reason::BUSY => siege.refused(),
            _ => siege.done(),
        }
    }
    Ok(())
}

pub(super) async fn logins(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, 1, |siege, _, _| async move {
        siege.done();
        Err("gone again".into())
    })
    .await
}

/// Frames that are never finished: a stranger's, and an account's on all its streams.
pub(super) async fn drips(siege: &Arc<Siege>, count: u32) -> Result<Workers, Failure> {
    each(siege, count, 4, |siege, _, session| async move {
        let mut streams = Vec::new();
        for _ in 0..STREAMS {
            let (send, receive) = session.connection.open_bi().await?;
            streams.push((send, receive));
        }
        for byte in [0_u8, 0, 0, 99, 0, 3, 0x84, 0x50, 1, 1] {
            for (send, _) in &mut streams {
                send.write_all(&[byte]).await?;
                siege.done();
            }
            sleep(Duration::from_secs(1)).await;
        }
        Ok(())
    })
    .await
}

/// Accounts that are answered and read nothing, each on two sessions.
pub(super) async fn deaf(siege: &Arc<Siege>, count: u32, events: bool) -> Result<Workers, Failure> {
    each(siege, count, 2, move |siege, node, session| async move {
        let order = session.order(&node.key, key(ROLE, 0).public());
        let mut out = Vec::new();
        for number in 0..SUBMITTED as u64 {
            queue(&mut out, submission(number, order.clone()));
        }
        let mut listening = Vec::new();
        for _ in 0..if events { 7 } else { 0 } {
            let (mut send, receive) = session.connection.open_bi().await?;
            let wanted = Subscribe {
                after: None,
                presence: true,
            };
            write(&mut send, wanted).await?;
            listening.push((send, receive));
        }
        let mut streams = Vec::new();
        for _ in 0..7 {
            let (mut send, receive) = session.connection.open_bi().await?;
            write(&mut send, OpenSettle {}).await?;
            let (siege, out) = (Arc::clone(&siege), out.clone());
            streams.push(receive);
            tokio::spawn(async move {
                while send.write_all(&out).await.is_ok() {
                    siege.done();
                }
            });
        }
        session.connection.closed().await;
        siege.refused();
        Err("it was closed".into())
    })
    .await
}

async fn write(send: &mut SendStream, message: impl Into<Message>) -> Result<(), Failure> {
    let mut out = Vec::new();
    queue(&mut out, message);
    send.write_all(&out).await?;
    Ok(())
}

pub(super) fn submission(number: u64, order: Vec<u8>) -> Submit {
    Submit {
        number,
        order: order.into(),
        decline: None,
    }
}

fn random_id(session: &Session) -> OrderId {
    let mut random = [0; 10];
    rand::rng().fill(&mut random);
    OrderId::new(session.now().plus(Duration::from_secs(30)), random)
}

/// Questions of one account at once.
const QUESTIONERS: u32 = 8;

/// Orders submitted in one write.
const SUBMITTED: usize = 256;

/// Streams that an account may have.
const STREAMS: usize = 16;

/// Longest wait for an answer: longer than the directory lets one wait.
const ANSWER_WAIT: Duration = Duration::from_secs(20);

/// Until an account that was refused calls again.
const AGAIN: Duration = Duration::from_millis(200);
