//! What is put is read back, by every index.
#![allow(clippy::indexing_slicing)]

use super::{pending, *};
use crate::database::{Database, Durability};
use crate::memory::MemoryDatabase;
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{Epoch, Power, Proposal, PublicKey, Subject, Validator, View};
use journal::Journal;

fn sample(height: u32) -> Block {
    let root = blake2_256(&height.to_be_bytes());
    let header =
        Header { parent_hash: root, number: height, state_root: root, extrinsics_root: root, digest: Vec::new() };
    Block {
        header,
        extrinsics: vec![OpaqueExtrinsic::new(vec![1, 2, 3, 4]), OpaqueExtrinsic::new(height.to_be_bytes())].into(),
    }
}

fn certificate(view: u64, block: Hash) -> Certificate {
    let proposal = Proposal { epoch: Epoch(0), view: View(view), parent_view: View(0), block };
    // Subject, then no signers and no signatures: storage does not verify.
    let bytes = (Subject::Finalize(proposal), Vec::<u8>::new(), Vec::<[u8; 64]>::new()).encode();
    Certificate::decode(&mut bytes.as_slice()).unwrap()
}

fn write(database: &MemoryDatabase, fill: impl FnOnce(&mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    fill(&mut batch);
    database.write(batch, Durability::Synced).unwrap();
}

#[test]
fn blocks_are_found_by_height_and_hash() {
    let database = MemoryDatabase::new();
    let blocks: Vec<_> = (0..3).map(sample).collect();
    write(&database, |batch| {
        for block in &blocks {
            let height = block.header.height();
            put_block(batch, &block.header.hash(), block);
            put_events(batch, height, vec![7]);
            put_transactions(batch, height, block.extrinsics.iter().map(OpaqueExtrinsic::hash));
        }
    });
    for block in &blocks {
        let (height, hash) = (block.header.height(), block.header.hash());
        assert_eq!(super::block(&database, height).unwrap().as_ref(), Some(block));
        assert_eq!(header(&database, height).unwrap().as_ref(), Some(&block.header));
        assert_eq!(header_by_hash(&database, &hash).unwrap().as_ref(), Some(&block.header));
        assert_eq!(body(&database, height).unwrap().as_ref(), Some(&*block.extrinsics));
        assert_eq!(
            (hash_of(&database, height).unwrap(), height_of(&database, &hash).unwrap()),
            (Some(hash), Some(height))
        );
        assert_eq!(events(&database, height).unwrap(), Some(vec![7]));
        assert_eq!(transaction_location(&database, &block.extrinsics[1].hash()).unwrap(), Some((height, 1)));
    }
    // The same extrinsic in several blocks: the last one counts.
    assert_eq!(transaction_location(&database, &blocks[0].extrinsics[0].hash()).unwrap(), Some((Height(2), 0)));
    assert_eq!(super::block(&database, Height(3)).unwrap(), None);
    assert_eq!(height_of(&database, &Hash::ZERO).unwrap(), None);
}

#[test]
fn header_without_body_is_reported() {
    let database = MemoryDatabase::new();
    let block = sample(1);
    write(&database, |batch| put_block(batch, &block.header.hash(), &block));
    write(&database, |batch| batch.delete(Table::Bodies, 1_u32.to_be_bytes()));
    assert!(matches!(super::block(&database, Height(1)), Err(DatabaseError::Missing { table: Table::Bodies, .. })));
    write(&database, |batch| batch.put(Table::Bodies, 1_u32.to_be_bytes(), [0xff]));
    assert!(matches!(super::block(&database, Height(1)), Err(DatabaseError::Damaged { table: Table::Bodies, .. })));
}

#[test]
fn finalization_from_gives_first_at_or_above() {
    let database = MemoryDatabase::new();
    let at = |view: u32| certificate(u64::from(view), sample(view).header.hash());
    write(&database, |batch| [2, 5].into_iter().for_each(|view| put_finalization(batch, Height(view), &at(view))));
    assert_eq!(finalization(&database, Height(1)).unwrap(), None);
    assert_eq!(finalization(&database, Height(2)).unwrap(), Some(at(2)));
    assert_eq!(finalization_from(&database, Height(1)).unwrap(), Some((Height(2), at(2))));
    assert_eq!(finalization_from(&database, Height(3)).unwrap(), Some((Height(5), at(5))));
    assert_eq!(finalization_from(&database, Height(6)).unwrap(), None);
}

#[test]
fn validator_sets_are_found_by_epoch() {
    let database = MemoryDatabase::new();
    let set = |key| ValidatorSet::new(vec![Validator { key: PublicKey([key; 32]), power: Power(3) }]).unwrap();
    write(&database, |batch| {
        [(0, 1), (256, 2)].into_iter().for_each(|(epoch, key)| put_validator_set(batch, Epoch(epoch), &set(key)));
    });
    for (epoch, expected) in [(0, Some(set(1))), (1, None), (256, Some(set(2)))] {
        assert_eq!(validator_set(&database, Epoch(epoch)).unwrap(), expected);
    }
    write(&database, |batch| batch.put(Table::ValidatorSets, 1u64.to_be_bytes(), [0]));
    assert!(matches!(
        validator_set(&database, Epoch(1)),
        Err(DatabaseError::Damaged { table: Table::ValidatorSets, .. })
    ));
}

#[test]
fn head_and_identity_are_read_back() {
    let database = MemoryDatabase::new();
    assert_eq!((head(&database).unwrap(), chain_identity(&database).unwrap()), (None, None));
    let mut history = ListAccumulator::default();
    history.push(b"header");
    let expected = Head { height: Height(3), hash: Hash([1; 32]), state_root: Hash([2; 32]), history };
    let identity = ChainIdentity { genesis_hash: Hash([3; 32]), spec_hash: Hash([4; 32]) };
    write(&database, |batch| {
        put_head(batch, &expected);
        put_chain_identity(batch, &identity);
    });
    assert_eq!((head(&database).unwrap(), chain_identity(&database).unwrap()), (Some(expected), Some(identity)));
}

/// The views of a journal's records, in order.
fn replayed(database: &MemoryDatabase, epoch: u64) -> (Journal, Vec<u8>) {
    let mut views = Vec::new();
    let journal = Journal::open(database, Epoch(epoch), |_, record| {
        views.push(record[0]);
        Ok::<_, DatabaseError>(View(record[0].into()))
    });
    (journal.unwrap(), views)
}

#[test]
fn journal_opened_again_goes_on_where_it_ended_and_forgets_what_is_committed() {
    let database = MemoryDatabase::new();
    let append = |journal: &mut Journal, views: &[u8]| {
        journal.append(&database, views.iter().map(|view| (View((*view).into()), vec![*view]))).unwrap();
    };
    let (mut journal, none) = replayed(&database, 0);
    assert!(none.is_empty() && journal.is_empty());
    append(&mut journal, &[1, 2, 3]);
    journal.commit(Epoch(1), View(9));
    append(&mut journal, &[4]);
    let (mut journal, views) = replayed(&database, 0);
    assert_eq!((views, journal.len()), (vec![1, 2, 3, 4], 4), "of another epoch nothing is committed here");
    journal.commit(Epoch(0), View(2));
    append(&mut journal, &[5]);
    assert_eq!(replayed(&database, 0).1, [3, 4, 5]);
    journal.turn_to(Epoch(1));
    append(&mut journal, &[1]);
    assert_eq!((replayed(&database, 0).1, replayed(&database, 1).1), (vec![1], vec![1]), "the last epoch is deleted");
    assert_eq!(database.unsynced_count(), 0);
}

#[test]
fn pending_blocks_are_kept_until_deleted() {
    let database = MemoryDatabase::new();
    let (a, b) = (sample(1), sample(2));
    write(&database, |batch| [&a, &b].into_iter().for_each(|block| pending::put(batch, &block.header.hash(), block)));
    assert_eq!(pending::get(&database, &a.header.hash()).unwrap(), Some(a.clone()));
    assert_eq!(pending::all(&database).unwrap().len(), 2);
    write(&database, |batch| pending::delete(batch, &a.header.hash()));
    assert_eq!(pending::all(&database).unwrap(), [(b.header.hash(), b)]);
}
