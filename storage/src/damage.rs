//! What a check of the database finds: records that are not what they must be.

use crate::database::{DatabaseView, Direction, KeyRange};
use crate::error::DatabaseError;
use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt;

/// How many damages of each table a check lists unless told otherwise; all are counted.
pub const DAMAGES_LISTED_MAX: usize = 100;

/// How many bytes of a key are shown.
const KEY_BYTES_SHOWN: usize = 48;

/// One record, or a place where one should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The table.
    pub table: Table,
    /// The key in the table, where the damage has one.
    pub key: Option<Vec<u8>>,
    /// The place in words: a height, an epoch, a hash.
    pub place: String,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table `{}`, {}: {}", self.table, self.place, self.reason)
    }
}

/// Damages in the order they were found: the first ones of each table listed, so that one does not hide the others; all
/// counted.
#[derive(Clone, Debug)]
pub struct Damages {
    listed: Vec<Damage>,
    listed_of: BTreeMap<Table, usize>,
    listed_max: usize,
    count: u64,
}

impl Default for Damages {
    fn default() -> Self {
        Self::new(DAMAGES_LISTED_MAX)
    }
}

impl Damages {
    /// An empty list that keeps at most `listed_max` of each table.
    #[must_use]
    pub const fn new(listed_max: usize) -> Self {
        Self { listed: Vec::new(), listed_of: BTreeMap::new(), listed_max, count: 0 }
    }

    /// Adds a damage.
    pub fn add(&mut self, table: Table, key: Option<&[u8]>, place: impl Into<String>, reason: impl ToString) {
        self.count = self.count.saturating_add(1);
        let key = key.map(<[u8]>::to_vec);
        self.list(Damage { table, key, place: place.into(), reason: reason.to_string() });
    }

    fn list(&mut self, damage: Damage) {
        let listed = self.listed_of.entry(damage.table).or_default();
        if *listed < self.listed_max {
            *listed = listed.saturating_add(1);
            self.listed.push(damage);
        }
    }

    /// Adds a record that is known by its key alone.
    pub fn add_key(&mut self, table: Table, key: &[u8], reason: impl ToString) {
        self.add(table, Some(key), shown_key(key), reason);
    }

    /// Adds a failure of the database itself while it read a table, at a place.
    pub fn add_error(&mut self, table: Table, key: Option<&[u8]>, place: impl Into<String>, error: &DatabaseError) {
        let reason = match error {
            DatabaseError::Engine { reason, .. } => format!("the file cannot be read: {reason}"),
            DatabaseError::Damaged { reason, .. } | DatabaseError::Missing { reason, .. } => reason.clone(),
        };
        self.add(table, key, place, reason);
    }

    /// Adds what another part of the check found.
    pub fn merge(&mut self, other: Self) {
        self.count = self.count.saturating_add(other.count);
        other.listed.into_iter().for_each(|damage| self.list(damage));
    }

    /// How many were found.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first ones of each table.
    #[must_use]
    pub fn listed(&self) -> &[Damage] {
        &self.listed
    }
}

/// A key in words.
#[must_use]
pub fn shown_key(key: &[u8]) -> String {
    use fmt::Write as _;
    let mut text = String::from("key 0x");
    for byte in key.iter().take(KEY_BYTES_SHOWN) {
        // Writing into a string does not fail.
        if write!(text, "{byte:02x}").is_err() {
            break;
        }
    }
    if key.len() > KEY_BYTES_SHOWN {
        text.push('…');
    }
    text
}

/// Told a key, its value, and where damage goes.
pub type OnRecord<'a> = dyn FnMut(&[u8], Vec<u8>, &mut Damages) + 'a;

/// Walks over a range of a table, `limit` records at a time; where the database fails, that is a damage and the walk ends.
pub fn scan_table(
    view: &dyn DatabaseView,
    table: Table,
    mut range: KeyRange,
    limit: usize,
    damages: &mut Damages,
    on_record: &mut OnRecord<'_>,
) {
    loop {
        let records = match view.scan(table, &range, Direction::Forward, limit) {
            Ok(records) => records,
            Err(error) => {
                let place = format!("after {}", shown_key(&range.start));
                return damages.add_error(table, Some(&range.start), place, &error);
            }
        };
        let Some((last, _)) = records.last() else { return };
        range.start.clone_from(last);
        range.start.push(0);
        for (key, value) in records {
            on_record(&key, value, damages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Damages, shown_key};
    use crate::table::Table;

    #[test]
    fn damages_beyond_the_limit_are_counted_and_not_listed() {
        let mut damages = Damages::new(2);
        for height in 0..3_u32 {
            damages.add(Table::Headers, Some(&height.to_be_bytes()), format!("height {height}"), "missing");
        }
        let mut other = Damages::new(2);
        other.add_key(Table::Journal, &[1; 60], "short");
        damages.merge(other);
        assert_eq!((damages.count(), damages.listed().len()), (4, 3));
        let mut listed = damages.listed().iter().map(ToString::to_string).skip(1);
        assert_eq!(listed.next().unwrap(), "table `headers`, height 1: missing");
        assert!(listed.next().unwrap().starts_with("table `journal`"));
    }

    #[test]
    fn key_shown_is_cut_at_its_limit() {
        assert_eq!(shown_key(&[0xab, 1]), "key 0xab01");
        assert!(shown_key(&[0; 60]).ends_with('…'));
    }
}
