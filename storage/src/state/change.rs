//! A block's changes on their way to their leaves: checked and hashed on all threads, then in the order of key hashes.

use super::StateError;
use super::diff::first_bits;
use super::page::{INLINE_VALUE_MAX, Leaf, ValueRef};
use super::tree::child_index;
use cairn_primitives::hash::{sha256_of_each, sha256_of_pairs};
use cairn_primitives::state_proof::{KEY_BYTES_MAX, LEAF_DOMAIN, VALUE_BYTES_MAX};
use cairn_primitives::{Hash, StateChanges};
use cairn_storage_cpu::Workers;
use std::sync::Arc;

/// A change on its way to its leaf.
#[derive(Clone)]
pub(super) struct Change<'a> {
    pub(super) key_hash: Hash,
    key: &'a [u8],
    /// The new leaf hash and value; `None` deletes.
    value: Option<(Hash, NewValue<'a>)>,
    /// The place in the block's changes.
    pub(super) index: usize,
}

#[derive(Clone)]
enum NewValue<'a> {
    Inline(&'a [u8]),
    /// Boxed because it is rare, and changes are sorted.
    Large(Box<(Hash, Arc<[u8]>)>),
}

impl Change<'_> {
    /// The leaf that the change leaves behind.
    pub(super) fn leaf(&self) -> Option<Leaf<'_>> {
        let (hash, value) = self.value.as_ref()?;
        let value = match value {
            NewValue::Inline(value) => ValueRef::Inline(value),
            NewValue::Large(large) => ValueRef::Large(large.0, Some(&large.1)),
        };
        Some(Leaf { key_hash: self.key_hash, hash: *hash, key: self.key, value })
    }
}

/// Fewer changes than this are not worth a second thread.
pub(super) const CHANGES_PER_THREAD_MIN: usize = 128;

type Entry<'a> = (&'a [u8], Option<&'a [u8]>);

/// A block's changes, checked and hashed.
pub(super) struct Hashed<'a> {
    /// What each thread has hashed, in the order of storage keys.
    shares: Vec<Vec<Change<'a>>>,
}

impl<'a> Hashed<'a> {
    /// Checks and hashes a block's changes.
    ///
    /// # Errors
    /// A key or value is out of bounds.
    pub(super) fn new(changes: &'a StateChanges, workers: &Workers) -> Result<Self, StateError> {
        let entries: Vec<_> = changes.iter().collect();
        let share = entries.len().div_ceil(workers.count()).max(CHANGES_PER_THREAD_MIN);
        let shares: Vec<_> = entries.chunks(share).enumerate().collect();
        let hashed = workers.map(&shares, |(number, entries)| hash(entries, number.saturating_mul(share)));
        Ok(Self { shares: hashed.into_iter().collect::<Result<_, _>>()? })
    }

    /// All changes, in the order of key hashes.
    pub(super) fn sorted(&self) -> Vec<Change<'a>> {
        sort(self.shares.iter().flatten())
    }

    /// The changes below a child of the root, in the order of key hashes.
    pub(super) fn sorted_below(&self, child: usize) -> Vec<Change<'a>> {
        sort(self.shares.iter().flatten().filter(|change| child_index(&change.key_hash, 0) == child))
    }
}

/// Changes in the order of key hashes.
fn sort<'a: 'b, 'b>(changes: impl Iterator<Item = &'b Change<'a>>) -> Vec<Change<'a>> {
    // References are sorted in place of changes, which are large.
    let mut order: Vec<_> = changes.map(|change| (first_bits(&change.key_hash), change)).collect();
    order.sort_unstable_by_key(|(first, _)| *first);
    let mut sorted = Vec::with_capacity(order.len());
    sorted.extend(order.iter().map(|(_, change)| Change::clone(change)));
    // Whoever looks for key hashes with equal first bits finds a few.
    if order.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        sorted.sort_by_key(|change| change.key_hash);
    }
    sorted
}

fn check((key, value): &Entry<'_>) -> Result<(), StateError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StateError::KeyLength { length: key.len() });
    }
    match value {
        Some(value) if value.is_empty() || value.len() > VALUE_BYTES_MAX => {
            Err(StateError::ValueLength { length: value.len() })
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks and hashes entries, the first of which is number `first` of the block.
fn hash<'a>(entries: &[Entry<'a>], first: usize) -> Result<Vec<Change<'a>>, StateError> {
    entries.iter().try_for_each(check)?;
    let mut keys = Vec::with_capacity(entries.len());
    sha256_of_each(entries.iter().map(|(key, _)| *key), |hash| keys.push(hash));
    let with_value = || entries.iter().zip(&keys).filter_map(|((_, value), key)| Some((key, (*value)?)));
    let mut values = Vec::with_capacity(entries.len());
    sha256_of_each(with_value().map(|(_, value)| value), |hash| values.push(hash));
    let mut leaves = Vec::with_capacity(entries.len());
    let pairs = with_value().map(|(key, _)| key).zip(&values);
    sha256_of_pairs(LEAF_DOMAIN, pairs, |hash| leaves.push(hash));
    let mut hashed = leaves.into_iter().zip(values);
    let change = |(index, ((key, value), key_hash)): (usize, (&Entry<'a>, &Hash))| {
        let value = value.and_then(|value| {
            let (leaf, value_hash) = hashed.next()?;
            let is_large = value.len() > INLINE_VALUE_MAX;
            let large = || NewValue::Large(Box::new((value_hash, value.into())));
            Some((leaf, if is_large { large() } else { NewValue::Inline(value) }))
        });
        Change { key_hash: *key_hash, key, value, index }
    };
    Ok((first..).zip(entries.iter().zip(&keys)).map(change).collect())
}
