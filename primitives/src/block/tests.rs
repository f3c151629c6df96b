use super::*;
use crate::codec::{DecodeError, decode_strict};
use crate::header::ConsensusContext;
use crate::list_tree;
use crate::number::{Epoch, Height, TimestampMs, View};
use crate::validator::ValidatorIndex;
use parity_scale_codec::IoReader;

fn block() -> Block {
    let context = ConsensusContext {
        protocol_version: 1,
        epoch: Epoch(0),
        view: View(1),
        proposer: ValidatorIndex(0),
        timestamp: TimestampMs(1),
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: Hash::ZERO,
        next_validators_hash: Hash::ZERO,
    };
    let extrinsics = vec![OpaqueExtrinsic::new(vec![4, 2, 3, 4]), OpaqueExtrinsic::new(vec![4; 100])];
    Block {
        header: Header::new(Hash::ZERO, Height(1), Hash::ZERO, Hash::ZERO, &context),
        extrinsics: extrinsics.into(),
    }
}

#[test]
fn extrinsic_hash_is_over_the_bytes_with_their_length() {
    let extrinsic = OpaqueExtrinsic::new(vec![4, 2, 3, 4]);
    assert_eq!(extrinsic.encode(), [16, 4, 2, 3, 4]);
    // BLAKE2b-256 of 0x1004020304, computed apart from this code.
    let expected = "0x50e98d733b50c9198070cc8a69fdaeffb5de58a49052f3992b04bb4bea4238c6";
    assert_eq!(extrinsic.hash().to_string(), expected);
}

#[test]
fn block_round_trip_is_strict() {
    let bytes = block().encode();
    assert_eq!(decode_strict("block", &bytes, BLOCK_BYTES_MAX), Ok(block()));
    let longer = [bytes.as_slice(), &[0]].concat();
    assert!(decode_strict::<Block>("block", &longer, BLOCK_BYTES_MAX).is_err());
    assert!(decode_strict::<Block>("block", &bytes[..bytes.len() - 1], BLOCK_BYTES_MAX).is_err());
}

#[test]
fn block_with_an_overlong_extrinsic_length_is_refused() {
    let header = block().header.encode();
    let good = [header.as_slice(), &[4, 12, 9, 9, 9]].concat();
    assert!(decode_strict::<Block>("block", &good, 1024).is_ok());
    // The same length of three in two bytes.
    let bad = [header.as_slice(), &[4, 13, 0, 9, 9, 9]].concat();
    assert!(decode_strict::<Block>("block", &bad, 1024).is_err());
}

#[test]
fn block_with_an_extrinsic_shorter_than_any_call_is_refused() {
    let header = block().header.encode();
    for length in 0..=EXTRINSIC_BYTES_MIN {
        let extrinsic = OpaqueExtrinsic::new(vec![9; length]);
        let bytes = [header.clone(), vec![extrinsic].encode()].concat();
        let is_refused = decode_strict::<Block>("block", &bytes, 1024).is_err();
        assert_eq!(is_refused, length < EXTRINSIC_BYTES_MIN, "{length} bytes");
    }
}

#[test]
fn extrinsic_longer_than_its_bytes_or_than_any_block_is_refused_before_room_is_made() {
    let refusal = |length: usize, rest: &[u8]| {
        let prefix = Compact(u32::try_from(length).unwrap()).encode();
        let from_slice = OpaqueExtrinsic::decode(&mut [&prefix, rest].concat().as_slice()).map_err(|e| e.to_string());
        // A reader cannot tell how much is left.
        let from_reader = OpaqueExtrinsic::decode(&mut IoReader([&prefix, rest].concat().as_slice()));
        assert_eq!(from_slice.is_ok(), from_reader.is_ok(), "{length} bytes");
        assert!(from_slice.as_ref().map_or(true, |decoded| decoded.bytes() == rest), "{length} bytes");
        from_slice.err()
    };
    assert_eq!(refusal(5, &[1, 2, 3, 4, 5]), None);
    assert!(refusal(6, &[1, 2, 3, 4, 5]).unwrap().contains("ends before its length"));
    assert_eq!(refusal(BLOCK_BYTES_MAX, &vec![7; BLOCK_BYTES_MAX]), None);
    assert!(refusal(BLOCK_BYTES_MAX + 1, &vec![7; BLOCK_BYTES_MAX + 1]).unwrap().contains("larger than any block"));
    assert!(refusal(1 << 29, &[]).unwrap().contains("larger than any block"));
}

#[test]
fn block_claiming_more_extrinsics_than_bytes_is_refused() {
    let mut bytes = block().header.encode();
    bytes.extend_from_slice(&[0xfe, 0xff, 0xff, 0xff]);
    assert!(matches!(decode_strict::<Block>("block", &bytes, 1024), Err(DecodeError::Malformed { .. })));
}

#[test]
fn extrinsics_root_is_the_list_tree_of_the_encoded_extrinsics() {
    let block = block();
    let encoded: Vec<_> = block.extrinsics.iter().map(Encode::encode).collect();
    assert_eq!(block.extrinsics_root(), list_tree::root(&encoded));
    let proof = list_tree::prove(&encoded, 1).unwrap();
    assert!(proof.verify(&block.extrinsics_root(), &encoded[1]));
}

#[test]
fn finalized_block_round_trip_keeps_the_absence_of_a_finalization() {
    let finalized = FinalizedBlock { block: block(), finalization: None };
    assert_eq!(decode_strict("finalized block", &finalized.encode(), BLOCK_BYTES_MAX), Ok(finalized));
}

#[test]
fn root_of_a_body_follows_its_content() {
    let block = block();
    let root = block.extrinsics_root();
    let mut changed = block.clone();
    assert_eq!(changed.extrinsics_root(), root);
    changed.extrinsics.pop();
    assert_ne!(changed.extrinsics, block.extrinsics);
    let encoded: Vec<_> = changed.extrinsics.iter().map(Encode::encode).collect();
    assert_eq!(changed.extrinsics_root(), list_tree::root(&encoded), "a changed list is hashed again");
    assert_eq!(block.extrinsics_root(), root, "the original is as it was");
}

#[test]
fn extrinsic_tells_hash_and_length_of_its_encoding() {
    let extrinsics = [3, 63, 64, 300, 16_383, 16_384].map(|length| OpaqueExtrinsic::new(vec![7; length]));
    for extrinsic in &extrinsics {
        let length = extrinsic.bytes().len();
        assert_eq!(extrinsic.hash(), crate::hash::blake2_256(&extrinsic.encode()), "{length} bytes");
        assert_eq!(extrinsic.encoded_len(), extrinsic.encode().len(), "{length} bytes");
    }
    assert_eq!(OpaqueExtrinsic::hashes(extrinsics.iter()), extrinsics.map(|extrinsic| extrinsic.hash()));
}
