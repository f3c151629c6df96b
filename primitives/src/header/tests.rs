use super::*;
use crate::codec::decode_strict;

fn context() -> ConsensusContext {
    ConsensusContext {
        protocol_version: 1,
        epoch: Epoch(2),
        view: View(3),
        proposer: ValidatorIndex(4),
        timestamp: TimestampMs(1_760_000_000_000),
        events_root: Hash([5; 32]),
        history_root: Hash([6; 32]),
        validators_hash: Hash([7; 32]),
        next_validators_hash: Hash([8; 32]),
    }
}

fn header() -> Header {
    Header::new(Hash([1; 32]), Height(1000), Hash([2; 32]), Hash([3; 32]), &context())
}

/// Put together by hand from the description of the format: parent, compact number, two roots, one digest item.
const ENCODED: &str = concat!(
    "0101010101010101010101010101010101010101010101010101010101010101a10f",
    "0202020202020202020202020202020202020202020202020202020202020202",
    "0303030303030303030303030303030303030303030303030303030303030303",
    "04064341524e7902",
    "010000000200000000000000030000000000000004000",
    "0c02cc89901000005050505050505050505050505050505050505050505050505050505050505050606060606060606060606060606060606",
    "0606060606060606060606060606060707070707070707070707070707070707070707070707070707070707070707",
    "0808080808080808080808080808080808080808080808080808080808080808"
);

#[test]
fn header_encoding_is_pinned() {
    assert_eq!(hex::encode(header().encode()), ENCODED);
    let decoded = decode_strict::<Header>("header", &hex::decode(ENCODED).unwrap(), 1024).unwrap();
    assert_eq!(decoded, header());
    assert_eq!(decoded.context(), Ok(context()));
    assert_eq!(decoded.height(), Height(1000));
}

#[test]
fn header_with_more_digest_items_than_allowed_is_refused() {
    for (items, is_refused) in [(DIGEST_ITEMS_MAX, false), (DIGEST_ITEMS_MAX + 1, true)] {
        let header = Header { digest: vec![DigestItem::RuntimeEnvironmentUpdated; items], ..header() };
        assert_eq!(decode_strict::<Header>("header", &header.encode(), 1024).is_err(), is_refused, "{items} items");
    }
}

#[test]
fn header_hash_is_pinned() {
    assert_eq!(header().hash().to_string(), "0x346d91f637099adb024c2d3d43921edf76bf668a4a9a39b6bf80e6b204c1c130");
}

#[test]
fn header_hash_covers_every_field() {
    let changes: [fn(&mut Header); 5] = [
        |header| header.parent_hash = Hash::ZERO,
        |header| header.number += 1,
        |header| header.state_root = Hash::ZERO,
        |header| header.extrinsics_root = Hash::ZERO,
        |header| header.digest.push(DigestItem::RuntimeEnvironmentUpdated),
    ];
    for change in changes {
        let mut changed = header();
        change(&mut changed);
        assert_ne!(changed.hash(), header().hash());
    }
}

#[test]
fn digest_items_have_the_tags_that_clients_know() {
    assert_eq!(DigestItem::Other(vec![1]).encode(), [0, 4, 1]);
    assert_eq!(DigestItem::Consensus(*b"abcd", vec![]).encode(), [4, b'a', b'b', b'c', b'd', 0]);
    assert_eq!(DigestItem::Seal(*b"abcd", vec![]).encode(), [5, b'a', b'b', b'c', b'd', 0]);
    assert_eq!(DigestItem::PreRuntime(*b"abcd", vec![]).encode(), [6, b'a', b'b', b'c', b'd', 0]);
    assert_eq!(DigestItem::RuntimeEnvironmentUpdated.encode(), [8]);
    for unknown in [1u8, 2, 3, 7, 9] {
        assert!(DigestItem::decode(&mut &[unknown, 0, 0, 0, 0, 0][..]).is_err());
    }
}

#[test]
fn context_that_is_missing_or_not_first_is_refused() {
    let mut header = header();
    header.digest.insert(0, DigestItem::Other(vec![]));
    assert_eq!(header.context(), Err(ContextError::Missing));
    header.digest.clear();
    assert_eq!(header.context(), Err(ContextError::Missing));
    header.digest.push(DigestItem::PreRuntime(*b"BABE", context().encode()));
    assert_eq!(header.context(), Err(ContextError::Missing));
}

#[test]
fn context_that_does_not_decode_strictly_is_refused() {
    let mut header = header();
    let encoded = context().encode();
    let longer = [encoded.as_slice(), &[0]].concat();
    for bytes in [&encoded[..encoded.len() - 1], &longer, &[]] {
        header.digest = vec![DigestItem::PreRuntime(ENGINE_ID, bytes.to_vec())];
        assert_eq!(header.context(), Err(ContextError::Malformed));
    }
}
