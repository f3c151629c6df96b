//! How two versions of the tree that follow one another differ, and the trees that result.
//!
//! ```text
//!   overlay C ─► overlay B ─►┐                      a version's tree: the first of these that has something at a place
//!                            ├─► tree of the head A   (changed in place by each committed block)
//!   version 8 ─► version 9 ─►┘
//! ```
//! A [`Layer`] has, on the paths that a block changed, what one of two versions has there. Over the tree of the other version it
//! gives that of its own. To [`Layer::swap`] it with the tree of the head makes the block's changes there, and leaves in the layer
//! what leads back: so a layer that is committed becomes that of the version before.
//!
//! New values for leaves that stay where they are, which is most of what blocks do, are the values and their hashes alone:
//! pages are neither copied nor made anew for them.

use super::cache::{Bucket, PageCache, Swapped};
use super::page::{Asked, LeafPlace, Page};
use super::pieces::Pieces;
use super::tree::{CHILDREN, Child, Location, NODE_BITS, Slot, child_index};
use crate::error::DatabaseError;
use cairn_primitives::Hash;
use cairn_storage_cpu::Workers;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How many paths are worth fetching at once: what they lead to fits well into the first caches.
pub(super) const FETCHED_AT_ONCE: usize = 24;

/// Bytes of the value of an account, which most changes are about.
pub(super) const VALUE_BYTES_USUAL: usize = 80;

/// What a layer has at one place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Twig {
    /// The same as the tree below it.
    Same,
    /// A whole subtree.
    Whole(Place),
    /// Other children of a node that both versions have.
    Node(Place),
    /// Other values of leaves in a bucket that both versions have.
    Leaves(Place),
}

/// Where something lies in a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    part: u8,
    index: u32,
}

/// A node that both versions have.
#[derive(Debug)]
pub(super) struct LayerNode {
    pub(super) hash: Hash,
    pub(super) pairs: [Hash; CHILDREN / 2],
    pub(super) twigs: [Twig; CHILDREN],
}

/// A bucket whose leaves keep their keys.
#[derive(Debug)]
pub(super) struct LayerBucket {
    pub(super) hash: Hash,
    /// Its page, until the layer is swapped: it may have left memory.
    page: Option<Page>,
    first: u32,
    count: u32,
}

/// Another value of a leaf, of the same length.
#[derive(Debug)]
struct LayerLeaf {
    hash: Hash,
    /// Where the leaf lies in its page.
    place: LeafPlace,
    /// Where the value lies in the part.
    start: u32,
}

/// What one thread made of a layer.
#[derive(Debug, Default)]
pub(super) struct LayerPart {
    number: u8,
    nodes: Pieces<LayerNode>,
    slots: Vec<Slot>,
    buckets: Vec<LayerBucket>,
    leaves: Vec<LayerLeaf>,
    values: Vec<u8>,
}

/// What one of two versions has where they differ.
#[derive(Debug)]
pub(super) struct Layer {
    parts: Vec<LayerPart>,
    root: Twig,
}

/// A layer by the versions that it lies between: first over that of the parent, then, once it is committed, over what follows.
#[derive(Debug)]
pub(super) struct LayerCell {
    pub(super) id: u64,
    pub(super) parent_id: u64,
    /// Changed only by the writer of the trees, which no reader of a layer has beside it.
    pub(super) layer: RwLock<Layer>,
}

impl LayerNode {
    /// Swaps the hashes with those of the head's node in the same place; returns what is left to swap, child by child.
    fn swap<'a>(&mut self, slot: &'a mut Slot) -> Option<(&'a mut [Slot; CHILDREN], [Twig; CHILDREN])> {
        let Child::Node(node, saved) = &mut slot.child else { return None };
        std::mem::swap(&mut self.hash, &mut slot.hash);
        std::mem::swap(&mut self.pairs, &mut node.pairs);
        saved.set(false);
        Some((&mut node.slots, self.twigs))
    }
}

impl LayerBucket {
    /// Where its leaves stand in the part.
    const fn leaves(&self) -> Range<usize> {
        self.first as usize..(self.first as usize).saturating_add(self.count as usize)
    }
}

