//! A crash at every write, losing any part of what was not synced.

use super::fixture::{Node, account, covered, finalization, finalized, genesis, open, transfer};
use crate::Ledger;
use cairn_primitives::{Block, FinalizedBlock, Hash, Height};
use cairn_runtime::AccountInfo;
use cairn_storage::{
    Database, DatabaseError, DatabaseView, Direction, Durability, HistoryMode, KeyRange, MemoryDatabase, Record, Table,
    WriteBatch, blocks,
};
use std::sync::{Arc, Mutex};

/// A disk of which every state after a write is kept, with the head that a crash must not lose.
#[derive(Clone, Default)]
pub(super) struct Recorder {
    disk: MemoryDatabase,
    pub(super) states: Arc<Mutex<Vec<(MemoryDatabase, Height)>>>,
}

impl Recorder {
    /// A disk with contents.
    pub(super) fn on(disk: MemoryDatabase) -> Self {
        Self { disk, ..Self::default() }
    }
}

impl DatabaseView for Recorder {
    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, DatabaseError> {
        self.disk.get(table, key)
    }

    fn multi_get(&self, table: Table, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, DatabaseError> {
        self.disk.multi_get(table, keys)
    }

    fn scan(
        &self,
        table: Table,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Record>, DatabaseError> {
        self.disk.scan(table, range, direction, limit)
    }
}

impl Database for Recorder {
    fn write(&self, batch: WriteBatch, durability: Durability) -> Result<(), DatabaseError> {
        self.disk.write(batch, durability)?;
        let mut states = self.states.lock().unwrap();
        let durable = match durability {
            Durability::Synced => blocks::head(&self.disk)?.map(|head| head.height).unwrap_or_default(),
            Durability::Unsynced | Durability::Derived => {
                states.last().map(|(_, durable)| *durable).unwrap_or_default()
            }
        };
        states.push((self.disk.fork(), durable));
        Ok(())
    }

    fn flush(&self) -> Result<(), DatabaseError> {
        self.disk.flush()
    }

    fn snapshot(&self) -> Box<dyn DatabaseView + '_> {
        self.disk.snapshot()
    }
}

/// All that a crash can leave of a disk.
pub(super) fn crashes(disk: &MemoryDatabase) -> Vec<MemoryDatabase> {
    let losses = [(0..=disk.unsynced_count()).map(|kept| (kept, usize::MAX)).collect::<Vec<_>>(), {
        (0..disk.unflushed_count()).map(|kept| (usize::MAX, kept)).collect()
    }];
    let crash = |(unsynced, unflushed)| {
        let crashed = disk.fork();
        crashed.lose_unsynced(unsynced);
        crashed.lose_unflushed(unflushed);
        crashed
    };
    losses.concat().into_iter().map(crash).collect()
}

/// The chain that all ledgers follow: blocks from height 1 on, with the accounts after each from height 0 on.
struct Story {
    blocks: Vec<Arc<Block>>,
    accounts: Vec<[AccountInfo; 2]>,
    /// Certified, never final.
    rival: Arc<Block>,
}

fn story() -> Story {
    let mut leader = Node::new();
    let rival = leader.propose(leader.head(), 100, &[transfer(1, 0, 0, 1_000_000_000)]);
    let (mut blocks, mut accounts) = (Vec::new(), vec![[leader.account(0), leader.account(1)]]);
    for nonce in 0..8 {
        blocks.push(leader.grow(&[transfer(0, nonce, 1, 1_000_000_000)]));
        accounts.push([leader.account(0), leader.account(1)]);
    }
    Story { blocks, accounts, rival }
}

/// Certifications, a commit of one block, of three at once, an import of three, and one more.
fn live(ledger: &mut Ledger, story: &Story) {
    let hash = |block: &Arc<Block>| block.header.hash();
    let chain = &story.blocks;
    assert!(ledger.certify(&story.rival).unwrap());
    for block in &chain[..4] {
        assert!(ledger.certify(block).unwrap());
    }
    ledger.commit(&[hash(&chain[0])], &finalization(&chain[0])).unwrap();
    let hashes: Vec<_> = chain[1..4].iter().map(hash).collect();
    ledger.commit(&hashes, &finalization(&chain[3])).unwrap();
    ledger.import(&[covered(&chain[4]), covered(&chain[5]), finalized(&chain[6])]).unwrap();
    assert!(ledger.certify(&chain[7]).unwrap());
    ledger.commit(&[hash(&chain[7])], &finalization(&chain[7])).unwrap();
}

/// Opens what a crash left and compares it with the story; the height it opened at.
fn check(disk: MemoryDatabase, durable: Height, story: &Story) -> Height {
    let mut ledger = open(Arc::new(disk), HistoryMode::Archive);
    let reader = ledger.reader();
    let head = reader.head();
    assert!(head.height >= durable, "block {durable} was synced, the head is {}", head.height);
    let position = usize::try_from(head.height.0).unwrap();
    let headers: Vec<_> = story.blocks[..position].iter().map(|block| block.header.clone()).collect();
    let expected = headers.last().map_or_else(|| genesis().block().header.clone(), Clone::clone);
    assert_eq!((head.hash, head.state_root), (expected.hash(), expected.state_root));
    let state = reader.state_at_head();
    assert_eq!([account(&state, 0), account(&state, 1)], story.accounts[position]);
    for header in &headers {
        assert_eq!(reader.header(&header.hash()).unwrap().as_ref(), Some(header));
        assert!(reader.events(&header.hash()).unwrap().is_some());
    }
    for height in [1, 4, 7, 8].into_iter().filter(|height| *height <= head.height.0) {
        assert!(reader.finalization(Height(height)).unwrap().is_some());
    }
    assert!(ledger.restored().unwrap().iter().all(|block| block.header.height() > head.height));
    let rest: Vec<FinalizedBlock> = story.blocks.iter().map(finalized).collect();
    assert_eq!(ledger.import(&rest).unwrap().len(), story.blocks.len() - position);
    assert_eq!(ledger.reader().head().hash, story.blocks.last().map_or(Hash::ZERO, |block| block.header.hash()));
    head.height
}

#[test]
fn crash_at_any_write_opens_to_a_committed_block_at_or_above_the_synced_one() {
    let story = story();
    let recorder = Recorder::default();
    let states = recorder.states.clone();
    live(&mut open(Arc::new(recorder), HistoryMode::Archive), &story);
    let states = std::mem::take(&mut *states.lock().unwrap());
    // Genesis, six certifications, eight commits; the rest are checkpoints.
    assert!(states.len() > 15, "{}", states.len());
    let mut opened = std::collections::BTreeSet::new();
    for (disk, durable) in &states {
        for crashed in crashes(disk) {
            opened.insert(check(crashed, *durable, &story).0);
        }
    }
    assert_eq!(opened.into_iter().collect::<Vec<_>>(), (0..=8).collect::<Vec<_>>(), "every height was a crash site");
}
