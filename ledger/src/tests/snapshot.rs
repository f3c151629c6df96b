//! A ledger that begins with a snapshot goes on as the one it was taken from.

use super::epochs::{grow, turning_chain};
use super::fixture::{Node, SPEC, chain, finalized, genesis, transfer, tx_in_era};
use crate::{LedgerError, LowestBlock, ReadError, Restore, RestoreError, events_root, verify_snapshot};
use cairn_primitives::light::LightError;
use cairn_primitives::snapshot::{SnapshotError, SnapshotManifest};
use cairn_primitives::{ArchivedBlock, EpochSchedule, FinalizedBlock, Hash, Height};
use cairn_runtime::{Era, client};
use cairn_storage::{HistoryMode, MemoryDatabase, StateError};
use parity_scale_codec::Encode;
use std::sync::Arc;

pub(super) type Snapshot = (SnapshotManifest, Vec<Vec<u8>>);

pub(super) fn take(node: &Node, bytes: usize) -> Snapshot {
    let mut source = node.ledger.reader().snapshot().unwrap();
    let mut chunks = Vec::new();
    let mut permille = 0;
    while let Some(chunk) = source.next_chunk(bytes).unwrap() {
        chunks.push(chunk);
        assert!(source.permille() >= permille);
        permille = source.permille();
    }
    assert_eq!(permille, 1_000);
    (source.finish(), chunks)
}

pub(super) fn restore((manifest, chunks): &Snapshot, schedule: EpochSchedule) -> MemoryDatabase {
    let database = MemoryDatabase::new();
    let manifest = SnapshotManifest::from_bytes(&manifest.encode()).unwrap();
    let verified = verify_snapshot(manifest, genesis(), schedule).unwrap();
    let mut restore = Restore::open(Arc::new(database.clone()), genesis().clone(), SPEC, verified).unwrap();
    for chunk in chunks {
        restore.add(chunk).unwrap();
    }
    restore.finish().unwrap();
    database
}

#[test]
fn restored_ledger_builds_and_accepts_the_same_next_blocks() {
    for history in [HistoryMode::Archive, HistoryMode::Window(2)] {
        let mut node = Node::new();
        let blocks = chain(&mut node, 9);
        let database = restore(&take(&node, 300), EpochSchedule::new(0));
        let mut restored = Node::on(database, history, EpochSchedule::new(0));
        let (reader, original) = (restored.ledger.reader(), node.ledger.reader());
        assert_eq!(reader.head(), original.head());
        for account in 0..5 {
            assert_eq!(restored.account(account), node.account(account));
        }
        // Blocks built here are those of the original and the other way round: history root, state root, mortal eras.
        for round in 0..10_u32 {
            let nonce = node.account(0).nonce;
            let birth = &blocks[4];
            let era = Era::mortal(64, u64::from(birth.header.number));
            let call = client::transfer_keep_alive(super::fixture::id(2), 1_000_000_000);
            let transaction = tx_in_era(0, nonce, &call, era, birth.header.hash());
            let (builder, follower) =
                if round % 2 == 0 { (&mut node, &mut restored) } else { (&mut restored, &mut node) };
            let block = builder.grow(&[transaction]);
            follower.ledger.import(&[finalized(&block)]).unwrap();
            assert_eq!(builder.ledger.reader().head(), follower.ledger.reader().head());
        }
        let mut restored = restored.restart();
        let block = node.grow(&[transfer(1, 0, 2, 1_000_000_000)]);
        restored.ledger.import(&[finalized(&block)]).unwrap();
        assert_eq!(restored.ledger.reader().head().state_root, block.header.state_root);
    }
}