impl LayerLeaf {
    /// Where its value stands in the part.
    const fn value(&self) -> Range<usize> {
        self.start as usize..(self.start as usize).saturating_add(self.place.length())
    }
}

fn number(length: usize) -> u32 {
    u32::try_from(length).expect("a block changes far less than 2^32 bytes of nodes")
}

impl LayerPart {
    /// An empty part by its place among the parts of the layer.
    pub(super) fn new(number: u8) -> Self {
        Self { number, ..Self::default() }
    }

    /// Makes room for some changes.
    pub(super) fn reserve(&mut self, changes: usize) {
        self.buckets.reserve(changes);
        self.leaves.reserve(changes);
        self.values.reserve(changes.saturating_mul(VALUE_BYTES_USUAL));
    }

    const fn place(&self, index: u32) -> Place {
        Place { part: self.number, index }
    }

    pub(super) fn push_node(&mut self, node: LayerNode) -> Twig {
        let place = self.place(number(self.nodes.len()));
        self.nodes.push(node);
        Twig::Node(place)
    }

    pub(super) fn push_slot(&mut self, slot: Slot) -> Twig {
        let place = self.place(number(self.slots.len()));
        self.slots.push(slot);
        Twig::Whole(place)
    }

    /// Adds a bucket with other values: for each the number of its leaf in `page`, the leaf hash and the value, as
    /// long as the one before.
    pub(super) fn push_bucket<'a>(&mut self, page: Page, values: impl Iterator<Item = (usize, Hash, &'a [u8])>) -> u32 {
        let first = number(self.leaves.len());
        for (index, hash, value) in values {
            let start = number(self.values.len());
            let place = page.place(index).filter(|place| place.length() == value.len());
            let place = place.expect("whoever gives a leaf another value has seen that it is as long");
            self.values.extend_from_slice(value);
            self.leaves.push(LayerLeaf { hash, place, start });
        }
        let count = number(self.leaves.len()).saturating_sub(first);
        self.buckets.push(LayerBucket { hash: Hash::ZERO, page: Some(page), first, count });
        number(self.buckets.len()).saturating_sub(1)
    }

    /// A bucket that was added, now that its hash is known.
    pub(super) fn bucket(&mut self, index: u32, hash: Hash) -> Twig {
        if let Some(bucket) = self.buckets.get_mut(index as usize) {
            bucket.hash = hash;
        }
        Twig::Leaves(self.place(index))
    }

    /// The page of a bucket that was added, with its other values; the bucket will not be used.
    pub(super) fn take_page(&mut self, index: u32) -> Option<Page> {
        let page = self.buckets.get_mut(index as usize)?.page.take()?;
        let bucket = self.buckets.get(index as usize)?;
        Some(self.with_values(&page, bucket))
    }

    fn leaves(&self, bucket: &LayerBucket) -> &[LayerLeaf] {
        self.leaves.get(bucket.leaves()).unwrap_or_default()
    }

    /// A page with the values of a bucket.
    fn with_values(&self, page: &Page, bucket: &LayerBucket) -> Page {
        let mut page = page.clone();
        let mut open = page.change();
        for leaf in self.leaves(bucket) {
            let (mut hash, value) = (leaf.hash, self.values.get(leaf.value()).unwrap_or_default());
            open.swap(leaf.place, &mut hash, &mut value.to_vec());
        }
        page
    }

    /// Swaps what lies at a place with a subtree of the head.
    fn swap(&mut self, slot: &mut Slot, twig: Twig) -> Swapped {
        let mut swapped = Swapped::default();
        self.swap_in_groups(slot, twig, self.levels_above(), &mut swapped);
        swapped
    }

    /// Swaps subtree by subtree of those below this many levels of nodes.
    fn swap_in_groups(&mut self, slot: &mut Slot, twig: Twig, levels: u32, swapped: &mut Swapped) {
        match twig {
            Twig::Node(place) if levels > 0 => {
                for (slot, twig) in self.swap_node(slot, place) {
                    self.swap_in_groups(slot, twig, levels.saturating_sub(1), swapped);
                }
            }
            Twig::Same | Twig::Whole(_) | Twig::Node(_) | Twig::Leaves(_) => self.swap_by_levels(slot, twig, swapped),
        }
    }

    /// Swaps a subtree level by level: what lies on the next one is on its way from memory, all of it at once, while this one is swapped.
    fn swap_by_levels(&mut self, slot: &mut Slot, twig: Twig, swapped: &mut Swapped) {
        let mut level = vec![(slot, twig)];
        while !level.is_empty() {
            let mut next = Vec::with_capacity(level.len().saturating_mul(2));
            for (slot, twig) in level {
                match twig {
                    Twig::Same => {}
                    Twig::Whole(place) => {
                        if let Some(own) = self.slots.get_mut(place.index as usize) {
                            std::mem::swap(own, slot);
                        }
                    }
                    Twig::Node(place) => next.extend(self.swap_node(slot, place)),
                    Twig::Leaves(place) => self.swap_leaves(slot, place, swapped),
                }
            }
            next.iter().for_each(|(slot, _)| slot.child.fetch_ahead());
            level = next;
        }
    }

    /// Swaps a node's hashes; what is left are its children that differ.
    fn swap_node<'a>(
        &mut self,
        slot: &'a mut Slot,
        place: Place,
    ) -> impl Iterator<Item = (&'a mut Slot, Twig)> + use<'a> {
        let own = self.nodes.get_mut(place.index as usize);
        let children = own.and_then(|own| own.swap(slot)).into_iter();
        let children = children.flat_map(|(slots, twigs)| slots.iter_mut().zip(twigs));
        children.filter(|(_, twig)| !matches!(twig, Twig::Same))
    }

    fn swap_leaves(&mut self, slot: &mut Slot, place: Place, swapped: &mut Swapped) {
        let own = self.buckets.get_mut(place.index as usize);
        let (Some(own), Child::Bucket(_, bucket)) = (own, &slot.child) else { return };
        std::mem::swap(&mut own.hash, &mut slot.hash);
        let (leaves, page) = (own.leaves(), own.page.take());
        self.fetch_after(place.index as usize);
        let leaves = self.leaves.get_mut(leaves).unwrap_or_default();
        let values = &mut self.values;
        bucket.change(page, swapped, |page| {
            for leaf in leaves {
                let value = values.get_mut(leaf.value()).unwrap_or_default();
                page.swap(leaf.place, &mut leaf.hash, value);
            }
        });
    }

    /// How many levels of nodes there are above subtrees with [`FETCHED_AT_ONCE`] buckets or so that change or are new.
    fn levels_above(&self) -> u32 {
        let ends = self.buckets.len().saturating_add(self.slots.len());
        let groups = ends.checked_div(FETCHED_AT_ONCE).unwrap_or_default();
        groups.checked_ilog(CHILDREN).map_or(0, |levels| levels.saturating_add(1))
    }

    /// Has the processor fetch the pages of the buckets that come next.
    fn fetch_after(&self, index: usize) {
        let next = self.buckets.get(index.saturating_add(FETCHED_AT_ONCE / 2));
        if let Some((bucket, page)) = next.and_then(|bucket| Some((bucket, bucket.page.as_ref()?))) {
            page.fetch_owners();
            self.leaves(bucket).iter().for_each(|leaf| page.fetch_place(leaf.place));
        }
    }

    /// Bytes in memory, without pages.
    fn size(&self) -> usize {
        [
            self.nodes.len().saturating_mul(size_of::<LayerNode>()),
            self.slots.len().saturating_mul(size_of::<Slot>()),
            self.buckets.len().saturating_mul(size_of::<LayerBucket>()),
            self.leaves.len().saturating_mul(size_of::<LayerLeaf>()),
            self.values.len(),
        ]
        .into_iter()
        .fold(0, usize::saturating_add)
    }
}

