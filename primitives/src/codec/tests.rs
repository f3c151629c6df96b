use super::*;
use std::collections::BTreeMap;

#[test]
fn strict_decoding_of_trailing_bytes_is_refused() {
    assert_eq!(decode_strict::<u32>("number", &[1, 0, 0, 0], 8), Ok(1));
    assert!(matches!(
        decode_strict::<u32>("number", &[1, 0, 0, 0, 0], 8),
        Err(DecodeError::Malformed { what: "number", .. })
    ));
    assert!(matches!(decode_strict::<u32>("number", &[1, 0, 0], 8), Err(DecodeError::Malformed { .. })));
}

#[test]
fn strict_decoding_above_the_limit_is_refused_first() {
    let refused = decode_strict::<Vec<u8>>("blob", &[0xff; 9], 8);
    assert_eq!(refused, Err(DecodeError::TooLarge { what: "blob", actual: 9, limit: 8 }));
    assert_eq!(refused.unwrap_err().to_string(), "blob: 9 bytes, at most 8 are allowed");
}

#[test]
fn strict_decoding_of_an_unsorted_or_repeated_map_is_refused() {
    let sorted = vec![(1u8, 1u8), (2, 2)].encode();
    let unsorted = vec![(2u8, 2u8), (1, 1)].encode();
    let repeated = vec![(1u8, 1u8), (1, 1)].encode();
    assert!(decode_strict::<BTreeMap<u8, u8>>("map", &sorted, 64).is_ok());
    for bytes in [unsorted, repeated] {
        assert!(BTreeMap::<u8, u8>::decode(&mut &*bytes).is_ok(), "SCALE alone takes it");
        let refused = decode_strict::<BTreeMap<u8, u8>>("map", &bytes, 64);
        assert_eq!(refused, Err(DecodeError::NotCanonical { what: "map" }));
    }
}

#[test]
fn strict_decoding_of_an_overlong_compact_number_is_refused() {
    // 1 in one, two, four and five bytes.
    assert_eq!(decode_strict::<Compact<u32>>("number", &[4], 8), Ok(Compact(1)));
    for bytes in [&[5u8, 0][..], &[6, 0, 0, 0], &[3, 1, 0, 0, 0]] {
        assert!(decode_strict::<Compact<u32>>("number", bytes, 8).is_err(), "{bytes:?}");
    }
}

#[test]
fn strict_decoding_of_deep_nesting_is_refused() {
    #[derive(Debug, PartialEq, Encode, Decode)]
    struct Nested(Vec<Self>);
    let deep = |depth: usize| {
        let mut bytes = vec![4; depth];
        bytes.push(0);
        bytes
    };
    assert!(decode_strict::<Nested>("nested", &deep(8), 1 << 20).is_ok());
    assert!(decode_strict::<Nested>("nested", &deep(1 << 19), 1 << 20).is_err());
}

#[test]
fn bounded_list_with_a_huge_claim_is_refused_before_it_is_read() {
    let claim = Compact(u32::MAX).encode();
    let refused = decode_bounded::<u64, _>(&mut &*claim, 10, "too long").unwrap_err();
    assert_eq!(refused.to_string(), "too long");
    let exact = vec![7u8; 10].encode();
    assert_eq!(decode_bounded::<u8, _>(&mut &*exact, 10, "too long"), Ok(vec![7; 10]));
    assert!(decode_bounded::<u8, _>(&mut &*exact, 9, "too long").is_err());
}

#[test]
fn encoding_is_compared_with_all_bytes() {
    let value = (7u8, vec![1u8, 2, 3]);
    let bytes = value.encode();
    assert!(encodes_to(&value, &bytes));
    for wrong in [&bytes[..bytes.len() - 1], &[&bytes[..], &[0]].concat(), &[], &[7, 12, 1, 2, 4]] {
        assert!(!encodes_to(&value, wrong), "{wrong:?}");
    }
}
