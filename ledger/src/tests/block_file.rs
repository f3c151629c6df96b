//! Files of blocks: what goes in comes out, verified, and nothing else does.

use super::fixture::{Node, chain, genesis};
use crate::LedgerError;
use crate::block_file::{BlockFileError, Exported, export, import};
use cairn_primitives::{EpochSchedule, Height, TimestampMs};
use cairn_storage::{Database, DatabaseView, Durability, Table, WriteBatch};

fn write(node: &Node, from: Option<u32>, to: Option<u32>) -> Result<(Vec<u8>, Exported), BlockFileError> {
    let mut file = Vec::new();
    let done = export(&node.database, genesis(), from.map(Height), to.map(Height), &mut file, &mut |_, _| {})?;
    Ok((file, done))
}

fn read(node: &mut Node, file: &[u8]) -> Result<u32, BlockFileError> {
    import(&mut node.ledger, file, &mut |_, _| {}).map(|done| done.head.0)
}

#[test]
fn blocks_exported_and_imported_give_the_same_database() {
    let mut source = Node::with_epochs(10);
    chain(&mut source, 35);
    let (file, done) = write(&source, None, None).unwrap();
    assert_eq!((done.first, done.last), (Height(1), Height(35)));
    assert_eq!(done.bytes, u64::try_from(file.len()).unwrap());
    let mut target = Node::with_epochs(10);
    let mut told = Vec::new();
    let done = import(&mut target.ledger, &file[..], &mut |seen, total| told.push((seen, total))).unwrap();
    assert_eq!((done.imported, done.skipped, done.head), (35, 0, Height(35)));
    assert_eq!(told.last(), Some(&(35, 35)));
    assert_eq!(target.database.unsynced_count(), 0);
    for table in Table::ALL {
        let all = |node: &Node| {
            let range = cairn_storage::KeyRange::all();
            node.database.scan(table, &range, cairn_storage::Direction::Forward, usize::MAX).unwrap()
        };
        assert_eq!(all(&target), all(&source), "{table}");
    }
}

#[test]
fn import_goes_on_where_an_interrupted_one_was() {
    let mut source = Node::with_epochs(10);
    chain(&mut source, 25);
    let (file, _) = write(&source, None, None).unwrap();
    let mut target = Node::with_epochs(10);
    for cut in (0..file.len()).step_by(file.len() / 9) {
        let error = read(&mut target, &file[..cut]).unwrap_err();
        assert!(matches!(error, BlockFileError::CutShort { .. } | BlockFileError::Foreign), "{cut}: {error}");
    }
    assert!(target.height() > 15, "whole blocks of a cut file are kept");
    target = target.restart();
    let before = u64::from(target.height());
    let done = import(&mut target.ledger, &file[..], &mut |_, _| {}).unwrap();
    assert_eq!((done.skipped, done.imported), (before, 25 - before));
    assert_eq!(read(&mut target, &file).unwrap(), 25, "once more changes nothing");
}

#[test]
fn export_of_a_range_goes_on_to_a_finalization() {
    let mut source = Node::new();
    chain(&mut source, 12);
    let mut batch = WriteBatch::new();
    for height in [4_u32, 5, 6, 7] {
        batch.delete(Table::Finalizations, height.to_be_bytes());
    }
    source.database.write(batch, Durability::Synced).unwrap();
    let (file, done) = write(&source, None, Some(5)).unwrap();
    assert_eq!((done.first, done.last), (Height(1), Height(8)));
    let mut target = Node::new();
    assert_eq!(read(&mut target, &file).unwrap(), 8);
    let (rest, _) = write(&source, Some(7), None).unwrap();
    assert_eq!(read(&mut target, &rest).unwrap(), 12);
    let (late, _) = write(&source, Some(5), Some(6)).unwrap();
    let error = read(&mut Node::new(), &late).unwrap_err();
    assert!(matches!(error, BlockFileError::Gap { first: Height(5), next: Height(1) }), "{error}");
    for (from, to) in [(Some(5), Some(4)), (None, Some(13)), (Some(13), None)] {
        assert!(matches!(write(&source, from, to), Err(BlockFileError::NoSuchRange { .. })));
    }
}

#[test]
fn import_of_a_file_with_any_byte_flipped_is_refused_or_harmless() {
    let mut source = Node::new();
    chain(&mut source, 3);
    let (file, _) = write(&source, None, None).unwrap();
    let target = Node::new();
    for position in 0..file.len() {
        let mut flipped = file.clone();
        flipped[position] ^= 4;
        let mut node = Node::on(target.database.fork(), cairn_storage::HistoryMode::Archive, EpochSchedule::new(0));
        let error = read(&mut node, &flipped).unwrap_err();
        assert!(!matches!(error, BlockFileError::Io(_)), "{position}: {error}");
        // Whatever was taken is the chain.
        let hash = cairn_storage::blocks::hash_of(&source.database, Height(node.height())).unwrap();
        assert_eq!(Some(node.head()), hash, "{position}");
    }
}

#[test]
fn import_of_another_chain_is_refused() {
    let mut source = Node::new();
    chain(&mut source, 3);
    let (file, _) = write(&source, None, None).unwrap();
    let state = cairn_runtime::genesis_state(&super::fixture::genesis_config()).unwrap();
    let spec = super::fixture::SPEC;
    let other = crate::Genesis::new(state, super::fixture::validators(), TimestampMs(1), spec).unwrap();
    let mut out = Vec::new();
    let error = export(&source.database, &other, None, None, &mut out, &mut |_, _| {}).unwrap_err();
    assert!(matches!(error, BlockFileError::Ledger(LedgerError::OtherChain { .. })), "{error}");
    let mut renamed = file;
    renamed[20] ^= 1;
    assert!(matches!(read(&mut Node::new(), &renamed).unwrap_err(), BlockFileError::Damaged { .. }));
    assert!(matches!(read(&mut Node::new(), b"something else entirely").unwrap_err(), BlockFileError::Foreign));
}

#[test]
fn import_of_blocks_that_nothing_finalizes_is_refused() {
    let mut source = Node::new();
    chain(&mut source, 6);
    let mut batch = WriteBatch::new();
    for height in 3..=6_u32 {
        batch.delete(Table::Finalizations, height.to_be_bytes());
    }
    source.database.write(batch, Durability::Synced).unwrap();
    let error = write(&source, None, None).unwrap_err();
    assert!(matches!(error, BlockFileError::Ledger(LedgerError::Database(_))), "{error}");
}