impl Layer {
    /// A layer of parts that stand in the order of their numbers.
    pub(super) const fn new(parts: Vec<LayerPart>, root: Twig) -> Self {
        Self { parts, root }
    }

    fn part(&self, place: Place) -> Option<&LayerPart> {
        self.parts.get(usize::from(place.part))
    }

    /// Makes the changes of the layer in the tree that it lies over, and keeps what leads back.
    pub(super) fn swap(&mut self, head: &mut Slot, cache: &PageCache, workers: &Workers) {
        let mut swapped = Swapped::default();
        match self.root {
            Twig::Node(place) if self.parts.len() > 1 => {
                // The last part has the root alone.
                let Some((top, parts)) = self.parts.split_last_mut() else { return };
                let own = top.nodes.get_mut(place.index as usize);
                let Some((slots, twigs)) = own.and_then(|own| own.swap(head)) else { return };
                let mut parts: Vec<_> = parts.iter_mut().map(Some).collect();
                let mut work = Vec::new();
                for (slot, twig) in slots.iter_mut().zip(twigs) {
                    let part = twig.place().and_then(|place| parts.get_mut(usize::from(place.part))?.take());
                    work.extend(part.map(|part| Mutex::new((slot, part, twig))));
                }
                let done = workers.map(&work, |work| {
                    let mut work = work.lock().unwrap_or_else(PoisonError::into_inner);
                    let (slot, part, twig) = &mut *work;
                    part.swap(slot, *twig)
                });
                done.into_iter().for_each(|part| swapped.add(&part));
            }
            root @ (Twig::Same | Twig::Whole(_) | Twig::Node(_) | Twig::Leaves(_)) => {
                if let Some(part) = self.parts.first_mut() {
                    swapped = part.swap(head, root);
                }
            }
        }
        cache.swapped(&swapped);
    }

