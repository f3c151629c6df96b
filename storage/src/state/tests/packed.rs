//! Values as diffs and pages have them.

use crate::state::packed::{pack, unpack};
use proptest::prelude::*;

fn packed(value: &[u8], other: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    pack(&mut out, value, other);
    out
}

/// Values with runs of zeros, as accounts have.
fn value() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..100)
}

proptest! {
    #[test]
    fn value_comes_back(value in value(), other in value(), tail in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut same = other.clone();
        same.resize(value.len(), 7);
        for other in [&other, &same] {
            let mut bytes = packed(&value, other);
            bytes.extend(&tail);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(unpack(&mut rest, value.len(), other), Some(value.clone()));
            prop_assert_eq!(rest, tail.as_slice());
        }
    }

    #[test]
    fn whatever_is_read_is_what_would_be_written(
        bytes in prop::collection::vec(prop_oneof![Just(0_u8), 0..9_u8, any::<u8>()], 0..80),
        length in 0..100_usize,
        other in value(),
    ) {
        let mut rest = bytes.as_slice();
        if let Some(value) = unpack(&mut rest, length, &other) {
            let used = &bytes[..bytes.len() - rest.len()];
            prop_assert_eq!(packed(&value, &other), used);
        }
    }
}

#[test]
fn account_and_its_change_take_few_bytes() {
    // Nonce 7, one provider, 10^12 free, the flag of new accounts.
    let mut before = vec![0; 80];
    before[0] = 7;
    before[8] = 1;
    before[16..32].copy_from_slice(&1_000_000_000_000_u128.to_le_bytes());
    before[79] = 0x80;
    let mut after = before.clone();
    after[0] = 8;
    after[16..32].copy_from_slice(&999_999_000_000_u128.to_le_bytes());
    assert_eq!(packed(&before, &[]).len(), 5 + 1 + 1 + 5 + 8);
    assert_eq!(packed(&after, &before).len(), 5 + 1 + 3);
    assert_eq!(packed(&after, &after).len(), 5);
    assert_eq!(packed(&[], &before), []);
}

#[test]
fn length_that_the_rest_cannot_have_is_refused() {
    assert_eq!(unpack(&mut [0; 4].as_slice(), usize::MAX, &[]), None);
    assert_eq!(unpack(&mut [0; 4].as_slice(), 65, &[]), None);
    assert_eq!(unpack(&mut [0; 4].as_slice(), 64, &[]), Some(vec![0; 64]));
}
