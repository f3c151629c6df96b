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
use super::change::{CHANGES_PER_THREAD_MIN, Change, prepare};
use super::diff::{Filter, first_bits};
use super::hashing::{Hashing, Promise};
use super::overlay::Changes;
use super::page::{Head, Leaf, MERGE_LEAVES_MAX, Page, SPLIT_LEAVES_MAX, ValueRef};
use super::threads::Workers;
use super::tree::{CHILDREN, Child, Location, NODE_BYTES, Node, Slot, child_index};
use cairn_primitives::Hash;
use cairn_primitives::state_proof::{DEPTH_MAX, path_bit};
use std::sync::Arc;

/// The outcome for one version.
pub(super) struct Updated {
    pub(super) root: Slot,
    /// For each change, in order, what it replaced.
    pub(super) replaced: Vec<Replaced>,
    /// The keys of the changes that make a difference.
    pub(super) filter: Filter,
    pub(super) pages: Pages,
}

/// What a change replaced.
#[derive(Clone, Debug)]
pub(super) enum Replaced {
    /// The change makes no difference.
    Equal,
    /// There was no value.
    Absent,
    Inline(Box<[u8]>),
    /// A value over [`super::page::INLINE_VALUE_MAX`], with its hash, and itself if no committed block has written it.
    Large(Hash, Option<Arc<[u8]>>),
}

impl Replaced {
    fn leaf(leaf: Option<&Leaf<'_>>) -> Self {
        match leaf.map(|leaf| leaf.value) {
            None => Self::Absent,
            Some(ValueRef::Inline(value)) => Self::Inline(value.into()),
            Some(ValueRef::Large(hash, value)) => Self::Large(hash, value.cloned()),
        }
    }
}

/// How the pages of a version differ from those of its parent.
#[derive(Default)]
pub(super) struct Pages {
    /// Buckets of the parent that are no part of the version, with their pages.
    pub(super) gone: Vec<(Arc<Bucket>, Arc<Page>)>,
    /// Bytes of the pages that are not part of the parent.
    pub(super) new_bytes: usize,
    /// Places that got a page or lost theirs, by the prefix and whether there is one now, in order of time.
    pub(super) places: Vec<(Hash, bool)>,
    /// About how many bytes of the parent are not part of the version, nodes included.
    pub(super) gone_bytes: usize,
}

impl Pages {
    fn append(&mut self, other: Self) {
        self.gone.extend(other.gone);
        self.new_bytes = self.new_bytes.saturating_add(other.new_bytes);
        self.places.extend(other.places);
        self.gone_bytes = self.gone_bytes.saturating_add(other.gone_bytes);
    }
}

/// Applies changes on top of `root`.
///
/// # Errors
/// A key or value is out of bounds, or a page cannot be read.
pub(super) fn update(
    workers: &Workers,
    cache: &PageCache,
    root: &Slot,
    changes: &Changes,
) -> Result<Updated, StateError> {
    let sorted = prepare(changes, workers)?;
    let part = apply(workers, cache, root, Location::ROOT, &sorted)?;
    let filter = Filter::new(part.effects.iter().map(|effect| effect.key));
    let mut replaced = vec![Replaced::Equal; changes.len()];
    for effect in part.effects {
        if let Some(place) = replaced.get_mut(effect.index) {
            *place = effect.replaced;
        }
    }
    let root = part.slot.unwrap_or_else(|| root.clone());
    Ok(Updated { root, replaced, filter, pages: part.pages })
}

/// The outcome for a subtree.
#[derive(Default)]
struct Part {
    /// `None` where the changes make no difference.
    slot: Option<Slot>,
    /// The changes that make one.
    effects: Vec<Effect>,
    /// Places of other parts are elsewhere.
    pages: Pages,
}

/// A change that makes a difference.
struct Effect {
    /// Its place in the block.
    index: usize,
    /// The first bits of the key hash.
    key: u64,
    replaced: Replaced,
}

/// Changes that belong below one child of a node.
type Share<'a, 'b> = (usize, &'a [Change<'b>]);

