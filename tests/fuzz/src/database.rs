//! A damaged database gives errors, never panics, and never another state than the one that was committed.

use crate::draw::Draw;
use crate::fixture::chain;
use cairn_consensus::JournalRecord;
use cairn_primitives::{Epoch, Hash, Height, View};
use cairn_storage::blocks::journal::JournalKey;
use cairn_storage::{
    Database, DatabaseView, Direction, Durability, KeyRange, MemoryDatabase, StateConfig, StateStore, Table,
    WriteBatch, blocks,
};
use parity_scale_codec::{DecodeAll as _, Encode as _};
use std::sync::Arc;

/// Blocks in the database.
const BLOCKS: u32 = 4;

/// Keys of the state; the pages split.
const KEYS: u8 = 24;

fn key(number: u8) -> Vec<u8> {
    vec![b'k', 0, number]
}

/// A long value every seventh key: it does not lie in a page.
fn value(number: u8, height: u32) -> Vec<u8> {
    let fill = u8::try_from(height).unwrap_or(0) | 0x80;
    vec![fill; if number.is_multiple_of(7) { 200 } else { 20 }]
}

/// What the state holds under a key at the head.
fn truth(number: u8) -> Option<Vec<u8>> {
    (!number.is_multiple_of(5)).then(|| value(number, BLOCKS - 1))
}

fn build() -> (MemoryDatabase, Hash) {
    let database = Arc::new(MemoryDatabase::new());
    let mut store = StateStore::open(Arc::<MemoryDatabase>::clone(&database), StateConfig::default()).unwrap();
    let mut root = Hash::ZERO;
    for (finalized, height) in chain(BLOCKS).iter().zip(0u32..) {
        let mut batch = WriteBatch::new();
        let hash = finalized.block.header.hash();
        // Blocks lie from height 1 on, the state from height 0.
        blocks::put_block(&mut batch, &hash, &finalized.block);
        blocks::put_events(&mut batch, Height(height + 1), vec![0; 9]);
        blocks::put_transactions(
            &mut batch,
            Height(height + 1),
            finalized.block.extrinsics.iter().map(|one| one.hash()),
        );
        if let Some(certificate) = &finalized.finalization {
            blocks::put_finalization(&mut batch, Height(height + 1), certificate);
            let record = JournalRecord::Certificate(certificate.clone()).encode();
            let key = JournalKey { epoch: Epoch(0), sequence: u64::from(height) };
            blocks::journal::append(&mut batch, key, record);
        }
        blocks::pending::put(&mut batch, &hash, &finalized.block);
        let is_last = height == BLOCKS - 1;
        let changes = (0..KEYS).map(|number| {
            let is_deleted = is_last && number.is_multiple_of(5);
            (key(number), (!is_deleted).then(|| value(number, height)))
        });
        let overlay = store.overlay(None, changes.collect()).unwrap();
        let staged = store.stage(&overlay, Height(height), &mut batch).unwrap();
        database.write(batch, Durability::Synced).unwrap();
        store.apply(staged);
        root = overlay.root();
    }
    (database.fork(), root)
}

/// Damages records as the bytes say.
fn damage(database: &MemoryDatabase, draw: &mut Draw<'_>) {
    let mut batch = WriteBatch::new();
    for _ in 0..=draw.below(3) {
        let Some(table) = draw.pick(&Table::ALL).copied() else { return };
        let records = database.scan(table, &KeyRange::all(), Direction::Forward, 64).unwrap();
        let Some((key, value)) = draw.pick(&records).cloned() else { continue };
        match draw.below(6) {
            0 => batch.delete(table, key),
            1 => batch.put(table, key, value.get(..draw.below(256).min(value.len())).unwrap_or_default().to_vec()),
            2 => {
                let mut value = value;
                value.extend_from_slice(draw.take(8));
                batch.put(table, key, value);
            }
            3 => {
                let mut value = value;
                let place = usize::from(draw.u16()).checked_rem(value.len()).unwrap_or(0);
                if let Some(byte) = value.get_mut(place) {
                    *byte ^= draw.byte().max(1);
                }
                batch.put(table, key, value);
            }
            4 => {
                let mut key = key;
                let place = draw.below(key.len());
                if let Some(byte) = key.get_mut(place) {
                    *byte ^= draw.byte().max(1);
                }
                batch.put(table, key, value);
            }
            _ => {
                let length = draw.below(64);
                batch.put(table, key, draw.take(length).to_vec());
            }
        }
    }
    database.write(batch, Durability::Synced).unwrap();
}