#[test]
fn restored_ledger_has_headers_below_and_blocks_from_the_snapshot_on() {
    let mut node = Node::new();
    let blocks = chain(&mut node, 9);
    let restored =
        Node::on(restore(&take(&node, 300), EpochSchedule::new(0)), HistoryMode::Archive, EpochSchedule::new(0));
    let (reader, original) = (restored.ledger.reader(), node.ledger.reader());
    assert_eq!((reader.lowest_block().unwrap(), original.lowest_block().unwrap()), (Height(9), Height(0)));
    for block in &blocks {
        let (height, hash) = (block.header.height(), block.header.hash());
        assert_eq!(reader.header(&hash).unwrap().as_ref(), Some(&block.header));
        assert_eq!(reader.block_hash(height).unwrap(), Some(hash));
        let found = reader.block_at(height).unwrap();
        assert_eq!(found, if height == Height(9) { original.block_at(height).unwrap() } else { None });
    }
    let head = reader.head().hash;
    assert_eq!(reader.events(&head).unwrap(), original.events(&head).unwrap());
    let last = blocks.last().unwrap().extrinsics.first().map(cairn_primitives::OpaqueExtrinsic::hash);
    assert_eq!(last.map(|hash| reader.transaction(&hash).unwrap()), last.map(|_| Some((Height(9), 0))));
    assert_eq!(reader.block_at(Height(0)).unwrap(), original.block_at(Height(0)).unwrap());
    assert!(reader.state_at(&blocks[3].header.hash()).is_err());
    // It is as good a source as the original.
    assert_eq!(take(&restored, 300), take(&node, 300));
}

#[test]
fn snapshot_at_any_place_of_an_epoch_shows_all_validators_since_genesis() {
    let schedule = EpochSchedule::new(3);
    let (mut whole, blocks) = turning_chain(3, 3);
    grow(&mut whole, &[]);
    for height in 1..=blocks.len() {
        let mut node = Node::with_epochs(3);
        for block in &blocks[..height] {
            node.ledger.import(&[super::epochs::finalized(block)]).unwrap();
        }
        let snapshot = take(&node, 500);
        assert_eq!(snapshot.0.handovers.len(), height / 3);
        let mut restored = Node::on(restore(&snapshot, schedule), HistoryMode::Archive, schedule);
        assert_eq!(restored.ledger.reader().current_epoch(), node.ledger.reader().current_epoch());
        for block in &blocks[height..] {
            restored.ledger.import(&[super::epochs::finalized(block)]).unwrap();
            node.ledger.import(&[super::epochs::finalized(block)]).unwrap();
        }
        let (reader, original) = (restored.ledger.reader(), node.ledger.reader());
        assert_eq!(reader.head(), original.head());
        for epoch in 0..3 {
            let epoch = cairn_primitives::Epoch(epoch);
            assert_eq!(reader.handover(epoch).unwrap(), original.handover(epoch).unwrap());
        }
    }
}

#[test]
fn manifest_with_any_part_changed_is_refused() {
    let schedule = EpochSchedule::new(3);
    let (mut node, _) = turning_chain(3, 2);
    grow(&mut node, &[]);
    let (manifest, _) = take(&node, 300);
    verify_snapshot(manifest.clone(), genesis(), schedule).unwrap();
    type Change = fn(&mut SnapshotManifest);
    let changes: [(&str, Change); 16] = [
        ("genesis", |m| m.genesis = Hash([1; 32])),
        ("state root", |m| m.block.header.state_root = Hash([1; 32])),
        ("body", |m| m.block.extrinsics.clear()),
        ("finalization", |m| m.finalization = m.handovers[1].finalization.clone()),
        ("events", |m| m.events[5] ^= 1),
        ("no events", |m| m.events = vec![0]),
        ("history", |m| m.history.push(&[1; 32])),
        ("other history", |m| m.history = cairn_primitives::list_tree::ListAccumulator::default()),
        ("parent", |m| m.ancestors[0].state_root = Hash([1; 32])),
        ("a header less", |m| drop(m.ancestors.pop())),
        ("headers in another order", |m| m.ancestors.swap(1, 2)),
        ("an epoch less", |m| drop(m.handovers.pop())),
        ("an epoch twice", |m| m.handovers[1] = m.handovers[0].clone()),
        ("validators", |m| m.handovers[1].validators = m.handovers[0].validators.clone()),
        ("chunks in another order", |m| m.chunks.swap(0, 1)),
        ("a chunk less", |m| m.chunks.truncate(1)),
    ];
    for (what, change) in changes {
        let mut changed = manifest.clone();
        change(&mut changed);
        assert!(changed != manifest, "{what}");
        assert!(verify_snapshot(changed, genesis(), schedule).is_err(), "{what}");
    }
    let other = verify_snapshot(manifest, genesis(), EpochSchedule::new(2)).unwrap_err();
    assert!(
        matches!(other, SnapshotError::Count { .. } | SnapshotError::NotFinal(LightError::NotClosing { .. })),
        "{other}"
    );
}

