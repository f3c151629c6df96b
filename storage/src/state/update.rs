//! One block's changes applied to the tree: new nodes on the touched paths, nothing written.
//!
//! ```text
//!   changes ──► hashed, sorted by key hash ──► for each thread a part of the tree:
//!       down: merge changes into pages, note new buckets and nodes, promise their hashes
//!       run:  compute the hashes level by level
//!       up:   make the nodes
//!   ──► the few nodes above the parts
//! ```
//! The result is the same for any number of threads: hashes depend on content alone, and parts are joined in order.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::change::{Change, prepare};
use super::hashing::{Hashing, Promise};
use super::overlay::Changes;
use super::page::{Leaf, MERGE_LEAVES_MAX, Page, SPLIT_LEAVES_MAX};
use super::threads;
use super::tree::{CHILDREN, Child, Location, NODE_BYTES, Node, Slot, child_index};
use cairn_primitives::Hash;
use cairn_primitives::state_proof::{DEPTH_MAX, path_bit};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Fewer changes than this are not worth a second thread, which costs some 30 µs.
const CHANGES_PER_THREAD_MIN: usize = 256;

/// The outcome for one version.
pub(super) struct Updated {
    pub(super) root: Slot,
    pub(super) effective: Vec<bool>,
    pub(super) pages: BTreeMap<Hash, Option<Arc<Bucket>>>,
    pub(super) replaced: Vec<(Arc<Bucket>, Arc<Page>)>,
    /// About how many bytes of the old version are not part of the new one.
    pub(super) kept_bytes: usize,
}

/// Applies changes on top of `root`, on at most so many threads.
///
/// # Errors
/// A key or value is out of bounds, or a page cannot be read.
pub(super) fn update(cache: &PageCache, root: &Slot, changes: &Changes, threads: usize) -> Result<Updated, StateError> {
    let threads = threads.min(changes.len() / CHANGES_PER_THREAD_MIN).max(1);
    let sorted = prepare(changes, threads)?;
    let part = apply(cache, root, Location::ROOT, &sorted, threads)?;
    let mut effective = vec![false; changes.len()];
    for index in part.effective {
        if let Some(effective) = effective.get_mut(index) {
            *effective = true;
        }
    }
    let root = part.slot.unwrap_or_else(|| root.clone());
    // Of several notes for one place the last one counts.
    let pages = part.pages.into_iter().collect();
    Ok(Updated { root, effective, pages, replaced: part.replaced, kept_bytes: part.kept_bytes })
}

/// The outcome for a subtree.
#[derive(Default)]
struct Part {
    /// `None` where the changes make no difference.
    slot: Option<Slot>,
    /// The changes that make one, by their place in the block.
    effective: Vec<usize>,
    /// Buckets that came and places that buckets left, in order of time; places of other parts are elsewhere.
    pages: Vec<(Hash, Option<Arc<Bucket>>)>,
    replaced: Vec<(Arc<Bucket>, Arc<Page>)>,
    kept_bytes: usize,
}

/// Changes that belong below one child of a node.
type Share<'a, 'b> = (usize, &'a [Change<'b>]);