fn apply(
    workers: &Workers,
    cache: &PageCache,
    slot: &Slot,
    at: Location,
    changes: &[Change<'_>],
) -> Result<Part, StateError> {
    match &slot.child {
        Child::Node(node) if workers.count() > 1 && changes.len() >= 2 * CHANGES_PER_THREAD_MIN => {
            apply_in_threads(workers, cache, slot, node, at, changes)
        }
        Child::Node(_) | Child::Bucket(..) | Child::Empty => Update::new(cache).run(slot, at, changes),
    }
}

/// The parts below a node on all threads.
fn apply_in_threads(
    workers: &Workers,
    cache: &PageCache,
    slot: &Slot,
    node: &Node,
    at: Location,
    changes: &[Change<'_>],
) -> Result<Part, StateError> {
    let shares: Vec<_> = shares(changes, at.depth).collect();
    let done = workers.map(&shares, |(index, changes)| {
        let slot = node.slots.get(*index).unwrap_or(slot);
        Update::new(cache).run(slot, at.child(*index), changes)
    });
    let mut whole = Part::default();
    let mut slots = node.slots.clone();
    let mut is_changed = false;
    for ((index, _), part) in shares.iter().zip(done) {
        let part = part?;
        if let (Some(new), Some(slot)) = (part.slot, slots.get_mut(*index)) {
            is_changed = true;
            *slot = new;
        }
        whole.effects.extend(part.effects);
        whole.pages.append(part.pages);
    }
    if is_changed {
        if slots.iter().map(Slot::leaves).fold(0, usize::saturating_add) <= MERGE_LEAVES_MAX {
            // Nearly everything was deleted: rare, and quickly done again in one piece.
            return Update::new(cache).run(slot, at, changes);
        }
        whole.pages.gone_bytes = whole.pages.gone_bytes.saturating_add(NODE_BYTES);
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

/// A value that takes the place of one of the same length.
struct NewLeaf<'a> {
    change: &'a Change<'a>,
    /// The place of its leaf.
    index: usize,
    hash: Hash,
    value: &'a [u8],
}

/// The changes as new values for leaves of a page, if that is all they are: what most changes of accounts are.
fn new_values<'a>(page: &Page, changes: &'a [Change<'_>]) -> Option<Vec<NewLeaf<'a>>> {
    let mut heads = page.heads().iter().enumerate();
    let new = |change: &'a Change<'_>| {
        let (index, _) = heads.find(|(_, head)| head.key_hash == change.key_hash)?;
        let Leaf { hash, value: ValueRef::Inline(value), .. } = change.leaf()? else { return None };
        let ValueRef::Inline(old) = page.leaf(index)?.value else { return None };
        (old.len() == value.len()).then_some(NewLeaf { change, index, hash, value })
    };
    changes.iter().map(new).collect()
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
        Node::new(slots, draft.pairs.map(|pair| self.hashing.hash(pair)))
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
                if let Some(values) = new_values(&page, changes) {
                    return Ok(self.overwrite(bucket, &page, &values));
                }
                let Some(leaves) = self.merge_changes(&page, changes) else { return Ok(None) };
                self.remove(bucket, &page);
                if leaves.is_empty() || leaves.len() > SPLIT_LEAVES_MAX {
                    self.part.pages.places.push((at.prefix, false));
                    return Ok(Some(self.place(at, &leaves)));
                }
                Ok(Some(self.bucket(Page::pack(at.depth, &leaves))))
            }
            Child::Empty => {
                let with_leaf = changes.iter().filter_map(|change| Some((change, change.leaf()?)));
                let (made, leaves): (Vec<_>, Vec<_>) = with_leaf.unzip();
                made.into_iter().for_each(|change| self.note(change, None));
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
        self.part.pages.gone_bytes = self.part.pages.gone_bytes.saturating_add(NODE_BYTES);
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

    /// A page with new values, or `None` where they make no difference.
    fn overwrite(&mut self, bucket: &Arc<Bucket>, page: &Arc<Page>, values: &[NewLeaf<'_>]) -> Option<Fresh> {
        let differs = |new: &&NewLeaf<'_>| page.heads().get(new.index).is_some_and(|head| head.hash != new.hash);
        let mut changed = values.iter().filter(differs).peekable();
        changed.peek()?;
        let overwritten = page.with_values(changed.clone().map(|new| (new.index, new.hash, new.value)));
        changed.for_each(|new| self.note(new.change, page.leaf(new.index).as_ref()));
        self.remove(bucket, page);
        Some(self.bucket(overwritten))
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
                self.note(change, before.as_ref());
                any = true;
            }
            // Equal leaves keep the old one: its value is in the database already.
            leaves.extend(if differs { after } else { before });
        }
        leaves.extend(old);
        any.then_some(leaves)
    }

    fn note(&mut self, change: &Change<'_>, before: Option<&Leaf<'_>>) {
        let effect =
            Effect { index: change.index, key: first_bits(&change.key_hash), replaced: Replaced::leaf(before) };
        self.part.effects.push(effect);
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
                    // It was made a moment ago, for nothing.
                    let page = bucket.resident();
                    let size = page.as_ref().map_or(0, |page| page.size());
                    self.part.pages.new_bytes = self.part.pages.new_bytes.saturating_sub(size);
                    self.part.pages.places.push((at.prefix, false));
                    pages.extend(page);
                }
                (None, Child::Bucket(_, bucket)) => {
                    let page = self.cache.page(bucket, at, &old.hash)?;
                    self.remove(bucket, &page);
                    self.part.pages.places.push((at.prefix, false));
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
        self.part.pages.places.push((at.prefix, true));
        self.bucket(Page::pack(at.depth, leaves))
    }

    /// A bucket for a page with some leaves, not too many.
    fn bucket(&mut self, page: Page) -> Fresh {
        let promise = self.fold(page.heads(), page.depth());
        self.part.pages.new_bytes = self.part.pages.new_bytes.saturating_add(page.size());
        Fresh { promise, child: FreshChild::Bucket(Arc::new(Bucket::unsaved(Arc::new(page)))) }
    }

    /// The subtree of leaves in one bucket.
    fn fold(&mut self, leaves: &[Head], depth: u16) -> Promise {
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

    /// A bucket leaves the tree.
    fn remove(&mut self, bucket: &Arc<Bucket>, page: &Arc<Page>) {
        let pages = &mut self.part.pages;
        pages.gone_bytes = pages.gone_bytes.saturating_add(page.size());
        pages.gone.push((Arc::clone(bucket), Arc::clone(page)));
    }
}
