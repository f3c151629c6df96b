//! The records of past nodes, each compared with the tree that its block found.
//!
//! What a block replaced follows from the tree before it and from the keys that it changed: a record for each place on the
//! way to such a key where there was a node four bits above, and for all sixteen places below a node that shrank to the
//! leaves of a bucket.

use crate::damage::{Damages, scan_table, shown_key};
use crate::database::{DatabaseView, KeyRange};
use crate::state::StateError;
use crate::state::archive::{self, Image, PastTree, Subtree, is_past_node, record_key};
use crate::state::layer::Tree;
use crate::state::tree::Location;
use crate::table::Table;
use cairn_primitives::{Hash, Height};

/// The records of an archive, block by block from the last one down.
///
/// Memory: four bytes for each block of the archive.
pub(super) struct PastNodes<'a> {
    view: &'a dyn DatabaseView,
    /// The blocks whose records there are: above the first height, up to the second.
    heights: (Height, Height),
    /// How many records each of them has, by a scan of the table; empty if that met a damage.
    counts: Vec<u32>,
}

/// The records of one block.
struct BlockNodes<'a> {
    nodes: &'a PastNodes<'a>,
    height: Height,
    before: PastTree<'a>,
    after: &'a Tree<'a>,
    seen: u32,
    is_sound: bool,
}

impl<'a> PastNodes<'a> {
    /// Counts the records and checks their form; those up to `unread`, if there are such, are of no account.
    pub(super) fn scan(
        view: &'a dyn DatabaseView,
        heights: (Height, Height),
        unread: Option<Height>,
        damages: &mut Damages,
    ) -> Self {
        let blocks = usize::try_from(heights.1.0.saturating_sub(heights.0.0)).unwrap_or(usize::MAX);
        let before = damages.count();
        let mut nodes = Self { view, heights, counts: vec![0; blocks] };
        scan_table(view, Table::StateNodes, KeyRange::all(), super::CHUNK, damages, &mut |key, record, damages| {
            let height = key.last_chunk().map(|height| Height(u32::from_be_bytes(*height)));
            if height <= unread && height.is_some() {
                return;
            }
            match height.and_then(|height| nodes.place(height)).and_then(|place| nodes.counts.get_mut(place)) {
                None => damages.add_key(Table::StateNodes, key, "it is of a block that the archive does not hold"),
                Some(count) => {
                    *count = count.saturating_add(1);
                    if archive::parse(key, &record).is_err() {
                        damages.add_key(Table::StateNodes, key, "it is no node and no list of leaves of its place");
                    }
                }
            }
        });
        if damages.count() > before {
            nodes.counts = Vec::new();
        }
        nodes
    }

    /// The place of a block's count.
    fn place(&self, height: Height) -> Option<usize> {
        let above = height.0.checked_sub(self.heights.0.0)?.checked_sub(1)?;
        usize::try_from(above).ok().filter(|_| height <= self.heights.1)
    }

    /// Checks what a block replaced: the trees before and after it are the copy's, `changed` the key hashes of its changes
    /// in order.
    pub(super) fn check(
        &self,
        height: Height,
        before: PastTree<'_>,
        after: &Tree<'_>,
        changed: &[Hash],
        damages: &mut Damages,
    ) -> Result<(), StateError> {
        let mut block = BlockNodes { nodes: self, height, before, after, seen: 0, is_sound: true };
        if !changed.is_empty() && before.tree.hash() != after.hash() {
            block.check(Location::ROOT, changed, damages)?;
        }
        let count = self.place(height).and_then(|place| self.counts.get(place)).copied().unwrap_or(block.seen);
        if block.is_sound && block.seen != count {
            let reason = format!("it has {count} records, {} places were replaced", block.seen);
            damages.add(Table::StateNodes, None, block.name(), reason);
        }
        Ok(())
    }
}

impl BlockNodes<'_> {
    /// The height of the state that the records are about.
    fn name(&self) -> String {
        format!("height {}", self.height.0.saturating_sub(1))
    }

    /// Checks the record of a place, and those below it.
    fn check(&mut self, at: Location, changed: &[Hash], damages: &mut Damages) -> Result<(), StateError> {
        let key = record_key(at, self.height);
        let image = match self.nodes.view.get(Table::StateNodes, &key)? {
            Some(record) => Image::decode(&record, at).map_err(|_| "it cannot be read"),
            None => Err("the record is missing"),
        };
        let image = image.and_then(|image| match self.before.image(at) {
            Ok(found) if found == image => Ok(image),
            Ok(_) => Err("it is not what was there before the block"),
            Err(_) => Err("what was there before the block cannot be read"),
        });
        self.seen = self.seen.saturating_add(1);
        let image = match image {
            Ok(image) => image,
            Err(reason) => {
                self.is_sound = false;
                let place = format!("{}, {}", self.name(), shown_key(&key));
                damages.add(Table::StateNodes, Some(&key), place, reason);
                return Ok(());
            }
        };
        if matches!(image, Image::Leaves(_)) {
            return Ok(());
        }
        let is_gone = !is_past_node(&Subtree::root(self.after.clone()).descend(at).tree);
        for (at, here) in archive::below(at, changed) {
            if !here.is_empty() || is_gone {
                self.check(at, here, damages)?;
            }
        }
        Ok(())
    }
}
