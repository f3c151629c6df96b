//! The suite that every adapter of the database port passes.
//!
//! An adapter calls [`check`] from its own tests with a function that opens a new, empty database. Each rule opens one.

use crate::batch::WriteBatch;
use crate::database::{Database, Direction, Durability, KeyRange, Record};
use crate::error::DatabaseError;
use crate::table::Table;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// A rule that an adapter breaks.
#[derive(Debug, thiserror::Error)]
pub enum Violation {
    /// An operation failed.
    #[error("rule `{rule}`: {source}")]
    Failed {
        /// The rule.
        rule: &'static str,
        /// The failure.
        source: DatabaseError,
    },
    /// An answer was wrong.
    #[error("rule `{rule}`: expected {expected}, got {actual}")]
    Wrong {
        /// The rule.
        rule: &'static str,
        /// What the rule asks for.
        expected: String,
        /// What came.
        actual: String,
    },
}

/// Runs all rules.
///
/// # Errors
/// The first rule that does not hold.
pub fn check<D: Database>(open: &mut dyn FnMut() -> D) -> Result<(), Violation> {
    let rules: [(&'static str, Rule); 8] = [
        ("a written value is read back", values_come_back),
        ("tables are apart", tables_are_apart),
        ("the last write of a batch wins", last_write_wins),
        ("several keys are answered in order", several_keys),
        ("a range is deleted before the rest of its batch", ranges_are_deleted),
        ("scans keep order, bounds and limit", scans),
        ("a snapshot does not move", snapshot_stays),
        ("random batches equal a model", random_batches),
    ];
    for (rule, run) in rules {
        let mut check = Check { rule, violation: None };
        run(&open(), &mut check).map_err(|source| Violation::Failed { rule, source })?;
        check.violation.map_or(Ok(()), Err)?;
    }
    Ok(())
}

type Rule = fn(&dyn Database, &mut Check) -> Result<(), DatabaseError>;

/// Keeps the first wrong answer.
struct Check {
    rule: &'static str,
    violation: Option<Violation>,
}

impl Check {
    fn equal<T: PartialEq + Debug>(&mut self, actual: &T, expected: &T) {
        if actual != expected && self.violation.is_none() {
            let (expected, actual) = (format!("{expected:?}"), format!("{actual:?}"));
            self.violation = Some(Violation::Wrong { rule: self.rule, expected, actual });
        }
    }
}

fn put(records: &[(Table, &[u8], &[u8])]) -> WriteBatch {
    let mut batch = WriteBatch::new();
    for (table, key, value) in records {
        batch.put(*table, *key, *value);
    }
    batch
}

fn values_come_back(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    check.equal(&database.get(Table::Meta, b"a")?, &None);
    database.write(WriteBatch::new(), Durability::Synced)?;
    let large = vec![7; 3 << 20];
    let records: [(Table, &[u8], &[u8]); 4] = [
        (Table::Meta, b"a", b"1"),
        (Table::Meta, b"empty", b""),
        (Table::Meta, &[0], b"zero"),
        (Table::Meta, &[0xff; 300], &large),
    ];
    database.write(put(&records), Durability::Unsynced)?;
    for (table, key, value) in records {
        check.equal(&database.get(table, key)?, &Some(value.to_vec()));
    }
    let mut batch = put(&[(Table::Meta, b"a", b"2")]);
    batch.delete(Table::Meta, b"empty");
    batch.delete(Table::Meta, b"never there");
    database.write(batch, Durability::Synced)?;
    check.equal(&database.get(Table::Meta, b"a")?, &Some(b"2".to_vec()));
    check.equal(&database.get(Table::Meta, b"empty")?, &None);
    Ok(())
}

fn tables_are_apart(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    let mut batch = WriteBatch::new();
    for table in Table::ALL {
        batch.put(table, b"key", table.name());
    }
    database.write(batch, Durability::Synced)?;
    for table in Table::ALL {
        check.equal(&database.get(table, b"key")?, &Some(table.name().into()));
        let all = database.scan(table, &KeyRange::all(), Direction::Forward, 10)?;
        check.equal(&all, &vec![(b"key".to_vec(), table.name().into())]);
    }
    Ok(())
}

fn last_write_wins(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    let mut batch = put(&[(Table::Meta, b"a", b"1"), (Table::Meta, b"b", b"1"), (Table::Meta, b"a", b"2")]);
    batch.delete(Table::Meta, b"b");
    batch.delete(Table::Meta, b"c");
    batch.put(Table::Meta, b"c", b"3");
    database.write(batch, Durability::Synced)?;
    check.equal(&database.get(Table::Meta, b"a")?, &Some(b"2".to_vec()));
    check.equal(&database.get(Table::Meta, b"b")?, &None);
    check.equal(&database.get(Table::Meta, b"c")?, &Some(b"3".to_vec()));
    Ok(())
}

fn several_keys(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    database.write(put(&[(Table::Meta, b"a", b"1"), (Table::Meta, b"c", b"3")]), Durability::Synced)?;
    let (one, three) = (Some(b"1".to_vec()), Some(b"3".to_vec()));
    check.equal(&database.multi_get(Table::Meta, &[])?, &vec![]);
    check.equal(&database.multi_get(Table::Meta, &[b"a", b"b", b"c"])?, &vec![one.clone(), None, three.clone()]);
    check.equal(&database.multi_get(Table::Meta, &[b"c", b"a", b"c"])?, &vec![three.clone(), one, three]);
    Ok(())
}

fn ranges_are_deleted(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    let keys: [&[u8]; 5] = [b"a", b"b", b"b\x00", b"c", b"\xff"];
    let records: Vec<_> = keys.iter().map(|key| (Table::Journal, *key, *key)).collect();
    database.write(put(&records), Durability::Synced)?;
    database.write(put(&[(Table::Meta, b"b", b"b")]), Durability::Synced)?;
    let mut batch = put(&[(Table::Journal, b"b", b"new")]);
    batch.delete_range(Table::Journal, *b"b", *b"c");
    batch.delete_range(Table::Journal, *b"x", *b"d");
    database.write(batch, Durability::Derived)?;
    let left: [(&[u8], &[u8]); 4] = [(b"a", b"a"), (b"b", b"new"), (b"c", b"c"), (b"\xff", b"\xff")];
    let left: Vec<Record> = left.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    check.equal(&database.scan(Table::Journal, &KeyRange::all(), Direction::Forward, 9)?, &left);
    check.equal(&database.get(Table::Journal, b"b\x00")?, &None);
    check.equal(&database.get(Table::Meta, b"b")?, &Some(b"b".to_vec()));
    Ok(())
}

fn scans(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    let keys: [&[u8]; 6] = [b"a", b"b", b"b\x00", b"ba", b"c", b"\xff\xff"];
    let records: Vec<_> = keys.iter().map(|key| (Table::Journal, *key, *key)).collect();
    database.write(put(&records), Durability::Synced)?;
    let ranges = [
        (KeyRange::all(), &keys[..]),
        (KeyRange::from(*b"b"), &keys[1..]),
        (KeyRange::from(*b"b\x00\x00"), &keys[3..]),
        (KeyRange::between(*b"a", *b"c"), &keys[..4]),
        (KeyRange::between(*b"b", *b"b\x00"), &keys[1..2]),
        (KeyRange::between(*b"x", *b"a"), &[]),
        (KeyRange::between(*b"b", *b"b"), &[]),
        (KeyRange::prefix(b"b"), &keys[1..4]),
        (KeyRange::prefix(b"\xff"), &keys[5..]),
        (KeyRange::prefix(b""), &keys[..]),
    ];
    for (range, expected) in ranges {
        for limit in [0, 1, 2, 100] {
            let mut expected: Vec<Record> = expected.iter().map(|key| (key.to_vec(), key.to_vec())).collect();
            let forward: Vec<_> = expected.iter().take(limit).cloned().collect();
            check.equal(&database.scan(Table::Journal, &range, Direction::Forward, limit)?, &forward);
            expected.reverse();
            expected.truncate(limit);
            check.equal(&database.scan(Table::Journal, &range, Direction::Backward, limit)?, &expected);
        }
    }
    Ok(())
}

fn snapshot_stays(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    database.write(put(&[(Table::Meta, b"a", b"1"), (Table::Meta, b"b", b"1")]), Durability::Synced)?;
    let snapshot = database.snapshot();
    let mut batch = put(&[(Table::Meta, b"a", b"2"), (Table::Meta, b"c", b"2")]);
    batch.delete(Table::Meta, b"b");
    database.write(batch, Durability::Unsynced)?;
    let old: Vec<Record> = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"1".to_vec())];
    let new: Vec<Record> = vec![(b"a".to_vec(), b"2".to_vec()), (b"c".to_vec(), b"2".to_vec())];
    check.equal(&snapshot.get(Table::Meta, b"a")?, &Some(b"1".to_vec()));
    check.equal(&snapshot.multi_get(Table::Meta, &[b"b", b"c"])?, &vec![Some(b"1".to_vec()), None]);
    check.equal(&snapshot.scan(Table::Meta, &KeyRange::all(), Direction::Forward, 9)?, &old);
    check.equal(&database.scan(Table::Meta, &KeyRange::all(), Direction::Forward, 9)?, &new);
    Ok(())
}

/// A few hundred batches over few keys, from a fixed seed, against an ordered map.
fn random_batches(database: &dyn Database, check: &mut Check) -> Result<(), DatabaseError> {
    let mut model = BTreeMap::new();
    let mut seed = 1_u64;
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed.wrapping_shr(33).checked_rem(below).unwrap_or(0)
    };
    for round in 0..200_u64 {
        let mut batch = WriteBatch::new();
        for _ in 0..random(20) {
            let key = random(60).to_be_bytes().to_vec();
            if random(3) == 0 {
                batch.delete(Table::StateHistory, key.clone());
                model.remove(&key);
            } else {
                let value = round.to_be_bytes().to_vec();
                batch.put(Table::StateHistory, key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        let durability = if random(4) == 0 { Durability::Synced } else { Durability::Unsynced };
        database.write(batch, durability)?;
        let expected: Vec<Record> = model.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        check.equal(&database.scan(Table::StateHistory, &KeyRange::all(), Direction::Forward, 100)?, &expected);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::memory::MemoryDatabase;

    #[test]
    fn memory_database_passes_conformance() {
        check(&mut MemoryDatabase::new).unwrap();
    }
}
