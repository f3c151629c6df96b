//! A block's changes on their way to their leaves: checked, hashed, in the order of key hashes.

use super::StateError;
use super::diff::first_bits;
use super::overlay::Changes;
use super::page::{INLINE_VALUE_MAX, Leaf, ValueRef};
use cairn_primitives::Hash;
use cairn_primitives::state_proof::{KEY_BYTES_MAX, LEAF_DOMAIN, VALUE_BYTES_MAX};
use cairn_storage_cpu::{Workers, digest_all, digest_pairs};
use std::sync::Arc;

/// A change on its way to its leaf.
pub(super) struct Change<'a> {
    pub(super) key_hash: Hash,
    key: &'a [u8],
    /// The new leaf hash and value; `None` deletes.
    value: Option<(Hash, NewValue<'a>)>,
    /// The place in the block's changes.
    pub(super) index: usize,
}

enum NewValue<'a> {
    Inline(&'a [u8]),
    Large(Hash, Arc<[u8]>),
}

impl Change<'_> {
    /// The leaf that the change leaves behind.
    pub(super) fn leaf(&self) -> Option<Leaf<'_>> {
        let (hash, value) = self.value.as_ref()?;
        let value = match value {
            NewValue::Inline(value) => ValueRef::Inline(value),
            NewValue::Large(hash, value) => ValueRef::Large(*hash, Some(value)),
        };
        Some(Leaf { key_hash: self.key_hash, hash: *hash, key: self.key, value })
    }
}

/// Fewer changes than this are not worth a second thread.
pub(super) const CHANGES_PER_THREAD_MIN: usize = 128;

type Entry<'a> = (&'a Vec<u8>, &'a Option<Vec<u8>>);

/// Checks and hashes a block's changes, and sorts them by key hash.
///
/// # Errors
/// A key or value is out of bounds.
pub(super) fn prepare<'a>(changes: &'a Changes, workers: &Workers) -> Result<Vec<Change<'a>>, StateError> {
    let entries: Vec<_> = changes.iter().collect();
    for (key, value) in &entries {
        check(key, value.as_deref())?;
    }
    let share = entries.len().div_ceil(workers.count()).max(CHANGES_PER_THREAD_MIN);
    let shares: Vec<_> = entries.chunks(share).enumerate().collect();
    let hashed = workers.map(&shares, |(number, entries)| hash(entries, number.saturating_mul(share)));
    let mut changes = Vec::with_capacity(entries.len());
    changes.extend(hashed.into_iter().flatten().map(Some));
    // Places are sorted in place of changes, which are large.
    let start = |change: &Option<Change<'a>>| change.as_ref().map_or(0, |change| first_bits(&change.key_hash));
    let mut order: Vec<_> = changes.iter().map(start).zip(0_usize..).collect();
    order.sort_unstable();
    let mut sorted = Vec::with_capacity(entries.len());
    sorted.extend(order.iter().filter_map(|(_, index)| changes.get_mut(*index).and_then(Option::take)));
    // Whoever looks for key hashes with equal first bits finds a few.
    if order.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
        sorted.sort_by_key(|change| change.key_hash);
    }
    Ok(sorted)
}

fn check(key: &[u8], value: Option<&[u8]>) -> Result<(), StateError> {
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

/// Hashes entries, the first of which is number `first` of the block.
fn hash<'a>(entries: &[Entry<'a>], first: usize) -> Vec<Change<'a>> {
    let mut keys = Vec::with_capacity(entries.len());
    digest_all(entries.iter().map(|(key, _)| key.as_slice()), |digest| keys.push(Hash(digest)));
    let with_value = || entries.iter().zip(&keys).filter_map(|((_, value), key)| Some((key, value.as_ref()?)));
    let mut values = Vec::with_capacity(entries.len());
    digest_all(with_value().map(|(_, value)| value.as_slice()), |digest| values.push(Hash(digest)));
    let mut leaves = Vec::with_capacity(entries.len());
    let pairs = with_value().zip(&values).map(|((key, _), value)| (&key.0, &value.0));
    digest_pairs(LEAF_DOMAIN, pairs, |digest| leaves.push(Hash(digest)));
    let mut hashed = leaves.into_iter().zip(values);
    let change = |(index, ((key, value), key_hash)): (usize, (&Entry<'a>, &Hash))| {
        let value = value.as_deref().and_then(|value| {
            let (leaf, value_hash) = hashed.next()?;
            let is_large = value.len() > INLINE_VALUE_MAX;
            let new = if is_large { NewValue::Large(value_hash, value.into()) } else { NewValue::Inline(value) };
            Some((leaf, new))
        });
        Change { key_hash: *key_hash, key, value, index }
    };
    (first..).zip(entries.iter().zip(&keys)).map(change).collect()
}