    /// Bytes in memory, without pages.
    pub(super) fn size(&self) -> usize {
        self.parts.iter().map(LayerPart::size).fold(0, usize::saturating_add)
    }
}

impl Twig {
    const fn place(self) -> Option<Place> {
        match self {
            Self::Same => None,
            Self::Whole(place) | Self::Node(place) | Self::Leaves(place) => Some(place),
        }
    }
}

/// A subtree of one version.
#[derive(Clone, Debug)]
pub(super) struct Tree<'a> {
    /// What layers have here, the nearest first; all of one kind, which is that of `under`.
    over: Vec<Over<'a>>,
    under: &'a Slot,
}

#[derive(Clone, Copy, Debug)]
enum Over<'a> {
    Node(&'a Layer, &'a LayerNode),
    Leaves(&'a LayerPart, &'a LayerBucket),
}

/// What a subtree is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind<'a> {
    Empty,
    Bucket(&'a Arc<Bucket>),
    Node,
}

impl<'a> Tree<'a> {
    /// The tree of a version: that of the head under layers, the nearest first.
    pub(super) fn new(layers: impl Iterator<Item = &'a Layer>, head: &'a Slot) -> Self {
        Self::resolve(layers.map(|layer| (layer, layer.root)), head)
    }

    fn resolve(twigs: impl Iterator<Item = (&'a Layer, Twig)>, under: &'a Slot) -> Self {
        let mut tree = Self { over: Vec::new(), under };
        for (layer, twig) in twigs {
            let Some((place, part)) = twig.place().and_then(|place| Some((place, layer.part(place)?))) else {
                continue;
            };
            let index = place.index as usize;
            match twig {
                Twig::Same => {}
                Twig::Whole(_) => {
                    if let Some(slot) = part.slots.get(index) {
                        tree.under = slot;
                        break;
                    }
                }
                Twig::Node(_) => tree.over.extend(part.nodes.get(index).map(|node| Over::Node(layer, node))),
                Twig::Leaves(_) => tree.over.extend(part.buckets.get(index).map(|bucket| Over::Leaves(part, bucket))),
            }
        }
        tree
    }

    pub(super) fn hash(&self) -> &'a Hash {
        match self.over.first() {
            Some(Over::Node(_, node)) => &node.hash,
            Some(Over::Leaves(_, bucket)) => &bucket.hash,
            None => &self.under.hash,
        }
    }