#[test]
fn restore_goes_on_where_it_stopped_and_refuses_what_does_not_belong() {
    let mut node = Node::new();
    chain(&mut node, 6);
    let (manifest, chunks) = take(&node, 100);
    let verified = verify_snapshot(manifest, genesis(), EpochSchedule::new(0)).unwrap();
    let database = MemoryDatabase::new();
    let open = || Restore::open(Arc::new(database.clone()), genesis().clone(), SPEC, verified.clone());
    assert!(chunks.len() > 3, "{} chunks", chunks.len());
    for (number, chunk) in chunks.iter().enumerate() {
        let mut restore = open().unwrap();
        assert_eq!(restore.next_chunk(), number);
        let mut damaged = chunk.clone();
        damaged[chunk.len() / 2] ^= 4;
        let refused = restore.add(&damaged).unwrap_err();
        assert!(matches!(refused, RestoreError::Snapshot(SnapshotError::Damaged { index }) if index == number));
        assert!(restore.add(&chunks[(number + 1) % chunks.len()]).is_err());
        restore.add(chunk).unwrap();
        if number + 1 < chunks.len() {
            let early = restore.finish().unwrap_err();
            assert!(matches!(early, RestoreError::Snapshot(SnapshotError::Count { what: "chunks", .. })), "{early}");
        }
    }
    open().unwrap().finish().unwrap();
    assert!(matches!(open(), Err(LedgerError::State(StateError::NotEmpty))));
    let restored = Node::on(database, HistoryMode::Archive, EpochSchedule::new(0));
    assert_eq!(restored.ledger.reader().head(), node.ledger.reader().head());
}

#[test]
fn genesis_is_no_snapshot() {
    let node = Node::new();
    assert!(node.ledger.reader().snapshot().is_err());
}

#[test]
fn snapshot_taken_while_blocks_go_on_is_that_of_its_height() {
    let mut node = Node::with_history(HistoryMode::Window(8));
    chain(&mut node, 5);
    let quiet = take(&node, 100);
    let mut source = node.ledger.reader().snapshot().unwrap();
    let mut chunks = Vec::new();
    while let Some(chunk) = source.next_chunk(100).unwrap() {
        chunks.push(chunk);
        chain(&mut node, 3);
    }
    assert!(node.height() > 15);
    assert_eq!((source.finish(), chunks), quiet);
}

/// The blocks of a node from a height down, as an archive has them.
pub(super) fn archived(node: &Node, from: u32, to: u32) -> Vec<ArchivedBlock> {
    let reader = node.ledger.reader();
    let one = |height| {
        let FinalizedBlock { block, finalization } = reader.block_at(Height(height)).unwrap().unwrap();
        ArchivedBlock { block, finalization, events: reader.events_at(Height(height)).unwrap().unwrap() }
    };
    (to..=from).rev().map(one).collect()
}

