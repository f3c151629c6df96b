use super::*;
use crate::crypto::KeyPair;
use proptest::prelude::*;

fn signed_part() -> SignedPart {
    SignedPart {
        signer: AccountId32([1; 32]),
        signature: MultiSignature::Ed25519(Signature([2; 64])),
        extra: TransactionExtra { era: Era::Mortal { period: 64, phase: 42 }, nonce: 300, tip: 1 << 40 },
    }
}

fn signed_bytes() -> Vec<u8> {
    Envelope { signed: Some(signed_part()), call: &[7, 0, 8] }.to_bytes()
}

#[test]
fn era_of_known_values_has_the_known_encoding() {
    assert_eq!(Era::Immortal.encode(), [0]);
    // Period 64, phase 42: 5 in the low four bits (2^(5+1)), 42 above them.
    assert_eq!(Era::Mortal { period: 64, phase: 42 }.encode(), [0xa5, 0x02]);
    assert_eq!(Era::Mortal { period: 4, phase: 0 }.encode(), [0x01, 0x00]);
    assert_eq!(
        Era::Mortal { period: 32_768, phase: 20_000 }.encode(),
        [(14 + 2500 % 16 * 16) as u8, (2500 / 16) as u8]
    );
    assert_eq!(Era::Mortal { period: 65_536, phase: 65_520 }.encode(), [0xff, 0xff]);
}

#[test]
fn era_with_an_impossible_period_or_phase_is_refused() {
    // Low bits 0 mean a period of 2; a phase must be below its period.
    assert!(Era::decode(&mut &[0x10, 0x00][..]).is_err());
    assert!(Era::decode(&mut &[0x41, 0x00][..]).is_err());
    assert!(Era::decode(&mut &[0x31, 0x00][..]).is_ok());
    assert!(Era::decode(&mut &[0x01][..]).is_err());
}

#[test]
fn era_made_for_a_height_contains_it() {
    assert_eq!(Era::mortal(64, 42), Era::Mortal { period: 64, phase: 42 });
    assert_eq!(Era::mortal(32_768, 20_000), Era::Mortal { period: 32_768, phase: 20_000 });
    assert_eq!(Era::mortal(200, 513), Era::Mortal { period: 256, phase: 1 });
    assert_eq!(Era::mortal(1_000_000, 1_000_001), Era::Mortal { period: 65_536, phase: 1_000_001 % 65_536 / 16 * 16 });
    assert_eq!(Era::mortal(0, 3), Era::Mortal { period: 4, phase: 3 });
    assert_eq!(Era::mortal(u64::MAX, 0), Era::Mortal { period: 65_536, phase: 0 });
}

#[test]
fn era_is_born_and_dies_at_the_known_heights() {
    let era = Era::Mortal { period: 64, phase: 42 };
    assert_eq!((era.birth(42), era.death(42)), (42, 106));
    assert_eq!((era.birth(105), era.death(105)), (42, 106));
    assert_eq!((era.birth(106), era.death(106)), (106, 170));
    assert_eq!((era.birth(10), era.death(10)), (42, 106));
    assert_eq!((Era::Immortal.birth(9), Era::Immortal.death(9)), (0, u64::MAX));
    // A period that cannot be decoded must not panic either.
    assert_eq!(Era::Mortal { period: 0, phase: 0 }.birth(9), 9);
}

#[test]
fn envelope_of_a_signed_extrinsic_has_the_documented_layout() {
    let mut expected = vec![0x84, 0];
    expected.extend_from_slice(&[1; 32]);
    expected.push(0);
    expected.extend_from_slice(&[2; 64]);
    expected.extend_from_slice(&[0xa5, 0x02]);
    expected.extend_from_slice(&[0xb1, 0x04]); // compact 300
    expected.extend_from_slice(&[0x0b, 0, 0, 0, 0, 0, 1]); // compact 2^40
    expected.push(0);
    expected.extend_from_slice(&[7, 0, 8]);
    assert_eq!(signed_bytes(), expected);
    let parsed = Envelope::parse(&expected).unwrap();
    assert_eq!(parsed, Envelope { signed: Some(signed_part()), call: &[7, 0, 8] });
}

#[test]
fn envelope_of_a_bare_extrinsic_is_the_version_and_the_call() {
    let envelope = Envelope { signed: None, call: &[2, 0, 1] };
    assert_eq!(envelope.to_bytes(), [4, 2, 0, 1]);
    assert_eq!(Envelope::parse(&[4, 2, 0, 1]), Ok(envelope));
}

#[test]
fn envelope_of_another_version_or_address_is_refused_by_name() {
    assert_eq!(Envelope::parse(&[]), Err(EnvelopeError::Malformed("no bytes".into())));
    assert_eq!(Envelope::parse(&[0x85, 0]), Err(EnvelopeError::Version(0x85)));
    assert_eq!(Envelope::parse(&[0x05, 0]), Err(EnvelopeError::Version(0x05)));
    let mut bytes = signed_bytes();
    bytes[1] = 1;
    assert_eq!(Envelope::parse(&bytes), Err(EnvelopeError::Address));
    assert_eq!(Envelope::parse(&[0x84]), Err(EnvelopeError::Address));
}

#[test]
fn envelope_with_metadata_hash_mode_is_refused() {
    let mut bytes = signed_bytes();
    let mode = bytes.len() - 4;
    bytes[mode] = 1;
    assert!(matches!(Envelope::parse(&bytes), Err(EnvelopeError::Malformed(reason)) if reason.contains("mode 0")));
}

