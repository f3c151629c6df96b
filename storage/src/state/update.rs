//! One block's changes applied to the tree: new nodes on the touched paths, nothing written.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::overlay::Changes;
use super::page::{INLINE_VALUE_MAX, Leaf, MERGE_LEAVES_MAX, Page, SPLIT_LEAVES_MAX, ValueRef, subtree_hash};
use super::tree::{BRANCH_BYTES, Branch, Child, Location, Slot};
use cairn_primitives::Hash;
use cairn_primitives::hash::sha256;
use cairn_primitives::state_proof::{DEPTH_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX, leaf_hash, path_bit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A change on its way to its leaf.
struct Change<'a> {
    key_hash: Hash,
    key: &'a [u8],
    /// The new leaf hash and value; `None` deletes.
    value: Option<(Hash, NewValue<'a>)>,
    /// The place in the block's changes.
    index: usize,
}

enum NewValue<'a> {
    Inline(&'a [u8]),
    Large(Hash, Arc<[u8]>),
}

/// The outcome for one version.
pub(super) struct Updated {
    pub(super) root: Slot,
    pub(super) effective: Vec<bool>,
    pub(super) pages: BTreeMap<Hash, Option<Arc<Bucket>>>,
    pub(super) replaced: Vec<(Arc<Bucket>, Arc<Page>)>,
    /// About how many bytes of the old version are not part of the new one.
    pub(super) kept_bytes: usize,
}

/// Applies changes on top of `root`.
///
/// # Errors
/// A key or value is out of bounds, or a page cannot be read.
pub(super) fn update(cache: &PageCache, root: &Slot, changes: &Changes) -> Result<Updated, StateError> {
    let mut sorted = Vec::with_capacity(changes.len());
    for (index, (key, value)) in changes.iter().enumerate() {
        sorted.push(change(index, key, value.as_deref())?);
    }
    sorted.sort_unstable_by_key(|change| change.key_hash);
    let effective = vec![false; changes.len()];
    let mut update = Update { cache, effective, pages: BTreeMap::new(), replaced: Vec::new(), kept_bytes: 0 };
    let root = update.apply(root, Location::ROOT, &sorted)?.unwrap_or_else(|| root.clone());
    let Update { effective, pages, replaced, kept_bytes, .. } = update;
    Ok(Updated { root, effective, pages, replaced, kept_bytes })
}

fn change<'a>(index: usize, key: &'a [u8], value: Option<&'a [u8]>) -> Result<Change<'a>, StateError> {
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(StateError::KeyLength { length: key.len() });
    }
    let key_hash = sha256(key);
    let Some(value) = value else { return Ok(Change { key_hash, key, value: None, index }) };
    if value.is_empty() || value.len() > VALUE_BYTES_MAX {
        return Err(StateError::ValueLength { length: value.len() });
    }
    let value_hash = sha256(value);
    let new = if value.len() > INLINE_VALUE_MAX {
        NewValue::Large(value_hash, Arc::from(value))
    } else {
        NewValue::Inline(value)
    };
    Ok(Change { key_hash, key, value: Some((leaf_hash(&key_hash, &value_hash), new)), index })
}

struct Update<'a> {
    cache: &'a PageCache,
    effective: Vec<bool>,
    pages: BTreeMap<Hash, Option<Arc<Bucket>>>,
    replaced: Vec<(Arc<Bucket>, Arc<Page>)>,
    kept_bytes: usize,
}