fn apply(
    cache: &PageCache,
    slot: &Slot,
    at: Location,
    changes: &[Change<'_>],
    threads: usize,
) -> Result<Part, StateError> {
    match &slot.child {
        Child::Node(node) if threads > 1 => apply_in_threads(cache, slot, node, at, changes, threads),
        Child::Node(_) | Child::Bucket(..) | Child::Empty => Update::new(cache).run(slot, at, changes),
    }
}

fn apply_in_threads(
    cache: &PageCache,
    slot: &Slot,
    node: &Node,
    at: Location,
    changes: &[Change<'_>],
    threads: usize,
) -> Result<Part, StateError> {
    let shares: Vec<_> = shares(changes, at.depth).collect();
    let groups: Vec<_> = shares.chunks(shares.len().div_ceil(threads).max(1)).collect();
    let threads_each = threads.checked_div(groups.len()).unwrap_or(1);
    let done = threads::map(&groups, |group| {
        let one = |(index, changes): &Share<'_, '_>| {
            let slot = node.slots.get(*index).unwrap_or(slot);
            Ok((*index, apply(cache, slot, at.child(*index), changes, threads_each)?))
        };
        group.iter().map(one).collect::<Result<Vec<_>, StateError>>()
    });
    let mut whole = Part::default();
    let mut slots = node.slots.clone();
    let mut is_changed = false;
    for group in done {
        for (index, part) in group? {
            if let (Some(new), Some(slot)) = (part.slot, slots.get_mut(index)) {
                is_changed = true;
                *slot = new;
            }
            whole.effective.extend(part.effective);
            whole.pages.extend(part.pages);
            whole.replaced.extend(part.replaced);
            whole.kept_bytes = whole.kept_bytes.saturating_add(part.kept_bytes);
        }
    }
    if is_changed {
        if slots.iter().map(Slot::leaves).fold(0, usize::saturating_add) <= MERGE_LEAVES_MAX {
            // Nearly everything was deleted: rare, and quickly done again in one piece.
            return Update::new(cache).run(slot, at, changes);
        }
        whole.kept_bytes = whole.kept_bytes.saturating_add(NODE_BYTES);
        whole.slot = Some(Slot::node(slots));
    }
    Ok(whole)
}

/// Changes by the children of a node at `depth` that they belong to.
fn shares<'a, 'b>(changes: &'a [Change<'b>], depth: u16) -> impl Iterator<Item = Share<'a, 'b>> {
    let mut rest = changes;
    std::iter::from_fn(move || {
        let index = child_index(&rest.first()?.key_hash, depth);
        let end = rest.partition_point(|change| child_index(&change.key_hash, depth) <= index);
        let (own, later) = rest.split_at_checked(end)?;
        rest = later;
        Some((index, own))
    })
}

/// A subtree that is new in this version.
#[derive(Clone, Debug)]
struct Fresh {
    promise: Promise,
    child: FreshChild,
}

#[derive(Clone, Debug)]
enum FreshChild {
    Empty,
    Bucket(Arc<Bucket>),
    /// A draft by its place.
    Node(usize),
}

/// A new node whose hashes are not known yet.
struct Draft {
    /// The slots of the node that it replaces.
    kept: Option<Arc<Node>>,
    fresh: [Option<Fresh>; CHILDREN],
    pairs: [Promise; CHILDREN / 2],
}

/// One thread's work on one subtree.
struct Update<'a> {
    cache: &'a PageCache,
    hashing: Hashing,
    /// A node stands after those below it.
    drafts: Vec<Draft>,
    part: Part,
}

impl<'a> Update<'a> {
    fn new(cache: &'a PageCache) -> Self {
        Self { cache, hashing: Hashing::new(), drafts: Vec::new(), part: Part::default() }
    }

