//! One block's changes to the tree as a layer over it: what is new on the touched paths, nothing written.
//!
//! ```text
//!   changes ──► hashed, sorted by key hash ──► for each thread a part of the tree ([`part`]) ──► the root above the parts
//! ```
//! The result is the same for any number of threads: hashes depend on content alone, and parts are joined in order.

mod part;

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::change::{CHANGES_PER_THREAD_MIN, Change, prepare};
use super::diff::Filter;
use super::hashing::Hashing;
use super::layer::{Layer, LayerNode, LayerPart, Tree, Twig};
use super::overlay::Changes;
use super::page::{Leaf, MERGE_LEAVES_MAX, Page, ValueRef};
use super::tree::{CHILDREN, Location, child_index};
use cairn_primitives::Hash;
use cairn_storage_cpu::Workers;
use part::{Effect, Update};
use std::sync::Arc;

/// The outcome for one version.
pub(super) struct Updated {
    pub(super) root: Hash,
    pub(super) layer: Layer,
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
    /// The bytes of these pages.
    pub(super) gone_bytes: usize,
    /// Bytes of the pages of buckets that are not part of the parent.
    pub(super) new_bytes: usize,
    /// Places that got a page or lost theirs, by the prefix and whether there is one now, in order of time.
    pub(super) places: Vec<(Hash, bool)>,
}

impl Pages {
    fn append(&mut self, other: Self) {
        self.gone.extend(other.gone);
        self.new_bytes = self.new_bytes.saturating_add(other.new_bytes);
        self.places.extend(other.places);
        self.gone_bytes = self.gone_bytes.saturating_add(other.gone_bytes);
    }
}

/// What changes make of a version's tree.
///
/// # Errors
/// A key or value is out of bounds, or a page cannot be read.
pub(super) fn update(
    workers: &Workers,
    cache: &PageCache,
    tree: &Tree<'_>,
    changes: &Changes,
) -> Result<Updated, StateError> {
    let sorted = prepare(changes, workers)?;
    let in_threads = if workers.count() > 1 && sorted.len() >= 2 * CHANGES_PER_THREAD_MIN && tree.is_node() {
        apply_in_threads(workers, cache, tree, &sorted)?
    } else {
        None
    };
    let Whole { root, layer, effects, pages } = match in_threads {
        Some(whole) => whole,
        None => {
            let part = Update::new(cache, 0).run(tree, Location::ROOT, &sorted)?;
            let layer = Layer::new(vec![part.layer], part.twig);
            Whole { root: part.hash, layer, effects: part.effects, pages: part.pages }
        }
    };
    let filter = Filter::new(effects.iter().map(|effect| effect.key));
    let mut replaced = vec![Replaced::Equal; changes.len()];
    for effect in effects {
        if let Some(place) = replaced.get_mut(effect.index) {
            *place = effect.replaced;
        }
    }
    Ok(Updated { root, layer, replaced, filter, pages })
}

/// The outcome for the whole tree.
struct Whole {
    root: Hash,
    layer: Layer,
    effects: Vec<Effect>,
    pages: Pages,
}

/// Changes that belong below one child of a node.
type Share<'a, 'b> = (usize, &'a [Change<'b>]);

/// The parts below the root on all threads; `None` where that is not worth it.
fn apply_in_threads(
    workers: &Workers,
    cache: &PageCache,
    tree: &Tree<'_>,
    changes: &[Change<'_>],
) -> Result<Option<Whole>, StateError> {
    let shares: Vec<_> = (0_u8..).zip(shares(changes, 0)).collect();
    let done = workers.map(&shares, |(number, (index, changes))| {
        Update::new(cache, *number).run(&tree.child(*index), Location::ROOT.child(*index), changes)
    });
    let (mut parts, mut effects, mut pages) = (Vec::with_capacity(CHILDREN), Vec::new(), Pages::default());
    let mut hashing = Hashing::new();
    let mut promises = tree.children().map(|child| hashing.known(child.hash(), child.leaves()));
    let mut twigs = [Twig::Same; CHILDREN];
    for ((_, (index, _)), part) in shares.iter().zip(done) {
        let part = part?;
        if let (Some(promise), Some(twig)) = (promises.get_mut(*index), twigs.get_mut(*index)) {
            (*promise, *twig) = (hashing.known(&part.hash, part.leaves), part.twig);
        }
        parts.push(part.layer);
        effects.extend(part.effects);
        pages.append(part.pages);
    }
    if promises.iter().map(|promise| promise.leaves).fold(0, usize::saturating_add) <= MERGE_LEAVES_MAX {
        // Nearly everything was deleted: rare, and quickly done again in one piece.
        return Ok(None);
    }
    let [a, b, c, d] = promises;
    let pairs = [hashing.join(a, b), hashing.join(c, d)];
    let [left, right] = pairs;
    let whole = hashing.join(left, right);
    hashing.run();
    let hash = hashing.hash(whole);
    let mut top = LayerPart::new(u8::try_from(parts.len()).unwrap_or(u8::MAX));
    let root = top.push_node(LayerNode { hash, pairs: pairs.map(|pair| hashing.hash(pair)), twigs });
    parts.push(top);
    Ok(Some(Whole { root: hash, layer: Layer::new(parts, root), effects, pages }))
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
