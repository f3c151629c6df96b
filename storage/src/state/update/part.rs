//! One thread's part of an update: the changes below one place of the tree.
//!
//! ```text
//!   group of some changes that lie together:
//!     fetch: have the processor fetch the paths to all of them
//!     down:  note new values of leaves, or merge changes into new pages; promise the hashes
//!     run:   compute the hashes level by level
//!     up:    make the nodes of the layer
//!   the same for the nodes above the groups
//! ```
//! What a group needs fits into the processor's nearest caches.

use super::{Pages, Replaced};
use crate::state::StateError;
use crate::state::cache::{Bucket, PageCache};
use crate::state::change::Change;
use crate::state::diff::first_bits;
use crate::state::hashing::{Hashing, Promise};
use crate::state::layer::{FETCHED_AT_ONCE, Kind, LayerNode, LayerPart, Tree, Twig, VALUE_BYTES_USUAL};
use crate::state::page::{Asked, Leaf, MERGE_LEAVES_MAX, Page, SPLIT_LEAVES_MAX, ValueRef};
use crate::state::tree::{CHILDREN, Child, Location, Slot, child_index};
use cairn_primitives::Hash;
use cairn_primitives::state_proof::DEPTH_MAX;
use std::sync::Arc;

/// The outcome for a subtree.
pub(super) struct Part {
    pub(super) layer: LayerPart,
    /// What the layer has in its place.
    pub(super) twig: Twig,
    pub(super) hash: Hash,
    pub(super) leaves: usize,
    /// The changes that make a difference.
    pub(super) effects: Vec<Effect>,
    /// The short values that they replaced.
    pub(super) values: Vec<u8>,
    /// Places of other parts are elsewhere.
    pub(super) pages: Pages,
}

/// A change that makes a difference.
pub(super) struct Effect {
    /// Its place in the block.
    pub(super) index: usize,
    /// The first bits of the key hash.
    pub(super) key: u64,
    pub(super) replaced: Replaced,
}

/// A value that takes the place of one of the same length.
struct NewLeaf<'a> {
    change: &'a Change<'a>,
    /// The number of its leaf.
    index: usize,
    hash: Hash,
    value: &'a [u8],
}

/// Changes that are worth a group of their own, and all that one group has.
const GROUP_CHANGES_MAX: usize = 96;

/// A subtree that is new in this version.
struct Fresh {
    promise: Promise,
    child: FreshChild,
}

enum FreshChild {
    Empty,
    Bucket(Arc<Bucket>, Page),
    /// A bucket with other values, by its place in the part of the layer.
    Leaves(u32),
    /// A draft by its place.
    Node(usize),
    /// A node of a group that is done.
    Made(Made),
}

/// A node whose hashes are not known yet.
struct Draft {
    promise: Promise,
    pairs: [Promise; CHILDREN / 2],
    /// `None` where the version below has a node too, with the same child.
    fresh: [Option<Fresh>; CHILDREN],
    is_new: bool,
}

/// What became of a draft.
enum Made {
    Twig(Twig),
    /// A subtree on its way into the one that is above it.
    Whole(Slot),
}

/// One thread's work on one subtree.
pub(super) struct Update<'a> {
    cache: &'a PageCache,
    /// Of the group at hand, or of what lies above the groups.
    hashing: Hashing,
    /// Of the same; a node stands after those below it.
    drafts: Vec<Draft>,
    /// The other one's, where there is a group at hand; room for those of a group otherwise.
    others: (Hashing, Vec<Draft>),
    is_in_group: bool,
    number: u8,
    layer: LayerPart,
    effects: Vec<Effect>,
    /// The short values that the effects replaced.
    values: Vec<u8>,
    pages: Pages,
    /// First bytes of key hashes, and leaf hashes, of the bucket at hand.
    leaves: Vec<(u64, Hash)>,
    /// The numbers of the leaves that the changes of the bucket at hand give new values.
    numbers: Vec<usize>,
    /// Whether the paths to the changes at hand are fetched.
    is_fetched: bool,
}

impl<'a> Update<'a> {
    pub(super) fn new(cache: &'a PageCache, number: u8) -> Self {
        Self {
            cache,
            hashing: Hashing::new(),
            drafts: Vec::new(),
            others: (Hashing::new(), Vec::new()),
            is_in_group: false,
            number,
            layer: LayerPart::new(number),
            effects: Vec::new(),
            values: Vec::new(),
            pages: Pages::default(),
            leaves: Vec::new(),
            numbers: Vec::new(),
            is_fetched: false,
        }
    }