    fn run(mut self, slot: &Slot, at: Location, changes: &[Change<'_>]) -> Result<Part, StateError> {
        let fresh = self.apply(slot, at, changes)?;
        self.hashing.run();
        let mut nodes: Vec<Arc<Node>> = Vec::with_capacity(self.drafts.len());
        for draft in &self.drafts {
            let node = self.make(draft, &nodes);
            nodes.push(Arc::new(node));
        }
        self.part.slot = fresh.map(|fresh| self.slot(&fresh, &nodes));
        Ok(self.part)
    }

    fn make(&self, draft: &Draft, nodes: &[Arc<Node>]) -> Node {
        let slot = |(index, fresh): (usize, &Option<Fresh>)| match (fresh, &draft.kept) {
            (Some(fresh), _) => self.slot(fresh, nodes),
            (None, Some(kept)) => kept.slots.get(index).cloned().unwrap_or(Slot::EMPTY),
            (None, None) => Slot::EMPTY,
        };
        let [a, b, c, d] = &draft.fresh;
        let slots = [slot((0, a)), slot((1, b)), slot((2, c)), slot((3, d))];
        Node { slots, pairs: draft.pairs.map(|pair| self.hashing.hash(pair)) }
    }

    fn slot(&self, fresh: &Fresh, nodes: &[Arc<Node>]) -> Slot {
        let child = match &fresh.child {
            FreshChild::Empty => Child::Empty,
            FreshChild::Bucket(bucket) => {
                Child::Bucket(u16::try_from(fresh.promise.leaves).unwrap_or(u16::MAX), Arc::clone(bucket))
            }
            FreshChild::Node(index) => {
                Child::Node(Arc::clone(nodes.get(*index).expect("a node stands after those below it")))
            }
        };
        Slot { hash: self.hashing.hash(fresh.promise), child }
    }

    /// The subtree with the changes, or `None` where they make no difference.
    fn apply(&mut self, slot: &Slot, at: Location, changes: &[Change<'_>]) -> Result<Option<Fresh>, StateError> {
        match &slot.child {
            Child::Node(node) => self.apply_to_node(node, at, changes),
            Child::Bucket(_, bucket) => {
                let page = self.cache.page(bucket, at, &slot.hash)?;
                let Some(leaves) = self.merge_changes(&page, changes) else { return Ok(None) };
                self.remove(at, bucket, &page);
                Ok(Some(self.place(at, &leaves)))
            }
            Child::Empty => {
                let with_leaf = changes.iter().filter_map(|change| Some((change.index, change.leaf()?)));
                let (effective, leaves): (Vec<_>, Vec<_>) = with_leaf.unzip();
                self.part.effective.extend(effective);
                Ok((!leaves.is_empty()).then(|| self.place(at, &leaves)))
            }
        }
    }

    fn apply_to_node(
        &mut self,
        node: &Arc<Node>,
        at: Location,
        changes: &[Change<'_>],
    ) -> Result<Option<Fresh>, StateError> {
        let mut fresh = [const { None }; CHILDREN];
        for (index, changes) in shares(changes, at.depth) {
            if let (Some(place), Some(slot)) = (fresh.get_mut(index), node.slots.get(index)) {
                *place = self.apply(slot, at.child(index), changes)?;
            }
        }
        if fresh.iter().all(Option::is_none) {
            return Ok(None);
        }
        self.part.kept_bytes = self.part.kept_bytes.saturating_add(NODE_BYTES);
        let leaves = |(new, old): (&Option<Fresh>, &Slot)| new.as_ref().map_or(old.leaves(), |new| new.promise.leaves);
        if fresh.iter().zip(&node.slots).map(leaves).fold(0, usize::saturating_add) <= MERGE_LEAVES_MAX {
            return self.merge_buckets(at, node, &fresh).map(Some);
        }
        let mut pairs = [Hashing::EMPTY; CHILDREN / 2];
        let halves = fresh.as_chunks::<2>().0.iter().zip(node.slots.as_chunks::<2>().0).zip(&node.pairs);
        for (pair, ((new, old), before)) in pairs.iter_mut().zip(halves) {
            *pair = match (new, old) {
                ([None, None], [a, b]) => self.hashing.known(before, a.leaves().saturating_add(b.leaves())),
                ([a, b], [old_a, old_b]) => {
                    let (a, b) = (self.promise(a.as_ref(), old_a), self.promise(b.as_ref(), old_b));
                    self.hashing.join(a, b)
                }
            };
        }
        Ok(Some(self.draft(Some(Arc::clone(node)), fresh, pairs)))
    }

    fn promise(&mut self, fresh: Option<&Fresh>, old: &Slot) -> Promise {
        match fresh {
            Some(fresh) => fresh.promise,
            None => self.hashing.known(&old.hash, old.leaves()),
        }
    }

    fn draft(&mut self, kept: Option<Arc<Node>>, fresh: [Option<Fresh>; CHILDREN], pairs: [Promise; 2]) -> Fresh {
        let [left, right] = pairs;
        let promise = self.hashing.join(left, right).over_node();
        self.drafts.push(Draft { kept, fresh, pairs });
        Fresh { promise, child: FreshChild::Node(self.drafts.len().saturating_sub(1)) }
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
            if differs {
                self.part.effective.push(change.index);
                any = true;
            }
            // Equal leaves keep the old one: its value is in the database already.
            leaves.extend(if differs { after } else { before });
        }
        leaves.extend(old);
        any.then_some(leaves)
    }

    /// One bucket in place of a node, or nothing.
    fn merge_buckets(
        &mut self,
        at: Location,
        node: &Node,
        fresh: &[Option<Fresh>; CHILDREN],
    ) -> Result<Fresh, StateError> {
        let mut pages = Vec::with_capacity(CHILDREN);
        for (index, (new, old)) in fresh.iter().zip(&node.slots).enumerate() {
            let at = at.child(index);
            match (new, &old.child) {
                (Some(Fresh { child: FreshChild::Bucket(bucket), .. }), _) => {
                    pages.extend(bucket.resident());
                    self.part.pages.push((at.prefix, None));
                }
                (None, Child::Bucket(_, bucket)) => {
                    let page = self.cache.page(bucket, at, &old.hash)?;
                    self.remove(at, bucket, &page);
                    pages.push(page);
                }
                (Some(_), _) | (None, Child::Empty | Child::Node(_)) => {}
            }
        }
        let leaves: Vec<_> = pages.iter().flat_map(|page| page.leaves()).collect();
        Ok(self.place(at, &leaves))
    }

    /// The subtree of leaves, split until every bucket is small enough.
    fn place(&mut self, at: Location, leaves: &[Leaf<'_>]) -> Fresh {
        if leaves.is_empty() {
            return Fresh { promise: Hashing::EMPTY, child: FreshChild::Empty };
        }
        if leaves.len() > SPLIT_LEAVES_MAX && at.depth < DEPTH_MAX {
            let mut rest = leaves;
            let mut place = |index| {
                let end = rest.partition_point(|leaf| child_index(&leaf.key_hash, at.depth) <= index);
                let (own, later) = rest.split_at_checked(end).unwrap_or((rest, &[]));
                rest = later;
                self.place(at.child(index), own)
            };
            let [a, b, c, d] = [place(0), place(1), place(2), place(3)];
            let pairs = [self.hashing.join(a.promise, b.promise), self.hashing.join(c.promise, d.promise)];
            return self.draft(None, [Some(a), Some(b), Some(c), Some(d)], pairs);
        }
        let promise = self.fold(leaves, at.depth);
        let bucket = Arc::new(Bucket::unsaved(Arc::new(Page::pack(at.depth, leaves))));
        self.part.pages.push((at.prefix, Some(Arc::clone(&bucket))));
        Fresh { promise, child: FreshChild::Bucket(bucket) }
    }

    /// The subtree of leaves in one bucket.
    fn fold(&mut self, leaves: &[Leaf<'_>], depth: u16) -> Promise {
        match leaves {
            [] => Hashing::EMPTY,
            [leaf] => self.hashing.known(&leaf.hash, 1),
            // Two leaves differ in a bit, so this is never reached: it bounds the recursion.
            [leaf, ..] if depth >= DEPTH_MAX => self.hashing.known(&leaf.hash, leaves.len()),
            _ => {
                let middle = leaves.partition_point(|leaf| !path_bit(&leaf.key_hash, depth));
                let (left, right) = leaves.split_at_checked(middle).unwrap_or((leaves, &[]));
                let below = depth.saturating_add(1);
                let (left, right) = (self.fold(left, below), self.fold(right, below));
                self.hashing.join(left, right)
            }
        }
    }

    /// A bucket leaves the tree. What takes its place is noted after it, so that a page under the same key wins.
    fn remove(&mut self, at: Location, bucket: &Arc<Bucket>, page: &Arc<Page>) {
        self.part.kept_bytes = self.part.kept_bytes.saturating_add(page.size());
        self.part.pages.push((at.prefix, None));
        self.part.replaced.push((Arc::clone(bucket), Arc::clone(page)));
    }
}
