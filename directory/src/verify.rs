//! Signatures in batches, by the ZIP-215 rule, with an exact answer for each.

use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use quid_common::key::PublicKey;
use rand::CryptoRng;

/// A signature to judge.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Whoever vouches for it. A bad one makes those of the same source suspect, and no others.
    pub from: PublicKey,
    /// Who should have signed.
    pub key: PublicKey,
    /// What.
    pub message: Vec<u8>,
    /// The signature.
    pub signature: [u8; 64],
}

impl From<(PublicKey, Vec<u8>, [u8; 64])> for Claim {
    /// The claim that nobody vouches for but its signer.
    fn from((key, message, signature): (PublicKey, Vec<u8>, [u8; 64])) -> Self {
        Self {
            from: key,
            key,
            message,
            signature,
        }
    }
}

impl Claim {
    fn holds(&self) -> bool {
        self.key.verify(&self.message, &self.signature)
    }
}

/// Whether each claim holds, in order.
///
/// All are checked together, which is two to three times as fast as one by one. If that fails, the
/// claims of each source are checked together, and only within a source that fails one by one: so
/// a source that sends bad ones costs the others at most a second batch. `random` weighs the
/// claims against each other and must not be predictable by the signers.
pub fn verify(claims: &[Claim], random: &mut impl CryptoRng) -> Vec<bool> {
    if together(claims, random) {
        return vec![true; claims.len()];
    }
    let mut verdicts = Vec::with_capacity(claims.len());
    for of_source in claims.chunk_by(|one, other| one.from == other.from) {
        if of_source.len() < claims.len() && together(of_source, random) {
            verdicts.resize(verdicts.len() + of_source.len(), true);
        } else {
            verdicts.extend(of_source.iter().map(Claim::holds));
        }
    }
    verdicts
}

/// Whether each claim holds, in order, at the same cost whatever they are.
#[must_use]
pub fn one_by_one(claims: &[Claim]) -> Vec<bool> {
    claims.iter().map(Claim::holds).collect()
}

/// Whether all hold, when that is cheaper to find out together; false says nothing.
fn together(claims: &[Claim], random: &mut impl CryptoRng) -> bool {
    if claims.len() < BATCH_LEN_MIN {
        return false;
    }
    let mut together = batch::Verifier::new();
    for claim in claims {
        let key = VerificationKeyBytes::from(*claim.key.as_bytes());
        together.queue((key, Signature::from_bytes(&claim.signature), &claim.message));
    }
    together.verify(random).is_ok()
}

/// Below this many, a batch costs more than its parts.
const BATCH_LEN_MIN: usize = 4;

#[cfg(test)]
mod tests {
    use quid_common::id::{LedgerId, OrderId};
    use quid_common::key::SecretKey;
    use quid_common::order::Void;
    use quid_common::time::LedgerTime;

    use super::*;

    fn claim(seed: u8) -> Claim {
        let key = SecretKey::from_seed(&[seed; 32]);
        let id = OrderId::new(LedgerTime::from_millis(1), [seed; 10]);
        let void = Void::sign(LedgerId([0; 32]), id, &key);
        Claim {
            from: PublicKey::from_bytes([seed / 7; 32]),
            key: key.public(),
            message: void.message(),
            signature: *void.signature(),
        }
    }

    #[test]
    fn one_bad_signature_is_found_and_its_neighbours_stand() {
        for len in [0, 1, 3, 4, 33] {
            let good: Vec<Claim> = (0..len).map(claim).collect();
            assert_eq!(
                verify(&good, &mut rand::rng()),
                vec![true; usize::from(len)]
            );
            for bad in 0..usize::from(len) {
                let mut claims = good.clone();
                claims[bad].signature[5] ^= 1;
                let verdicts = verify(&claims, &mut rand::rng());
                assert_eq!(verdicts, one_by_one(&claims));
                for (at, verdict) in verdicts.into_iter().enumerate() {
                    assert_eq!(verdict, at != bad);
                }
            }
        }
    }
}
