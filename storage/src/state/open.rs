//! Building the tree of the head from its pages and the diffs above them.

use super::StateError;
use super::cache::{Bucket, PageCache};
use super::checkpoint::{Archived, BlockChanges, Marker, Trees, Unsaved};
use super::history;
use super::overlay::Changes;
use super::page::{Page, subtree_hash};
use super::tree::{CHILDREN, Child, Location, Slot};
use super::update::update;
use crate::blocks;
use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use cairn_primitives::{Hash, Height};
use std::sync::Arc;

/// How many pages are read at once.
const CHUNK: usize = 1_024;

/// A page and what was found out about it.
struct Summary {
    at: Location,
    hash: Hash,
    leaves: u16,
    page: Page,
}

/// Streams over the pages, which lie in the order of their prefixes.
struct Pages<'a> {
    view: &'a dyn DatabaseView,
    cache: &'a PageCache,
    range: KeyRange,
    ahead: std::vec::IntoIter<(Vec<u8>, Vec<u8>)>,
    next: Option<Summary>,
}

/// The tree of all pages; every page's place and hash is recomputed, they stay in memory while there is
/// room.
pub(super) fn build(view: &dyn DatabaseView, cache: &PageCache) -> Result<Slot, StateError> {
    let mut pages = Pages { view, cache, range: KeyRange::all(), ahead: Vec::new().into_iter(), next: None };
    pages.advance()?;
    let root = pages.subtree(Location::ROOT)?;
    match pages.next {
        None => Ok(root),
        Some(page) => Err(damaged(&page).into()),
    }
}

/// What a block changed, as the table of diffs has it.
type Diff = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Applies the diffs above the last checkpoint up to `head`; returns the tree of the head and what the next checkpoint must
/// write.
pub(super) fn replay(
    view: &dyn DatabaseView,
    cache: &PageCache,
    mut root: Slot,
    saved: Marker,
    head: Height,
    is_archive: bool,
) -> Result<(Slot, Unsaved), StateError> {
    let mut unsaved = Unsaved::default();
    let mut diffs = Vec::new();
    for height in (saved.height.next().0..=head.0).map(Height) {
        let diff: Option<Diff> = blocks::read(view, Table::StateDiffs, &height.0.to_be_bytes())?;
        let missing = || DatabaseError::Missing { table: Table::StateDiffs, reason: format!("height {height}") };
        let changes: Changes = diff.ok_or_else(missing)?.into_iter().collect();
        diffs.push((height, changes));
    }
    // An archive needs the tree after each block as it was.
    let is_exact = is_archive && saved.pruned <= saved.height;
    if is_exact {
        root = roll_back(view, cache, &root, saved.height, &diffs, &mut unsaved)?;
        unsaved.archived = Some(Archived { tree: root.clone(), height: saved.height, from: saved.provable });
    }
    for (height, changes) in diffs {
        let updated = update(cache, &root, &changes, 1)?;
        if is_exact {
            updated.replaced.iter().for_each(|(bucket, page)| cache.pin(bucket, page));
        }
        let trees = is_exact.then(|| Trees { before: root, after: updated.root.clone() });
        root = updated.root;
        // The pages may hold some of these changes already; history must get them all.
        let effective = vec![true; changes.len()].into();
        let block = BlockChanges { height, changes: Arc::new(changes), effective, trees };
        unsaved.push(block, &updated.pages, updated.kept_bytes);
    }
    Ok((root, unsaved))
}

/// The tree at the last checkpoint, where the pages on disk may be of the one that a crash cut short.
fn roll_back(
    view: &dyn DatabaseView,
    cache: &PageCache,
    root: &Slot,
    saved: Height,
    diffs: &[(Height, Changes)],
    unsaved: &mut Unsaved,
) -> Result<Slot, StateError> {
    let mut changes = Changes::new();
    for key in diffs.iter().flat_map(|(_, changes)| changes.keys()) {
        if !changes.contains_key(key) {
            changes.insert(key.clone(), history::get(view, key, saved)?);
        }
    }
    let updated = update(cache, root, &changes, 1)?;
    updated.replaced.iter().for_each(|(bucket, page)| cache.pin(bucket, page));
    unsaved.put_pages(&updated.pages);
    Ok(updated.root)
}

fn damaged(page: &Summary) -> DatabaseError {
    DatabaseError::damaged(Table::StatePages, format!("page {:?} lies below another page", page.at))
}

impl Pages<'_> {
    fn subtree(&mut self, at: Location) -> Result<Slot, StateError> {
        let Some(page) = self.next.take_if(|page| at.contains(&page.at.prefix)) else { return Ok(Slot::EMPTY) };
        if page.at == at {
            self.advance()?;
            let bucket = Arc::new(Bucket::stored());
            self.cache.keep(&bucket, page.page);
            return Ok(Slot { hash: page.hash, child: Child::Bucket(page.leaves, bucket) });
        }
        if page.at.depth <= at.depth {
            return Err(damaged(&page).into());
        }
        self.next = Some(page);
        let mut slots = [Slot::EMPTY; CHILDREN];
        for (index, slot) in slots.iter_mut().enumerate() {
            *slot = self.subtree(at.child(index))?;
        }
        Ok(Slot::node(slots))
    }

    fn advance(&mut self) -> Result<(), StateError> {
        if self.ahead.len() == 0 {
            let records = self.view.scan(Table::StatePages, &self.range, Direction::Forward, CHUNK)?;
            if let Some((last, _)) = records.last() {
                self.range.start.clone_from(last);
                self.range.start.push(0);
            }
            self.ahead = records.into_iter();
        }
        self.next = self.ahead.next().map(|(key, record)| summarize(&key, record)).transpose()?;
        Ok(())
    }
}

fn summarize(key: &[u8], record: Vec<u8>) -> Result<Summary, DatabaseError> {
    let page = Page::parse(record).map_err(|reason| DatabaseError::damaged(Table::StatePages, reason))?;
    let mut prefix = Hash::ZERO;
    let place = prefix.0.get_mut(..key.len());
    place.ok_or_else(|| DatabaseError::damaged(Table::StatePages, "a key is longer than a hash"))?.copy_from_slice(key);
    let at = Location { prefix, depth: page.depth() };
    if !page.is_true() {
        return Err(DatabaseError::damaged(Table::StatePages, format!("page {at:?} holds a leaf with a wrong hash")));
    }
    let hashes = page.hashes();
    if hashes.iter().any(|(key_hash, _)| !at.contains(key_hash)) {
        return Err(DatabaseError::damaged(Table::StatePages, format!("page {at:?} holds a leaf of another page")));
    }
    let leaves = u16::try_from(hashes.len()).unwrap_or(u16::MAX);
    Ok(Summary { at, hash: subtree_hash(&hashes, at.depth), leaves, page })
}
