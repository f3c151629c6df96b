//! One block's changes to the tree as a layer over it: what is new on the touched paths, nothing written.
//!
//! ```text
//!   changes ──► hashed ──► for each child of the root: sorted by key hash, a part of the tree ([`part`]) ──► the root
//! ```
//! The result is the same for any number of threads: hashes depend on content alone, and parts are joined in order.

mod part;

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::change::{CHANGES_PER_THREAD_MIN, Hashed};
use super::diff::Filter;
use super::hashing::Hashing;
use super::layer::{Layer, LayerNode, LayerPart, Tree, Twig};
use super::page::{MERGE_LEAVES_MAX, Page};
use super::tree::{CHILDREN, Location};
use cairn_primitives::{Hash, StateChanges};
use cairn_storage_cpu::Workers;
use part::{Effect, Update};
use std::sync::Arc;

/// The outcome for one version.
pub(super) struct Updated {
    pub(super) root: Hash,
    pub(super) layer: Layer,
    pub(super) replaced: Replacements,
    /// The keys of the changes that make a difference.
    pub(super) filter: Filter,
    pub(super) pages: Pages,
}

/// What the changes of a block replaced.
pub(super) struct Replacements {
    /// For each change, in order.
    replaced: Vec<Replaced>,
    /// Short values, by part of the tree: in one piece of memory each, which is sooner given back than each by itself.
    values: Vec<Vec<u8>>,
}

/// What a change replaced.
#[derive(Clone, Debug)]
enum Replaced {
    /// The change makes no difference.
    Equal,
    Absent,
    /// A value among those of a part.
    Inline {
        part: u8,
        length: u16,
        start: u32,
    },
    /// See [`Old::Large`].
    Large(Box<(Hash, Option<Arc<[u8]>>)>),
}

/// A value that a change replaced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Old<'a> {
    Absent,
    Inline(&'a [u8]),
    /// A value over [`super::page::INLINE_VALUE_MAX`], with its hash, and itself if no committed block has written it.
    Large(&'a Hash, Option<&'a Arc<[u8]>>),
}

impl Replacements {
    fn new(changes: usize, effects: Vec<Effect>, values: Vec<Vec<u8>>) -> Self {
        let mut replaced = vec![Replaced::Equal; changes];
        for effect in effects {
            if let Some(place) = replaced.get_mut(effect.index) {
                *place = effect.replaced;
            }
        }
        Self { replaced, values }
    }

    /// For each change, in order, what it replaced; `None` where it makes no difference.
    pub(super) fn iter(&self) -> impl Iterator<Item = Option<Old<'_>>> {
        self.replaced.iter().map(|replaced| match replaced {
            Replaced::Equal => None,
            Replaced::Absent => Some(Old::Absent),
            Replaced::Inline { part, length, start } => {
                let start = *start as usize;
                let values = self.values.get(usize::from(*part)).map(Vec::as_slice).unwrap_or_default();
                let value = values.get(start..start.saturating_add(usize::from(*length)));
                Some(Old::Inline(value.unwrap_or_default()))
            }
            Replaced::Large(large) => Some(Old::Large(&large.0, large.1.as_ref())),
        })
    }
}

/// How the pages of a version differ from those of its parent.
#[derive(Default)]
pub(super) struct Pages {
    /// Buckets of the parent that are no part of the version, with their pages.
    pub(super) gone: Vec<(Arc<Bucket>, Page)>,
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
    changes: &StateChanges,
) -> Result<Updated, StateError> {
    let hashed = Hashed::new(changes, workers)?;
    let in_threads = if workers.count() > 1 && changes.len() >= 2 * CHANGES_PER_THREAD_MIN && tree.is_node() {
        apply_in_threads(workers, cache, tree, &hashed)?
    } else {
        None
    };
    let Whole { root, layer, effects, values, pages } = match in_threads {
        Some(whole) => whole,
        None => {
            let part = Update::new(cache, 0).run(tree, Location::ROOT, &hashed.sorted())?;
            let layer = Layer::new(vec![part.layer], part.twig);
            Whole { root: part.hash, layer, effects: part.effects, values: vec![part.values], pages: part.pages }
        }
    };
    let filter = Filter::new(effects.iter().map(|effect| effect.key));
    let replaced = Replacements::new(changes.len(), effects, values);
    Ok(Updated { root, layer, replaced, filter, pages })
}

/// The outcome for the whole tree.
struct Whole {
    root: Hash,
    layer: Layer,
    effects: Vec<Effect>,
    values: Vec<Vec<u8>>,
    pages: Pages,
}

/// The parts below the root on all threads; `None` where that is not worth it.
fn apply_in_threads(
    workers: &Workers,
    cache: &PageCache,
    tree: &Tree<'_>,
    changes: &Hashed<'_>,
) -> Result<Option<Whole>, StateError> {
    let numbers: [u8; CHILDREN] = [0, 1, 2, 3];
    let done = workers.map(&numbers, |number| {
        let index = usize::from(*number);
        Update::new(cache, *number).run(&tree.child(index), Location::ROOT.child(index), &changes.sorted_below(index))
    });
    let mut hashing = Hashing::new();
    let mut promises = [Hashing::EMPTY; CHILDREN];
    let mut twigs = [Twig::Same; CHILDREN];
    let (mut parts, mut effects) = (Vec::with_capacity(CHILDREN), Vec::new());
    let (mut values, mut pages) = (Vec::with_capacity(CHILDREN), Pages::default());
    for ((part, promise), twig) in done.into_iter().zip(&mut promises).zip(&mut twigs) {
        let part = part?;
        (*promise, *twig) = (hashing.known(&part.hash, part.leaves), part.twig);
        parts.push(part.layer);
        effects.extend(part.effects);
        values.push(part.values);
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
    Ok(Some(Whole { root: hash, layer: Layer::new(parts, root), effects, values, pages }))
}