    pub(super) fn run(mut self, tree: &Tree<'_>, at: Location, changes: &[Change<'_>]) -> Result<Part, StateError> {
        self.layer.reserve(changes.len());
        self.effects.reserve(changes.len());
        self.values.reserve(changes.len().saturating_mul(VALUE_BYTES_USUAL));
        let fresh = self.apply(tree, at, changes)?;
        self.hashing.run();
        let mut made = self.make_drafts();
        let (hash, leaves) = fresh
            .as_ref()
            .map_or((*tree.hash(), tree.leaves()), |fresh| (self.hashing.hash(fresh.promise), fresh.promise.leaves));
        let twig = fresh.map_or(Twig::Same, |fresh| self.twig(fresh, &mut made));
        let Self { layer, effects, values, pages, .. } = self;
        Ok(Part { layer, twig, hash, leaves, effects, values, pages })
    }

    /// Applies the changes of a group, of which only the outcome is left.
    fn apply_group(
        &mut self,
        tree: &Tree<'_>,
        at: Location,
        changes: &[Change<'_>],
    ) -> Result<Option<Fresh>, StateError> {
        self.is_in_group = true;
        self.exchange();
        let fresh = self.apply_to_node(tree, at, changes)?;
        self.hashing.run();
        let mut made = self.make_drafts();
        let outcome = fresh.map(|Fresh { promise, child }| {
            let child = if let FreshChild::Node(index) = child {
                let made = made.get_mut(index).and_then(Option::take);
                made.map_or(FreshChild::Empty, FreshChild::Made)
            } else {
                child
            };
            (self.hashing.hash(promise), promise.leaves, child)
        });
        self.hashing.clear();
        self.exchange();
        self.is_in_group = false;
        Ok(outcome.map(|(hash, leaves, child)| Fresh { promise: self.hashing.known(&hash, leaves), child }))
    }

    fn exchange(&mut self) {
        std::mem::swap(&mut self.hashing, &mut self.others.0);
        std::mem::swap(&mut self.drafts, &mut self.others.1);
    }

    /// Makes nodes of all drafts, now that their hashes are known.
    fn make_drafts(&mut self) -> Vec<Option<Made>> {
        let mut drafts = std::mem::take(&mut self.drafts);
        let mut made: Vec<Option<Made>> = Vec::with_capacity(drafts.len());
        for draft in drafts.drain(..) {
            let new = self.make(draft, &mut made);
            made.push(Some(new));
        }
        self.drafts = drafts;
        made
    }

    fn make(&mut self, draft: Draft, made: &mut [Option<Made>]) -> Made {
        let Draft { promise, pairs, fresh, is_new } = draft;
        let (hash, pairs) = (self.hashing.hash(promise), pairs.map(|pair| self.hashing.hash(pair)));
        if is_new {
            let slots = fresh.map(|fresh| fresh.map_or(Slot::EMPTY, |fresh| self.whole(fresh, made)));
            return Made::Whole(Slot { hash, child: Child::node(slots, pairs) });
        }
        let twigs = fresh.map(|fresh| fresh.map_or(Twig::Same, |fresh| self.twig(fresh, made)));
        Made::Twig(self.layer.push_node(LayerNode { hash, pairs, twigs }))
    }

    /// What the layer has for a subtree that is new.
    fn twig(&mut self, fresh: Fresh, made: &mut [Option<Made>]) -> Twig {
        match fresh.child {
            FreshChild::Leaves(index) => self.layer.bucket(index, self.hashing.hash(fresh.promise)),
            FreshChild::Node(index) => match made.get_mut(index).and_then(Option::take) {
                Some(made) => self.made(made),
                None => Twig::Same,
            },
            FreshChild::Made(made) => self.made(made),
            FreshChild::Empty | FreshChild::Bucket(..) => {
                let slot = self.whole(fresh, made);
                self.layer.push_slot(slot)
            }
        }
    }

    fn made(&mut self, made: Made) -> Twig {
        match made {
            Made::Twig(twig) => twig,
            Made::Whole(slot) => self.layer.push_slot(slot),
        }
    }

    /// A subtree of which the version below has nothing.
    fn whole(&self, fresh: Fresh, made: &mut [Option<Made>]) -> Slot {
        let Fresh { promise, child } = fresh;
        match child {
            FreshChild::Bucket(bucket, _) => {
                let leaves = u16::try_from(promise.leaves).unwrap_or(u16::MAX);
                Slot { hash: self.hashing.hash(promise), child: Child::Bucket(leaves, bucket) }
            }
            FreshChild::Node(index) => match made.get_mut(index).and_then(Option::take) {
                Some(Made::Whole(slot)) => slot,
                Some(Made::Twig(_)) | None => Slot::EMPTY,
            },
            FreshChild::Made(Made::Whole(slot)) => slot,
            FreshChild::Empty | FreshChild::Leaves(_) | FreshChild::Made(Made::Twig(_)) => Slot::EMPTY,
        }
    }

    /// The subtree with the changes, or `None` where they make no difference.
    fn apply(&mut self, tree: &Tree<'_>, at: Location, changes: &[Change<'_>]) -> Result<Option<Fresh>, StateError> {
        match tree.kind() {
            _ if changes.is_empty() => Ok(None),
            Kind::Node if !self.is_in_group && changes.len() <= GROUP_CHANGES_MAX => {
                self.apply_group(tree, at, changes)
            }
            Kind::Node => self.apply_to_node(tree, at, changes),
            Kind::Bucket(bucket) => {
                let page = tree.page(self.cache, at)?;
                if self.are_new_values(&page, changes) {
                    return Ok(self.overwrite(&page, changes));
                }
                let Some(leaves) = self.merge_changes(&page, changes) else { return Ok(None) };
                self.remove(bucket, &page);
                if leaves.is_empty() || leaves.len() > SPLIT_LEAVES_MAX {
                    self.pages.places.push((at.prefix, false));
                    return Ok(Some(self.place(at, &leaves)));
                }
                Ok(Some(self.bucket(Page::pack(at.depth, &leaves))))
            }
            Kind::Empty => {
                let with_leaf = changes.iter().filter_map(|change| Some((change, change.leaf()?)));
                let (made, leaves): (Vec<_>, Vec<_>) = with_leaf.unzip();
                made.into_iter().for_each(|change| self.note(change, None));
                Ok((!leaves.is_empty()).then(|| self.place(at, &leaves)))
            }
        }
    }

    fn apply_to_node(
        &mut self,
        tree: &Tree<'_>,
        at: Location,
        changes: &[Change<'_>],
    ) -> Result<Option<Fresh>, StateError> {
        let is_fetching = !self.is_fetched && changes.len() <= FETCHED_AT_ONCE;
        if is_fetching {
            tree.fetch_ahead(at.depth, changes.iter().map(|change| &change.key_hash), Asked::Root);
            self.is_fetched = true;
        }
        let children = tree.children();
        let mut fresh = [const { None }; CHILDREN];
        for (index, changes) in shares(changes, at.depth) {
            if let (Some(place), Some(child)) = (fresh.get_mut(index), children.get(index)) {
                *place = self.apply(child, at.child(index), changes)?;
            }
        }
        self.is_fetched &= !is_fetching;
        if fresh.iter().all(Option::is_none) {
            return Ok(None);
        }
        let leaves =
            |(new, old): (&Option<Fresh>, &Tree<'_>)| new.as_ref().map_or(old.leaves(), |new| new.promise.leaves);
        if fresh.iter().zip(&children).map(leaves).fold(0, usize::saturating_add) <= MERGE_LEAVES_MAX {
            return self.merge_buckets(at, &children, &fresh).map(Some);
        }
        let mut pairs = [Hashing::EMPTY; CHILDREN / 2];
        let halves = fresh.as_chunks::<2>().0.iter().zip(children.as_chunks::<2>().0).zip(tree.pairs());
        for (pair, ((new, old), before)) in pairs.iter_mut().zip(halves) {
            *pair = match (new, old) {
                ([None, None], [a, b]) => self.hashing.known(before, a.leaves().saturating_add(b.leaves())),
                ([a, b], [old_a, old_b]) => {
                    let (a, b) = (self.promise(a.as_ref(), old_a), self.promise(b.as_ref(), old_b));
                    self.hashing.join(a, b)
                }
            };
        }
        Ok(Some(self.draft(fresh, pairs, false)))
    }

    fn promise(&mut self, fresh: Option<&Fresh>, old: &Tree<'_>) -> Promise {
        match fresh {
            Some(fresh) => fresh.promise,
            None => self.hashing.known(old.hash(), old.leaves()),
        }
    }

    fn draft(&mut self, fresh: [Option<Fresh>; CHILDREN], pairs: [Promise; 2], is_new: bool) -> Fresh {
        let [left, right] = pairs;
        let promise = self.hashing.join(left, right).over_node();
        self.drafts.push(Draft { promise, pairs, fresh, is_new });
        Fresh { promise, child: FreshChild::Node(self.drafts.len().saturating_sub(1)) }
    }

    /// Whether the changes are new values for leaves of a page and nothing else, as most changes of accounts are; notes the
    /// numbers of the leaves.
    fn are_new_values(&mut self, page: &Page, changes: &[Change<'_>]) -> bool {
        self.numbers.clear();
        let place = |change: &Change<'_>| {
            let index = page.position(&change.key_hash)?;
            let Leaf { value: ValueRef::Inline(value), .. } = change.leaf()? else { return None };
            let ValueRef::Inline(old) = page.content(index)?.1 else { return None };
            (old.len() == value.len()).then_some(index)
        };
        self.numbers.extend(changes.iter().map_while(place));
        self.numbers.len() == changes.len()
    }

    /// A bucket with new values for the leaves that were noted, or `None` where they make no difference.
    fn overwrite(&mut self, page: &Page, changes: &[Change<'_>]) -> Option<Fresh> {
        let numbers = std::mem::take(&mut self.numbers);
        let new = changes.iter().zip(&numbers).filter_map(|(change, index)| {
            let Leaf { hash, value: ValueRef::Inline(value), .. } = change.leaf()? else { return None };
            let differs = page.leaf_hash(*index).is_some_and(|before| before != hash);
            differs.then_some(NewLeaf { change, index: *index, hash, value })
        });
        let fresh = self.overwrite_with(page, new);
        self.numbers = numbers;
        fresh
    }

    fn overwrite_with<'b>(&mut self, page: &Page, changed: impl Iterator<Item = NewLeaf<'b>> + Clone) -> Option<Fresh> {
        changed.clone().next()?;
        let mut leaves = std::mem::take(&mut self.leaves);
        leaves.clear();
        leaves.extend(page.short_hashes());
        for new in changed.clone() {
            self.note(new.change, page.content(new.index).map(|(_, value)| value));
            if let Some((_, hash)) = leaves.get_mut(new.index) {
                *hash = new.hash;
            }
        }
        let index = self.layer.push_bucket(page.clone(), changed.map(|new| (new.index, new.hash, new.value)));
        let promise = self.hashing.page(page, &leaves);
        self.leaves = leaves;
        Some(Fresh { promise, child: FreshChild::Leaves(index) })
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
                self.note(change, before.map(|leaf| leaf.value));
                any = true;
            }
            // Equal leaves keep the old one: its value is in the database already.
            leaves.extend(if differs { after } else { before });
        }
        leaves.extend(old);
        any.then_some(leaves)
    }

    fn note(&mut self, change: &Change<'_>, before: Option<ValueRef<'_>>) {
        let replaced = match before {
            None => Replaced::Absent,
            Some(ValueRef::Inline(value)) => {
                let start = u32::try_from(self.values.len()).expect("a block replaces far less than 2^32 bytes inline");
                let length = u16::try_from(value.len()).expect("a page has 16 bits for the length of a value");
                self.values.extend_from_slice(value);
                Replaced::Inline { part: self.number, length, start }
            }
            Some(ValueRef::Large(hash, value)) => Replaced::Large(Box::new((hash, value.cloned()))),
        };
        self.effects.push(Effect { index: change.index, key: first_bits(&change.key_hash), replaced });
    }

    /// One bucket in place of a node, or nothing.
    fn merge_buckets(
        &mut self,
        at: Location,
        children: &[Tree<'_>; CHILDREN],
        fresh: &[Option<Fresh>; CHILDREN],
    ) -> Result<Fresh, StateError> {
        let mut pages = Vec::with_capacity(CHILDREN);
        for (index, (new, old)) in fresh.iter().zip(children).enumerate() {
            let at = at.child(index);
            let new = new.as_ref().map(|new| &new.child);
            if let Some(FreshChild::Bucket(_, page)) = new {
                // It was made a moment ago, for nothing.
                self.pages.new_bytes = self.pages.new_bytes.saturating_sub(page.size());
                self.pages.places.push((at.prefix, false));
                pages.push(page.clone());
            } else if let (Some(FreshChild::Leaves(_)) | None, Kind::Bucket(bucket)) = (new, old.kind()) {
                let before = old.page(self.cache, at)?;
                self.remove(bucket, &before);
                self.pages.places.push((at.prefix, false));
                pages.push(match new {
                    Some(FreshChild::Leaves(index)) => self.layer.take_page(*index).unwrap_or(before),
                    _ => before,
                });
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
            return self.draft([Some(a), Some(b), Some(c), Some(d)], pairs, true);
        }
        self.pages.places.push((at.prefix, true));
        self.bucket(Page::pack(at.depth, leaves))
    }

    /// A bucket for a page with some leaves, not too many.
    fn bucket(&mut self, page: Page) -> Fresh {
        let promise = self.hashing.page(&page, &page.short_hashes().collect::<Vec<_>>());
        self.pages.new_bytes = self.pages.new_bytes.saturating_add(page.size());
        Fresh { promise, child: FreshChild::Bucket(Arc::new(Bucket::unsaved(page.clone())), page) }
    }

    /// A bucket leaves the tree.
    fn remove(&mut self, bucket: &Arc<Bucket>, page: &Page) {
        self.pages.gone_bytes = self.pages.gone_bytes.saturating_add(page.size());
        self.pages.gone.push((Arc::clone(bucket), page.clone()));
    }
}

/// Changes that belong below one child of a node.
type Share<'a, 'b> = (usize, &'a [Change<'b>]);

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