#[test]
fn restored_ledger_that_is_filled_downwards_has_what_the_original_has() {
    let schedule = EpochSchedule::new(3);
    let (mut node, mut blocks) = turning_chain(3, 3);
    blocks.extend((0..2).map(|_| grow(&mut node, &[]).block));
    let snapshot = take(&node, 500);
    let mut restored = Node::on(restore(&snapshot, schedule), HistoryMode::Archive, schedule);
    let below = LowestBlock { height: Height(11), parent: blocks[9].header.hash(), finalized: Height(11) };
    assert_eq!(restored.ledger.reader().wanted_below().unwrap(), Some(below));
    let hidden = blocks[4].header.hash();
    for error in
        [restored.ledger.reader().block(&hidden).unwrap_err(), restored.ledger.reader().events(&hidden).unwrap_err()]
    {
        assert!(matches!(error, ReadError::BlockNotKept { lowest: Height(11) }), "{error}");
    }
    // Blocks from another place, in the wrong order or of another chain change nothing.
    let mut other = Node::with_epochs(3);
    (0..10).for_each(|_| drop(grow(&mut other, &[])));
    let mut turned = archived(&node, 10, 7);
    turned.reverse();
    for wrong in [archived(&node, 9, 5), turned, archived(&other, 10, 7), archived(&node, 11, 8)] {
        assert!(matches!(restored.ledger.fill(&wrong), Err(LedgerError::NotBelow { .. })));
    }
    assert_eq!(restored.ledger.reader().lowest_block().unwrap(), Height(11));

    assert_eq!(restored.ledger.fill(&archived(&node, 10, 7)).unwrap(), Height(7));
    // Blocks go on meanwhile, and a restart finds what is there.
    let next = grow(&mut node, &[]);
    restored.ledger.import(&[super::epochs::finalized(&next.block)]).unwrap();
    blocks.push(next.block);
    let mut restored = restored.restart();
    let below = LowestBlock { height: Height(7), parent: blocks[5].header.hash(), finalized: Height(7) };
    assert_eq!(restored.ledger.reader().wanted_below().unwrap(), Some(below));
    assert_eq!(restored.ledger.fill(&archived(&node, 6, 1)).unwrap(), Height::ZERO);
    assert_eq!(restored.ledger.fill(&[]).unwrap(), Height::ZERO);

    let (reader, original) = (restored.ledger.reader(), node.ledger.reader());
    assert_eq!(reader.wanted_below().unwrap(), None);
    for block in &blocks {
        let (height, hash) = (block.header.height(), block.header.hash());
        assert_eq!(reader.block(&hash).unwrap(), original.block(&hash).unwrap());
        assert_eq!(reader.events(&hash).unwrap(), original.events(&hash).unwrap());
        for extrinsic in block.extrinsics.iter() {
            assert_eq!(
                reader.transaction(&extrinsic.hash()).unwrap(),
                original.transaction(&extrinsic.hash()).unwrap()
            );
        }
        let shown = reader.prove_history(height.previous(), height).unwrap();
        assert_eq!(shown, original.prove_history(height.previous(), height).unwrap());
    }
    let report = super::audit::assert_sound(&super::audit::checkpoint(restored).database, schedule);
    assert_eq!(report.blocks, u64::try_from(blocks.len()).unwrap() + 1, "genesis included");
}

#[test]
fn filled_blocks_that_a_crash_takes_are_wanted_again() {
    let mut node = Node::new();
    chain(&mut node, 9);
    let database = restore(&take(&node, 300), EpochSchedule::new(0));
    let mut restored = Node::on(database.clone(), HistoryMode::Archive, EpochSchedule::new(0));
    restored.ledger.fill(&archived(&node, 8, 6)).unwrap();
    // The next block's sync takes the first part to disk; the second is lost.
    let block = node.grow(&[]);
    restored.ledger.import(&[finalized(&block)]).unwrap();
    restored.ledger.fill(&archived(&node, 5, 3)).unwrap();
    drop(restored);
    database.lose_unsynced(0);
    let mut restored = Node::on(database, HistoryMode::Archive, EpochSchedule::new(0));
    assert_eq!(restored.ledger.reader().lowest_block().unwrap(), Height(6));
    assert_eq!(restored.ledger.reader().block_at(Height(5)).unwrap(), None);
    assert_eq!(restored.ledger.fill(&archived(&node, 5, 1)).unwrap(), Height::ZERO);
}

#[test]
fn events_have_a_root_only_where_they_are_encoded_as_here() {
    let mut node = Node::new();
    let blocks = chain(&mut node, 2);
    let reader = node.ledger.reader();
    for block in &blocks {
        let events = reader.events(&block.header.hash()).unwrap().unwrap();
        assert_eq!(events_root(&events), Some(block.header.context().unwrap().events_root));
        assert_eq!(events_root(&events[..events.len() - 1]), None);
        assert_eq!(events_root(&[&*events, &[0]].concat()), None);
    }
}
