use super::*;
use crate::codec::decode_strict;
use proptest::prelude::*;

fn validator(key: u8, power: u64) -> Validator {
    Validator { key: PublicKey([key; 32]), power: Power(power) }
}

fn equal(count: u8) -> ValidatorSet {
    ValidatorSet::new((1..=count).map(|key| validator(key, 1)).collect()).unwrap()
}

#[test]
fn quorum_of_equal_validators_is_all_but_a_third() {
    let quorums: Vec<_> = (1..=10).map(|count| equal(count).quorum().0).collect();
    assert_eq!(quorums, [1, 2, 3, 3, 4, 5, 5, 6, 7, 7]);
}

#[test]
fn quorum_of_the_largest_power_does_not_overflow() {
    let set = ValidatorSet::new(vec![validator(1, TOTAL_POWER_MAX)]).unwrap();
    let total = u128::from(TOTAL_POWER_MAX);
    assert_eq!(u128::from(set.quorum().0), total - (total - 1) / 3);
}

#[test]
fn validator_set_is_sorted_by_key_whatever_the_order_given() {
    let set = ValidatorSet::new(vec![validator(3, 1), validator(1, 2), validator(2, 3)]).unwrap();
    assert_eq!(set.validators(), [validator(1, 2), validator(2, 3), validator(3, 1)]);
    assert_eq!(set.total_power(), Power(6));
    assert_eq!(set.index_of(&PublicKey([2; 32])), Some(ValidatorIndex(1)));
    assert_eq!(set.index_of(&PublicKey([9; 32])), None);
    assert_eq!(set.get(ValidatorIndex(3)), None);
    assert_eq!(set.indices().map(|index| index.0).collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn validator_set_that_is_no_set_is_refused_with_the_reason() {
    assert_eq!(ValidatorSet::new(vec![]), Err(ValidatorSetError::Empty));
    let twins = vec![validator(1, 1), validator(2, 1), validator(1, 3)];
    assert_eq!(ValidatorSet::new(twins), Err(ValidatorSetError::Duplicate(PublicKey([1; 32]))));
    assert_eq!(ValidatorSet::new(vec![validator(1, 0)]), Err(ValidatorSetError::NoPower(PublicKey([1; 32]))));
    let heavy = vec![validator(1, TOTAL_POWER_MAX), validator(2, 1)];
    assert_eq!(ValidatorSet::new(heavy), Err(ValidatorSetError::TooMuchPower));
    let overflowing = vec![validator(1, u64::MAX), validator(2, u64::MAX)];
    assert_eq!(ValidatorSet::new(overflowing), Err(ValidatorSetError::TooMuchPower));
    let many = (0..=VALIDATORS_MAX)
        .map(|key| Validator { key: PublicKey(crate::hash::sha256(&key.to_le_bytes()).0), power: Power(1) })
        .collect::<Vec<_>>();
    assert!(ValidatorSet::new(many[1..].to_vec()).is_ok());
    assert_eq!(ValidatorSet::new(many), Err(ValidatorSetError::TooMany(VALIDATORS_MAX + 1)));
}

#[test]
fn validator_set_hash_is_pinned() {
    let set = ValidatorSet::new(vec![validator(2, 6), validator(1, 5)]).unwrap();
    assert_eq!(set.hash().to_string(), "0x281c21574444ee5360e0c20e7b8aad04c3c8d6a3f46f7689170c0b1cdfc84016");
}

#[test]
fn validator_set_decoding_is_strict() {
    let set = equal(3);
    assert_eq!(decode_strict("set", &set.encode(), 1 << 16), Ok(set));
    let refuse = |validators: Vec<Validator>| ValidatorSet::decode(&mut &*validators.encode()).is_err();
    assert!(refuse(vec![]));
    assert!(refuse(vec![validator(2, 1), validator(1, 1)]), "unsorted");
    assert!(refuse(vec![validator(1, 1), validator(1, 1)]), "twins");
    assert!(refuse(vec![validator(1, 0)]), "no power");
    assert!(ValidatorSet::decode(&mut &[0xfe, 0xff, 0xff, 0xff][..]).is_err(), "huge claim");
}

proptest! {
    #[test]
    fn quorum_of_any_power_overlaps_in_more_than_the_faulty(powers in prop::collection::vec(1..=TOTAL_POWER_MAX / 40, 1..40)) {
        let validators = (1u8..).zip(&powers).map(|(key, power)| validator(key, *power)).collect();
        let set = ValidatorSet::new(validators).unwrap();
        let total = u128::from(set.total_power().0);
        let quorum = u128::from(set.quorum().0);
        let faulty = (total - 1) / 3;
        prop_assert_eq!(total, powers.iter().map(|power| u128::from(*power)).sum());
        prop_assert!(2 * quorum - total > faulty, "two quorums share an honest validator");
        prop_assert!(quorum <= total - faulty, "the honest alone are a quorum");
    }
}
