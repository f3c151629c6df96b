//! Pages by themselves.

use crate::state::hashing::Hashing;
use crate::state::page::{Leaf, Page, SPLIT_LEAVES_MAX, ValueRef};
use cairn_primitives::Hash;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{leaf_hash, subtree_hash};

/// Leaves whose key hashes have a number of bytes in common with the one before, which nobody could find keys for.
fn page(in_common: &[usize]) -> Page {
    let mut key_hashes = vec![Hash::ZERO];
    for (bytes, round) in in_common.iter().zip(1_u8..) {
        let mut next = *key_hashes.last().unwrap();
        next.0[*bytes..].fill(round);
        key_hashes.push(next);
    }
    let leaf = |key_hash: &Hash| Leaf {
        key_hash: *key_hash,
        hash: sha256(&key_hash.0),
        key: b"key",
        value: ValueRef::Inline(b"value"),
    };
    Page::pack(2, &key_hashes.iter().map(leaf).collect::<Vec<_>>())
}

#[test]
fn leaves_are_told_apart_however_long_their_common_prefixes_are() {
    for in_common in [&[][..], &[0], &[7, 3, 1], &[8], &[31], &[7, 8, 20, 31, 2, 9], &[0; 11]] {
        let page = page(in_common);
        for (number, (key_hash, hash)) in page.hashes().into_iter().enumerate() {
            assert_eq!(page.position(&key_hash), Some(number), "{in_common:?}");
            assert_eq!(page.find(&key_hash).unwrap().hash, hash, "{in_common:?}");
        }
        assert_eq!(page.position(&Hash([0xee; 32])), None);
        let mut leaves = page.hashes();
        let mut short: Vec<_> = page.short_hashes().collect();
        // Another value for one of them.
        let last = leaves.len() - 1;
        (leaves[last].1, short[last].1) = (Hash([9; 32]), Hash([9; 32]));
        let mut hashing = Hashing::new();
        let promise = hashing.page(&page, &short);
        hashing.run();
        assert_eq!(hashing.hash(promise), subtree_hash(&leaves, 2), "{in_common:?}");
    }
}

/// The leaf of a key with a value, or one that is too large for a page.
fn leaf((key, value): &(Vec<u8>, Option<Vec<u8>>)) -> Leaf<'_> {
    const LARGE: Hash = Hash([7; 32]);
    let (key_hash, value_hash) = (sha256(key), value.as_ref().map_or(LARGE, |value| sha256(value)));
    let value = value.as_ref().map_or(ValueRef::Large(LARGE, None), |value| ValueRef::Inline(value));
    Leaf { key_hash, hash: leaf_hash(&key_hash, &value_hash), key, value }
}

#[test]
fn page_comes_back_from_its_record_and_has_no_more_leaves_than_a_bucket() {
    for leaves in 1..=SPLIT_LEAVES_MAX + 1 {
        let value = |number: u8| (number % 3 != 2).then(|| vec![number / 2; 80 - usize::from(number % 4)]);
        let mut owned: Vec<_> = (0..leaves as u8).map(|number| (vec![number; 40], value(number))).collect();
        owned.sort_by_key(|(key, _)| sha256(key));
        let page = Page::pack(2, &owned.iter().map(leaf).collect::<Vec<_>>());
        let again = Page::parse(&page.to_record());
        if leaves > SPLIT_LEAVES_MAX {
            assert_eq!(again.err(), Some("a page has more leaves than a bucket"));
        } else {
            let again = again.unwrap();
            assert_eq!(again.depth(), 2);
            assert!(again.leaves().eq(page.leaves()), "{leaves} leaves");
        }
    }
}
