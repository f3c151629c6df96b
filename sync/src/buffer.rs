//! Verified ranges that wait for the blocks before them.

use crate::verify::VerifiedRange;
use cairn_primitives::Height;
use std::collections::BTreeMap;

/// Verified ranges by their first height; they may overlap.
#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer {
    ranges: BTreeMap<Height, VerifiedRange>,
    bytes: usize,
}

impl Buffer {
    /// Keeps a range, in the place of a shorter one with the same start.
    pub(crate) fn insert(&mut self, range: VerifiedRange) {
        let first = range.first();
        if self.ranges.get(&first).is_some_and(|other| other.last() >= range.last()) {
            return;
        }
        self.bytes = self.bytes.saturating_add(range.bytes());
        if let Some(old) = self.ranges.insert(first, range) {
            self.bytes = self.bytes.saturating_sub(old.bytes());
        }
    }

    /// Takes out what can be handed out next: the range that holds `next`, from there on.
    pub(crate) fn take(&mut self, next: Height) -> Option<VerifiedRange> {
        while let Some(entry) = self.ranges.first_entry() {
            if *entry.key() > next {
                return None;
            }
            let range = entry.remove();
            self.bytes = self.bytes.saturating_sub(range.bytes());
            if let Some(rest) = range.starting_at(next) {
                return Some(rest);
            }
        }
        None
    }

    /// The heights held, as inclusive ranges in order of their start.
    pub(crate) fn heights(&self) -> impl Iterator<Item = (Height, Height)> + '_ {
        self.ranges.values().map(|range| (range.first(), range.last()))
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }
}
