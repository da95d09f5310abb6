//! What one payment alone takes at least: the parts of it that cannot be done at once.
//!
//! The order must be signed before it is verified, verified before it is in the log, in the log
//! before the checkpoint over it is signed, and that signed before it is verified. And as long as
//! the sockets are not to wait for the disk, the order passes from one thread to another, and its
//! answer back.

use std::sync::mpsc::sync_channel;
use std::thread;

use quid_common::checkpoint::{Checkpoint, Head};
use quid_common::id::{LedgerId, OrderId};
use quid_common::order::{Memo, Order, STATEMENT_VERSION};
use quid_common::signed::{Signed, Statement};
use quid_common::time::LedgerTime;

use crate::client::{ONE, PAYEE, PAYER, key};
use crate::floors::per_turn;
use crate::report::{Failure, Report};

/// Those parts, measured with the functions that payer and directory use.
pub(crate) struct Least {
    signatures_us: f64,
    handover_us: f64,
}

impl Least {
    /// Measures them, within half a second.
    pub(crate) fn measure() -> Result<Self, Failure> {
        Ok(Self {
            signatures_us: signatures()?,
            handover_us: handover()?,
        })
    }

    /// Reports them, and the least that `ratio_latency_floor` can be: with everything else free.
    pub(crate) fn put(&self, report: &mut Report, floor: f64) {
        let least = floor + self.signatures_us + 2.0 * self.handover_us;
        report.put("signatures_us", self.signatures_us);
        report.put("handover_us", self.handover_us);
        report.put("ratio_latency_least", least / floor);
    }
}

/// Order and checkpoint of one payment, each signed and verified.
fn signatures() -> Result<f64, Failure> {
    let (payer, payee, directory) = (key(PAYER, 0), key(PAYEE, 0).public(), key(0, 0));
    let ledger = LedgerId([7; 32]);
    let mut sound = true;
    let seconds = per_turn(1000, |turn| {
        let order = Order {
            version: STATEMENT_VERSION,
            ledger,
            id: OrderId::new(LedgerTime::from_millis(turn as u64), [3; 10]),
            payer: payer.public(),
            payee,
            amount: ONE,
            memo: Memo::default(),
            reference: None,
        };
        let order = Signed::new(order, &payer);
        let signer = order.statement().signer();
        sound &= signer.verify(&order.message(), order.signature());
        let head = Head {
            size: turn as u64 + 1,
            root: [turn as u8; 32],
        };
        let checkpoint = Checkpoint::sign(ledger, head, &directory);
        sound &= checkpoint.verify(ledger, &directory.public()).is_ok();
    });
    if sound {
        Ok(seconds * 1e6)
    } else {
        Err("a sound signature was refused".into())
    }
}

/// From a thread to another that waits for it.
fn handover() -> Result<f64, Failure> {
    let (there, work) = sync_channel(1);
    let (back, done) = sync_channel(1);
    let other =
        thread::spawn(
            move || {
                while work.recv().is_ok_and(|turn: usize| back.send(turn).is_ok()) {}
            },
        );
    let mut sound = true;
    let seconds = per_turn(4000, |turn| {
        sound &= there.send(turn).is_ok() && done.recv() == Ok(turn);
    });
    drop(there);
    if sound && other.join().is_ok() {
        Ok(seconds * 1e6 / 2.0)
    } else {
        Err("a thread ended".into())
    }
}
