//! Receipts in a row: what comes out of a stream is what went into it.

use quid_common::checkpoint::Checkpoint;
use quid_common::frame::{BODY_LEN_MAX, FrameReader};
use quid_common::merkle::PATH_LEN_MAX;
use quid_common::receipt::Receipt;
use quid_common::refusal::Reason;
use quid_common::wire::{
    Message, MessageError, Paid, PaidNext, Run, Settled, SettledNext, SubmitRefused,
};

use super::receipts::long_log;
use super::world::World;

#[test]
fn receipts_of_any_batches_come_out_whole() {
    let (world, log) = long_log();
    let receipts: Vec<Receipt> = [(0..5, 5), (5..6, 6), (6..33, 33), (3..9, 33), (0..8, 8)]
        .into_iter()
        .flat_map(|(batch, size)| {
            let checkpoint = Checkpoint::sign(world.ledger, log.head(size), &world.directory);
            batch.map(move |index| (index, size, checkpoint.clone()))
        })
        .map(|(index, size, checkpoint)| log.receipt(index, size, checkpoint))
        .collect();
    let (mut settled, mut paid, mut out) = (Run::new(), Run::new(), [Vec::new(), Vec::new()]);
    for (number, receipt) in (0..).zip(&receipts) {
        settled.write_settled(number, receipt.borrow(), &mut out[0]);
        paid.write_paid(number, receipt.borrow(), &mut out[1]);
    }
    let came = out.map(|bytes| read(&bytes, &mut Run::new()).expect("it can be read"));
    for (number, receipt) in (0..).zip(receipts) {
        let at = number as usize;
        let settled = Settled {
            number,
            receipt: receipt.clone(),
        };
        assert_eq!(came[0][at], settled.into());
        assert_eq!(came[1][at], Paid { number, receipt }.into());
    }
}

#[test]
fn what_a_batch_shares_is_said_once() {
    let (world, log) = long_log();
    let checkpoint = Checkpoint::sign(world.ledger, log.head(32), &world.directory);
    let mut run = Run::new();
    let mut lens = (0..32).map(|index| {
        let receipt = log.receipt(index, 32, checkpoint.clone());
        let mut out = Vec::new();
        run.write_settled(index, receipt.borrow(), &mut out);
        out.len() - receipt.entry.len()
    });
    let first = lens.next().expect("32 of them");
    assert!(first > 5 * 32 + checkpoint.as_str().len());
    // Of two that follow each other, half differ in their lowest hash alone, a quarter in two.
    let rest: usize = lens.sum();
    assert!(rest < 31 * (2 * 32 + 20), "{rest} bytes beside the entries");
}

#[test]
fn other_answers_between_two_receipts_change_nothing() {
    let world = World::new();
    let mut run = Run::new();
    let mut out = Vec::new();
    run.write_settled(1, world.receipt(4).borrow(), &mut out);
    let refused = SubmitRefused {
        number: 2,
        reason: Reason::BUSY,
        receipt: Some(world.later_receipt(0)),
    };
    Message::from(refused.clone()).write(&mut out);
    run.write_settled(3, world.receipt(5).borrow(), &mut out);
    let [one, two] = [(1, 4), (3, 5)].map(|(number, entry)| {
        let receipt = world.receipt(entry);
        Message::from(Settled { number, receipt })
    });
    let came = read(&out, &mut Run::new());
    assert_eq!(came, Ok(vec![one, refused.into(), two]));
}

#[test]
fn what_rests_on_nothing_is_refused() {
    let world = World::new();
    let whole = world.receipt(4);
    let hashes = (whole.path.len() / 32) as u8;
    let next = |path: usize, shared| SettledNext {
        number: 2,
        entry: whole.entry.clone(),
        index: whole.index,
        path: vec![7; path].into(),
        shared,
    };
    let mut run = Run::new();
    assert_eq!(run.read(next(0, 0).into()), Err(MessageError::Run));
    let paid = PaidNext {
        number: 2,
        entry: whole.entry.clone(),
        index: whole.index,
        path: vec![].into(),
        shared: 0,
    };
    assert_eq!(run.read(paid.into()), Err(MessageError::Run));
    let first = Settled {
        number: 1,
        receipt: whole.clone(),
    };
    run.read(first.into()).expect("whole");
    for too_much in [next(0, hashes + 1), next(0, u8::MAX), next(48 * 32, 1)] {
        let mut run = run.clone();
        assert_eq!(run.read(too_much.into()), Err(MessageError::Run));
    }
    // However many follow each other, no path becomes longer than any may be.
    let mut longest = 0;
    for _ in 0..100 {
        let Ok(Message::Settled(settled)) = run.read(next(32, hashes.max(longest)).into()) else {
            break;
        };
        longest = (settled.receipt.path.len() / 32) as u8;
    }
    assert_eq!(usize::from(longest), PATH_LEN_MAX);
    assert_eq!(MessageError::Run.reason(), Reason::ENCODING);
}

/// What a reader makes of a stream's bytes.
fn read(bytes: &[u8], run: &mut Run) -> Result<Vec<Message>, MessageError> {
    let mut frames = FrameReader::new(BODY_LEN_MAX);
    frames.push(bytes);
    let mut messages = Vec::new();
    while let Ok(Some((kind, body))) = frames.next_borrowed() {
        messages.push(run.read(Message::read(kind, body)?)?);
    }
    assert!(frames.is_empty());
    Ok(messages)
}