pub(crate) fn run(bytes: &[u8]) {
    thread_local! {
        static WHOLE: (MemoryDatabase, Hash) = build();
    }
    let mut draw = Draw::new(bytes);
    WHOLE.with(|(whole, root)| {
        let database = whole.fork();
        damage(&database, &mut draw);
        read_blocks(&database);
        read_state(Arc::new(database), root);
    });
}

/// Everything that a node reads of blocks; each either answers or reports the damage.
fn read_blocks(database: &MemoryDatabase) {
    drop((blocks::head(database), blocks::chain_identity(database), blocks::pending::all(database)));
    drop(blocks::finalization_from(database, Height(1)));
    let start = JournalKey { epoch: Epoch(0), sequence: 0 };
    if let Ok(records) = blocks::journal::read(database, start, 64) {
        for (_, record) in records {
            let record = JournalRecord::decode_all(&mut record.as_slice());
            drop(record.map(|record| assert!(record.view() >= View(0))));
        }
    }
    for height in (0..BLOCKS + 2).map(Height) {
        drop((blocks::finalized_block(database, height), blocks::events(database, height)));
        if let Ok(Some(hash)) = blocks::hash_of(database, height) {
            drop((blocks::height_of(database, &hash), blocks::header_by_hash(database, &hash)));
            drop(blocks::pending::get(database, &hash));
        }
        if let Ok(Some(body)) = blocks::body(database, height) {
            for extrinsic in body {
                drop(blocks::transaction_location(database, &extrinsic.hash()));
            }
        }
    }
}

/// Opens the state. If that works, its root is one that was committed, and values that are in pages are the true ones.
fn read_state(database: Arc<MemoryDatabase>, root: &Hash) {
    let Ok(mut store) = StateStore::open(Arc::<MemoryDatabase>::clone(&database), StateConfig::default()) else {
        return;
    };
    let model = store.read_model();
    let is_head = store.head().is_some_and(|head| head.root == *root);
    let view = store.view();
    for number in 0..KEYS {
        let found = view.get(&key(number));
        if let (true, Ok(found)) = (is_head, found) {
            // A long value lies in the history, which is read without a tree.
            if !number.is_multiple_of(7) {
                assert_eq!(found, truth(number), "another value under the same root");
            }
        }
        if let (true, Ok(proof)) = (is_head, view.prove(&key(number))) {
            let claimed = proof.value().map(<[u8]>::to_vec);
            if proof.verify(root, &key(number), claimed.as_deref()).is_ok() {
                assert_eq!(claimed, truth(number), "a proof of another value under the same root");
            }
        }
        for height in (0..BLOCKS + 1).map(Height) {
            drop(model.get_at(height, &key(number)));
        }
    }
    drop((model.keys_at(Height(BLOCKS - 1), b"k", None, 100), model.keys_at(Height(1), b"", Some(&key(3)), 5)));
    // The next block: reads what it replaces, prunes what is old.
    let changes = [(key(1), Some(vec![1])), (key(200), Some(vec![2; 300])), (key(3), None)].into_iter().collect();
    let Ok(overlay) = store.overlay(None, changes) else { return };
    let mut batch = WriteBatch::new();
    let Some(next) = store.head().map(|head| head.height.next()) else { return };
    if let Ok(staged) = store.stage(&overlay, next, &mut batch) {
        database.write(batch, Durability::Synced).unwrap();
        store.apply(staged);
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let tables = 0..u8::try_from(Table::ALL.len()).unwrap_or(0);
    tables.flat_map(|table| (0..6).map(move |kind| vec![0, table, 1, kind, 3, 0, 0x41, 7])).collect()
}