impl Update<'_> {
    /// The subtree with the changes, or `None` where they make no difference.
    fn apply(&mut self, slot: &Slot, at: Location, changes: &[Change<'_>]) -> Result<Option<Slot>, StateError> {
        if changes.is_empty() {
            return Ok(None);
        }
        match &slot.child {
            Child::Branch(branch) => self.apply_to_branch(branch, at, changes),
            Child::Bucket(bucket) => {
                let page = self.cache.page(bucket, at, &slot.hash)?;
                let Some(leaves) = self.merge_changes(&page, changes) else { return Ok(None) };
                self.remove(at, bucket, &page);
                Ok(Some(self.place(at, &leaves)))
            }
            Child::Empty => {
                let leaves: Vec<_> = changes.iter().filter_map(Change::leaf).collect();
                if leaves.is_empty() {
                    return Ok(None);
                }
                for change in changes {
                    self.mark(change, change.value.is_some());
                }
                Ok(Some(self.place(at, &leaves)))
            }
        }
    }

    fn apply_to_branch(
        &mut self,
        branch: &Branch,
        at: Location,
        changes: &[Change<'_>],
    ) -> Result<Option<Slot>, StateError> {
        let middle = changes.partition_point(|change| !path_bit(&change.key_hash, at.depth));
        let (to_left, to_right) = changes.split_at_checked(middle).unwrap_or((changes, &[]));
        let left = self.apply(&branch.left, at.left(), to_left)?;
        let right = self.apply(&branch.right, at.right(), to_right)?;
        if left.is_none() && right.is_none() {
            return Ok(None);
        }
        self.kept_bytes = self.kept_bytes.saturating_add(BRANCH_BYTES);
        let left = left.unwrap_or_else(|| branch.left.clone());
        let right = right.unwrap_or_else(|| branch.right.clone());
        match (left.leaves_without_branch(), right.leaves_without_branch()) {
            (Some(a), Some(b)) if a.saturating_add(b) <= MERGE_LEAVES_MAX => {
                self.merge_buckets(at, &left, &right).map(Some)
            }
            _ => Ok(Some(Slot::branch(left, right))),
        }
    }

    /// The leaves of a page with changes, or `None` where they make no difference.
    fn merge_changes<'b>(&mut self, page: &'b Page, changes: &'b [Change<'_>]) -> Option<Vec<Leaf<'b>>> {
        let mut leaves = Vec::with_capacity(SPLIT_LEAVES_MAX.saturating_add(changes.len()));
        let mut old = page.leaves().peekable();
        let mut any = false;
        for change in changes {
            while let Some(leaf) = old.next_if(|leaf| leaf.key_hash < change.key_hash) {
                leaves.push(leaf);
            }
            let before = old.next_if(|leaf| leaf.key_hash == change.key_hash);
            let after = change.leaf();
            let differs = before.map(|leaf| leaf.hash) != after.map(|leaf| leaf.hash);
            self.mark(change, differs);
            any |= differs;
            // Equal leaves keep the old one: its value is in the database already.
            leaves.extend(if differs { after } else { before });
        }
        leaves.extend(old);
        any.then_some(leaves)
    }

    /// One bucket in place of two, or nothing.
    fn merge_buckets(&mut self, at: Location, left: &Slot, right: &Slot) -> Result<Slot, StateError> {
        let mut pages = Vec::with_capacity(2);
        for (slot, at) in [(left, at.left()), (right, at.right())] {
            if let Child::Bucket(bucket) = &slot.child {
                let page = self.cache.page(bucket, at, &slot.hash)?;
                self.remove(at, bucket, &page);
                pages.push(page);
            }
        }
        let leaves: Vec<_> = pages.iter().flat_map(|page| page.leaves()).collect();
        Ok(self.place(at, &leaves))
    }

    /// The subtree of leaves, split until every bucket is small enough.
    fn place(&mut self, at: Location, leaves: &[Leaf<'_>]) -> Slot {
        if leaves.is_empty() {
            return Slot::EMPTY;
        }
        if leaves.len() > SPLIT_LEAVES_MAX && at.depth < DEPTH_MAX {
            let middle = leaves.partition_point(|leaf| !path_bit(&leaf.key_hash, at.depth));
            let (left, right) = leaves.split_at_checked(middle).unwrap_or((leaves, &[]));
            let left = self.place(at.left(), left);
            return Slot::branch(left, self.place(at.right(), right));
        }
        let page = Page::pack(at.depth, leaves);
        let hashes: Vec<_> = leaves.iter().map(|leaf| (leaf.key_hash, leaf.hash)).collect();
        let hash = subtree_hash(&hashes, at.depth);
        let bucket = Arc::new(Bucket::unsaved(u16::try_from(leaves.len()).unwrap_or(u16::MAX), Arc::new(page)));
        self.pages.insert(at.prefix, Some(Arc::clone(&bucket)));
        Slot { hash, child: Child::Bucket(bucket) }
    }

    /// A bucket leaves the tree. What takes its place is noted after it, so that a page under the same key wins.
    fn remove(&mut self, at: Location, bucket: &Arc<Bucket>, page: &Arc<Page>) {
        self.kept_bytes = self.kept_bytes.saturating_add(page.size());
        self.pages.insert(at.prefix, None);
        self.replaced.push((Arc::clone(bucket), Arc::clone(page)));
    }

    fn mark(&mut self, change: &Change<'_>, differs: bool) {
        if let Some(effective) = self.effective.get_mut(change.index) {
            *effective = differs;
        }
    }
}

impl Change<'_> {
    fn leaf(&self) -> Option<Leaf<'_>> {
        let (hash, value) = self.value.as_ref()?;
        let value = match value {
            NewValue::Inline(value) => ValueRef::Inline(value),
            NewValue::Large(hash, value) => ValueRef::Large(*hash, Some(value)),
        };
        Some(Leaf { key_hash: self.key_hash, hash: *hash, key: self.key, value })
    }
}
