use proptest::prelude::*;

use super::*;

proptest! {
    #[test]
    fn a_payment_is_read_where_it_stands_as_it_is_read_whole(
        number in any::<u32>(), first in any::<u32>(), step in any::<u32>(),
        links in prop::collection::vec(any::<u8>(), 0..200),
        cut in any::<prop::sample::Index>(), flip in any::<u8>(),
    ) {
        let whole = TabPay { number, first, step, links: links.clone().into() };
        let borrowed = TabPayRef { number, first, step, links: &links };
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        Message::from(whole).write(&mut theirs);
        borrowed.write(&mut ours);
        prop_assert_eq!(&theirs, &ours);
        let body = &theirs[frame::HEADER_LEN..];
        prop_assert_eq!(TabPayRef::read(body), Ok(borrowed));
        // And what is damaged is refused by both, or read alike.
        let mut damaged = body.to_vec();
        let at = cut.index(damaged.len());
        damaged[at] ^= flip;
        for damaged in [&damaged[..], &body[..at]] {
            let ours = TabPayRef::read(damaged).ok();
            let theirs: Option<TabPay> = cbor::decode(damaged).ok();
            let theirs = theirs.as_ref().map(|pay| TabPayRef {
                number: pay.number,
                first: pay.first,
                step: pay.step,
                links: &pay.links,
            });
            prop_assert_eq!(ours, theirs);
        }
    }
}
