//! Signed facts and entries.

use coset::{CborSerializable, CoseSign1};
use quid_common::cbor;
use quid_common::entry::{Entry, Freeze, Genesis, Issue, Registration};
use quid_common::order::{Decline, Order, Void};
use quid_common::request::Request;
use quid_common::signed::{SIGNED_LEN_MAX, Signed, Statement};
use quid_common::tab::{Close, Terms};

use crate::evidence::Genuine;
use crate::samples::envelope;
use crate::strict;

/// The bytes are tried as every kind of signed fact, and as every plain statement that has a
/// specimen.
///
/// They are one kind at most; a COSE library and an envelope written out by hand find the same in
/// them; and a signature of one of our keys is over one of our facts.
pub fn facts(bytes: &[u8]) {
    each(bytes);
    for specimen in &Genuine::get().specimens {
        if let Some(again) = (specimen.reread)(bytes) {
            assert_eq!(again, bytes, "{specimen:?} has two encodings");
        }
    }
}

/// The bytes are an entry of the log.
///
/// What is read is encoded as it came, the short cut to a payment's order finds what the entry
/// holds, and a signature of one of our keys is over one of our facts.
pub fn entries(bytes: &[u8]) {
    strict::items(bytes);
    let payment = Entry::payment_in(bytes);
    let Ok(entry) = Entry::decode(bytes) else {
        return;
    };
    assert_eq!(entry.encode(), bytes);
    let order = entry.order().map(Signed::bytes);
    assert_eq!(payment, Ok(order));
    Genuine::get().entry(&entry);
}

/// Tries `bytes` as every kind of signed fact.
pub(crate) fn each(bytes: &[u8]) {
    let kinds = [
        fact::<Order>(bytes),
        fact::<Void>(bytes),
        fact::<Decline>(bytes),
        fact::<Registration>(bytes),
        fact::<Genesis>(bytes),
        fact::<Issue>(bytes),
        fact::<Freeze>(bytes),
        fact::<Terms>(bytes),
        fact::<Request>(bytes),
        fact::<Close>(bytes),
    ];
    let count = kinds.into_iter().filter(|is_this| *is_this).count();
    assert!(count <= 1, "bytes that are {count} kinds of fact");
}

/// Whether the bytes are a signed `T`.
fn fact<T: Statement>(bytes: &[u8]) -> bool {
    let Ok(fact) = Signed::<T>::from_bytes(bytes) else {
        return false;
    };
    assert!(bytes.len() <= SIGNED_LEN_MAX && fact.bytes() == bytes);
    let payload = cbor::encode(fact.statement());
    let by_hand = envelope(T::CONTENT_TYPE, &payload, fact.signature());
    assert_eq!(by_hand, bytes, "two encodings of one fact");
    let theirs = CoseSign1::from_slice(bytes).expect("a COSE library reads it");
    assert_eq!(theirs.payload.as_ref(), Some(&payload));
    assert_eq!(theirs.signature, fact.signature());
    assert_eq!(theirs.tbs_data(b""), fact.message());
    Genuine::get().fact(&fact);
    true
}