    pub(super) const fn kind(&self) -> Kind<'a> {
        match &self.under.child {
            Child::Empty => Kind::Empty,
            Child::Bucket(_, bucket) => Kind::Bucket(bucket),
            Child::Node(..) => Kind::Node,
        }
    }

    pub(super) const fn is_node(&self) -> bool {
        matches!(self.kind(), Kind::Node)
    }

    /// How many leaves there are below; [`usize::MAX`] stands for more than a bucket holds.
    pub(super) fn leaves(&self) -> usize {
        self.under.leaves()
    }

    /// The hashes of the halves of a node.
    pub(super) fn pairs(&self) -> &'a [Hash; CHILDREN / 2] {
        const NONE: &[Hash; CHILDREN / 2] = &[Hash::ZERO; CHILDREN / 2];
        match (self.over.first(), &self.under.child) {
            (Some(Over::Node(_, node)), _) => &node.pairs,
            (_, Child::Node(node, _)) => &node.pairs,
            (_, Child::Empty | Child::Bucket(..)) => NONE,
        }
    }

    /// A child of a node; of anything else, itself.
    pub(super) fn child(&self, index: usize) -> Self {
        let Child::Node(node, _) = &self.under.child else { return self.clone() };
        let under = node.slots.get(index).unwrap_or(self.under);
        if self.over.is_empty() {
            return Self { over: Vec::new(), under };
        }
        let twigs = self.over.iter().filter_map(|over| match over {
            Over::Node(layer, node) => Some((*layer, node.twigs.get(index).copied()?)),
            Over::Leaves(..) => None,
        });
        Self::resolve(twigs, under)
    }

    /// The children of a node.
    pub(super) fn children(&self) -> [Self; CHILDREN] {
        [self.child(0), self.child(1), self.child(2), self.child(3)]
    }

    /// The hashes beside the path to a child, from the top: that of the other pair, and that of the other child of its own
    /// pair unless one of the two is empty and the other a leaf.
    pub(super) fn siblings(&self, index: usize) -> (Hash, Option<Hash>) {
        let [left, right] = self.pairs();
        let (near, far) = (self.child(index), self.child(index ^ 1));
        let other = if index < 2 { right } else { left };
        (*other, (near.leaves().saturating_add(far.leaves()) > 1).then_some(*far.hash()))
    }

    /// Has the processor fetch what lies on the paths from a node at `depth` to some key hashes: all paths at once, as each step
    /// of each waits for memory.
    pub(super) fn fetch_ahead<'k>(&self, depth: u16, key_hashes: impl Iterator<Item = &'k Hash>, asked: Asked) {
        let mut ends: Vec<_> = key_hashes.map(|key_hash| (self.under, key_hash)).collect();
        let mut depth = depth;
        let mut is_above = true;
        while is_above {
            is_above = false;
            for (slot, key_hash) in &mut ends {
                let Child::Node(node, _) = &slot.child else { continue };
                if let Some(child) = node.slots.get(child_index(key_hash, depth)) {
                    child.child.fetch_ahead();
                    *slot = child;
                    is_above = true;
                }
            }
            depth = depth.saturating_add(NODE_BITS);
        }
        let in_buckets = |(slot, key_hash): (&'a Slot, &'k Hash)| match &slot.child {
            Child::Bucket(_, bucket) => Some((bucket, key_hash)),
            Child::Empty | Child::Node(..) => None,
        };
        // Each is asked for before the first of them is touched.
        ends.iter().copied().filter_map(in_buckets).for_each(|(bucket, _)| bucket.with_page(Page::fetch_entries));
        for (bucket, key_hash) in ends.into_iter().filter_map(in_buckets) {
            bucket.with_page(|page| page.fetch_leaf(key_hash, asked));
        }
    }

    /// The page of a bucket, which lies at a place; of anything else, an empty one.
    pub(super) fn page(&self, cache: &PageCache, at: Location) -> Result<Page, DatabaseError> {
        let Child::Bucket(_, bucket) = &self.under.child else { return Ok(Page::pack(at.depth, &[])) };
        let page = cache.page(bucket, at, &self.under.hash)?;
        Ok(self.over.iter().rev().fold(page, |page, over| match over {
            Over::Leaves(part, bucket) => part.with_values(&page, bucket),
            Over::Node(..) => page,
        }))
    }
}