#[test]
fn envelope_with_overlong_nonce_or_tip_is_refused() {
    let head = [&[0x84, 0][..], &[1; 32], &[0], &[2; 64], &[0]].concat();
    let with = |rest: &[u8]| [head.as_slice(), rest].concat();
    assert!(Envelope::parse(&with(&[4, 4, 0, 7])).is_ok());
    // A nonce or a tip of 1 in two or four bytes.
    for rest in [&[5u8, 0, 4, 0, 7][..], &[6, 0, 0, 0, 4, 0, 7], &[4, 5, 0, 0, 7], &[4, 6, 0, 0, 0, 0, 7]] {
        assert!(Envelope::parse(&with(rest)).is_err(), "{rest:?}");
    }
    // A nonce above 32 bits.
    assert!(Envelope::parse(&with(&[0x07, 0, 0, 0, 0, 1, 4, 0, 7])).is_err());
}

#[test]
fn envelope_cut_anywhere_before_the_call_is_refused() {
    let bytes = signed_bytes();
    for length in 0..bytes.len() - 3 {
        assert!(Envelope::parse(&bytes[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn envelope_above_the_limit_is_refused() {
    let bytes = vec![EXTRINSIC_VERSION; EXTRINSIC_BYTES_MAX + 1];
    assert_eq!(Envelope::parse(&bytes), Err(EnvelopeError::TooLarge(EXTRINSIC_BYTES_MAX + 1)));
    assert!(Envelope::parse(&bytes[1..]).is_ok());
}

#[test]
fn signing_payload_is_call_extra_and_implicit_in_order() {
    let extra = TransactionExtra { era: Era::Immortal, nonce: 1, tip: 0 };
    let implicit = TransactionImplicit::new(2, 3, Hash([8; 32]), Hash([9; 32]));
    let mut expected = vec![7, 0, 8, /* era */ 0, /* nonce */ 4, /* tip */ 0, /* mode */ 0];
    expected.extend_from_slice(&[2, 0, 0, 0, 3, 0, 0, 0]);
    expected.extend_from_slice(&[8; 32]);
    expected.extend_from_slice(&[9; 32]);
    expected.push(0);
    assert_eq!(signing_payload(&[7, 0, 8], &extra, &implicit), expected);
}

#[test]
fn signing_payload_above_256_bytes_is_hashed() {
    let extra = TransactionExtra { era: Era::Immortal, nonce: 1, tip: 0 };
    let implicit = TransactionImplicit::new(2, 3, Hash([8; 32]), Hash([9; 32]));
    let fixed = signing_payload(&[], &extra, &implicit).len();
    let longest = signing_payload(&vec![0; 256 - fixed], &extra, &implicit);
    assert_eq!(longest.len(), 256);
    let hashed = signing_payload(&vec![0; 257 - fixed], &extra, &implicit);
    let plain = [&[0][..], &longest].concat();
    assert_eq!(hashed, blake2_256(&plain).0);
}

#[test]
fn multi_signature_kinds_have_the_indices_that_clients_know() {
    let signature = KeyPair::from_seed(&[1; 32]).sign(b"");
    assert_eq!(MultiSignature::Ed25519(signature).encode()[0], 0);
    assert_eq!(MultiSignature::Sr25519([0; 64]).encode().len(), 65);
    assert_eq!(MultiSignature::Ecdsa([0; 65]).encode()[0], 2);
    assert_eq!(MultiSignature::Ecdsa([0; 65]).encode().len(), 66);
}

proptest! {
    #[test]
    fn era_made_for_any_height_survives_encoding_and_contains_it(period: u64, current in 0..u64::MAX / 2) {
        let era = Era::mortal(period, current);
        prop_assert_eq!(Era::decode(&mut &*era.encode()), Ok(era));
        prop_assert!(era.birth(current) <= current && current < era.death(current));
    }

    #[test]
    fn era_of_any_two_bytes_has_one_encoding(bytes: [u8; 2]) {
        let mut input = &bytes[..];
        if let Ok(era) = Era::decode(&mut input) {
            let taken = 2 - input.len();
            prop_assert_eq!(&era.encode(), &bytes[..taken]);
        }
    }

    #[test]
    fn envelope_of_any_content_round_trips(
        signer: [u8; 32], kind in 0u8..3, nonce: u32, tip: u128, period: u64, current: u32,
        call in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let signature = match kind {
            0 => MultiSignature::Ed25519(Signature([3; 64])),
            1 => MultiSignature::Sr25519([4; 64]),
            _ => MultiSignature::Ecdsa([5; 65]),
        };
        let extra = TransactionExtra { era: Era::mortal(period, current.into()), nonce, tip };
        let envelope = Envelope { signed: Some(SignedPart { signer: AccountId32(signer), signature, extra }), call: &call };
        let bytes = envelope.to_bytes();
        prop_assert_eq!(Envelope::parse(&bytes), Ok(envelope));
    }

    #[test]
    fn envelope_of_any_bytes_is_refused_or_canonical(
        version in prop::sample::select(vec![0x84u8, 0x04, 0x85]),
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        bytes.insert(0, version);
        if version == 0x84 && bytes.len() > 34 {
            bytes[1] = 0;
            bytes[34] %= 3;
        }
        if let Ok(envelope) = Envelope::parse(&bytes) {
            prop_assert_eq!(envelope.to_bytes(), bytes);
        }
    }
}
