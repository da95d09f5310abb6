//! Fills a ledger quickly: real keys, registrations, orders and signatures, through the
//! settlement's own rules and log, without the network.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::UNIX_EPOCH;

use quid_common::amount::{Amount, Currency};
use quid_common::entry::Registration;
use quid_common::id::OrderId;
use quid_common::key::{PublicKey, SecretKey};
use quid_common::order::{LIFE_DEFAULT, Memo, Order, STATEMENT_VERSION};
use quid_common::signed::Signed;
use quid_common::time::LedgerTime;
use quid_directory::books::Books;
use quid_directory::folder::Folder;
use quid_directory::settlement::{self, Answer, Ask, Checked, Committer, Job, Outlet, Reply};

use crate::client::{key, letters};
use crate::report::Failure;

/// Begins a ledger in `data` with so many accounts, each with an opening balance, and lets them pay
/// each other until the log has so many entries.
pub(crate) fn fill(data: &Path, accounts: u32, entries: u64) -> Result<(), Failure> {
    let folder = Folder::create_or_open(data)?;
    let lock = folder.lock("the bench")?;
    let mut books = Books::open(&folder, lock, Some(&Currency::default()), false)?;
    books.opening_balance = Amount::new(OPENING);
    let (directory, ledger) = (books.key.public(), books.ledger.ledger_id());
    let mut committer = Committer::new(books, Arc::default());
    eprintln!("registering {accounts} accounts");
    let keys = keys(accounts);
    commit_all(&mut committer, accounts.into(), |n| {
        let key = keys.get(n as usize)?;
        let name = format!("member-{}", letters(u32::try_from(n).ok()?));
        let wish = Registration {
            directory,
            name: name.parse().ok()?,
            key: key.public(),
            recovery: None,
        };
        Some((key.public(), Ask::Register(Signed::new(wish, key))))
    })?;
    // The genesis, and two entries for each account.
    let payments = entries.saturating_sub(1 + 2 * u64::from(accounts));
    eprintln!("settling {payments} payments");
    commit_all(&mut committer, payments, |n| {
        let (payer, payee) = pair(n, accounts);
        let (payer, payee) = (keys.get(payer as usize)?, keys.get(payee as usize)?);
        let now = u64::try_from(UNIX_EPOCH.elapsed().ok()?.as_millis()).ok()?;
        let mut tail = [0; 10];
        *tail.first_chunk_mut()? = n.to_be_bytes();
        let order = Order {
            version: STATEMENT_VERSION,
            ledger,
            id: OrderId::new(LedgerTime::from_millis(now).plus(LIFE_DEFAULT), tail),
            payer: payer.public(),
            payee: payee.public(),
            amount: Amount::new(1)?,
            memo: Memo::default(),
            reference: None,
        };
        Some((payer.public(), Ask::Order(Signed::new(order, payer), None)))
    })?;
    committer.into_books().close();
    Ok(())
}

/// The key of account `number` of a filled ledger.
pub(crate) fn member(number: u32) -> SecretKey {
    key(MEMBER, number)
}

/// Two different accounts, in an order without a pattern that a cache could use.
fn pair(n: u64, accounts: u32) -> (u32, u32) {
    let accounts = u64::from(accounts);
    let payer = (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20) % accounts;
    let payee = (payer + 1 + n % (accounts - 1)) % accounts;
    (payer as u32, payee as u32)
}

fn keys(accounts: u32) -> Vec<SecretKey> {
    std::thread::scope(|scope| {
        let half = accounts / 2;
        let upper = scope.spawn(move || (half..accounts).map(member).collect::<Vec<_>>());
        let mut keys: Vec<_> = (0..half).map(member).collect();
        keys.extend(
            upper
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
        );
        keys
    })
}

type Batch = (Vec<Checked>, Arc<Outlet>);

/// Has `count` jobs made and their signatures verified by a thread for each core, and commits them
/// here.
fn commit_all(
    committer: &mut Committer,
    count: u64,
    make: impl Fn(u64) -> Option<(PublicKey, Ask)> + Sync,
) -> Result<(), Failure> {
    std::thread::scope(|scope| {
        let make = &make;
        let batches: Vec<Receiver<Option<Batch>>> = (0..MAKERS)
            .map(|maker| {
                let (made, batches) = sync_channel(2);
                scope.spawn(move || {
                    let firsts = (maker * BATCH_LEN..count).step_by((MAKERS * BATCH_LEN) as usize);
                    for first in firsts {
                        let batch = batch(first, count.min(first + BATCH_LEN), make);
                        if made.send(batch).is_err() {
                            return;
                        }
                    }
                });
                batches
            })
            .collect();
        for maker in batches.iter().cycle() {
            let Ok(batch) = maker.recv() else {
                return Ok(());
            };
            let (batch, answers) = batch.ok_or("a job could not be made")?;
            committer.commit(batch);
            for (_, answer) in answers.take_now() {
                if !matches!(answer, Answer::Settled(_) | Answer::Done(_)) {
                    return Err(format!("not settled: {answer:?}").into());
                }
            }
        }
        Ok(())
    })
}

fn batch(first: u64, end: u64, make: &impl Fn(u64) -> Option<(PublicKey, Ask)>) -> Option<Batch> {
    let answers = Arc::new(Outlet::default());
    let jobs = (first..end).map(|n| {
        let (from, ask) = make(n)?;
        let reply = Reply::new(n, &answers);
        Some(Job { from, ask, reply })
    });
    let checked = settlement::check(jobs.collect::<Option<_>>()?);
    Some((checked, answers))
}

/// The seeds' first byte of the members of a filled ledger; see [`crate::client::PAYEE`].
const MEMBER: u8 = 0xc0;

const OPENING: u64 = 1_000_000_000;
const BATCH_LEN: u64 = 512;
const MAKERS: u64 = 2;
