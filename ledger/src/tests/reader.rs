//! The read model.

use super::fixture::{ENDOWMENT, Node, account, chain, finalization, finalized, genesis, id, transfer};
use crate::ReadError;
use cairn_primitives::{Block, Hash, Height};
use cairn_runtime::{BLOCK_HASH_COUNT, EventRecord, Rules, code_marker, keys};
use cairn_storage::HistoryMode;
use parity_scale_codec::{DecodeAll, Encode};
use std::sync::Arc;

#[test]
fn state_at_old_heights_is_what_it_was() {
    let mut node = Node::new();
    let mut expected = vec![(genesis().hash(), [node.account(0), node.account(1)])];
    for _ in 0..20 {
        let block = chain(&mut node, 1).remove(0);
        expected.push((block.header.hash(), [node.account(0), node.account(1)]));
    }
    let node = node.restart();
    let reader = node.ledger.reader();
    for (height, (hash, accounts)) in (0u32..).zip(expected) {
        let state = reader.state_at(&hash).unwrap();
        assert_eq!(state.height(), Height(height));
        assert_eq!([account(&state, 0), account(&state, 1)], accounts, "height {height}");
    }
    assert!(matches!(reader.state_at(&Hash([1; 32])), Err(ReadError::UnknownBlock(_))));
}

#[test]
fn virtual_keys_are_served_from_blocks() {
    let mut node = Node::new();
    let blocks = chain(&mut node, 5);
    let reader = node.ledger.reader();
    for block in &blocks {
        let hash = block.header.hash();
        let state = reader.state_at(&hash).unwrap();
        let get = |key: &[u8]| state.get(key).unwrap();
        assert_eq!(get(&keys::SYSTEM_NUMBER), Some(block.header.number.to_le_bytes().to_vec()));
        assert_eq!(get(&keys::SYSTEM_PARENT_HASH), Some(block.header.parent_hash.0.to_vec()));
        assert_eq!(get(&keys::SYSTEM_DIGEST), Some(block.header.digest.encode()));
        assert_eq!(get(keys::CODE), Some(code_marker(Rules::NEWEST)));
        let events = get(&keys::SYSTEM_EVENTS).unwrap();
        assert_eq!(Some(&events), reader.events(&hash).unwrap().as_ref());
        assert!(!Vec::<EventRecord>::decode_all(&mut events.as_slice()).unwrap().is_empty());
        assert_eq!(get(&keys::block_hash(block.header.height().previous())), Some(block.header.parent_hash.0.to_vec()));
        assert_eq!(get(&keys::block_hash(block.header.height())), None, "a block does not know its own hash");
        assert_eq!(get(&keys::block_hash(Height(1_000))), None);
    }
}

#[test]
fn block_hashes_reach_as_far_back_as_an_era() {
    let mut node = Node::new();
    let mut hashes = vec![node.head()];
    for _ in 0..BLOCK_HASH_COUNT + 2 {
        hashes.push(node.grow(&[]).header.hash());
    }
    let state = node.ledger.reader().state_at(&node.head()).unwrap();
    let get = |height: u32| state.get(&keys::block_hash(Height(height))).unwrap();
    assert_eq!(get(0), None);
    assert_eq!(get(1), None);
    assert_eq!(get(2), Some(hashes[2].0.to_vec()));
    assert_eq!(get(BLOCK_HASH_COUNT + 1), Some(hashes.iter().rev().nth(1).unwrap().0.to_vec()));
    let older = node.ledger.reader().state_at(&hashes[100]).unwrap();
    assert_eq!(older.get(&keys::block_hash(Height(0))).unwrap(), Some(hashes[0].0.to_vec()));
}

#[test]
fn blocks_and_transactions_are_found_by_every_name() {
    let mut node = Node::new();
    let first = transfer(0, 0, 1, 1_000_000_000);
    let second = transfer(2, 0, 1, 1_000_000_000);
    let empty = node.grow(&[]);
    let full = node.grow(&[first.clone(), second.clone()]);
    let reader = node.ledger.reader();
    assert_eq!(reader.transaction(&first.hash()).unwrap(), Some((Height(2), 1)));
    assert_eq!(reader.transaction(&second.hash()).unwrap(), Some((Height(2), 2)));
    assert_eq!(reader.transaction(&full.extrinsics[0].hash()).unwrap(), Some((Height(2), 0)));
    assert_eq!(reader.transaction(&Hash([1; 32])).unwrap(), None);
    for (height, block) in [(1, &empty), (2, &full)] {
        let hash = block.header.hash();
        let stored = Some(finalized(block));
        assert_eq!(reader.block(&hash).unwrap(), stored);
        assert_eq!(reader.block_at(Height(height)).unwrap(), stored);
        assert_eq!(reader.block_hash(Height(height)).unwrap(), Some(hash));
        assert_eq!(reader.height_of(&hash).unwrap(), Some(Height(height)));
        assert_eq!(reader.header(&hash).unwrap().as_ref(), Some(&block.header));
        assert_eq!(reader.finalization(Height(height)).unwrap(), Some(finalization(block)));
    }
    assert_eq!(reader.block_at(Height(3)).unwrap(), None);
    assert_eq!(reader.block_hash(Height(3)).unwrap(), None);
}

#[test]
fn reader_does_not_see_what_is_not_committed() {
    let mut node = Node::new();
    let block = node.propose(node.head(), 1, &[transfer(0, 0, 1, 1_000_000_000)]);
    node.certify(&block);
    let reader = node.ledger.reader();
    let hash = block.header.hash();
    assert_eq!(reader.head().height, Height::ZERO);
    assert_eq!(reader.block(&hash).unwrap(), None);
    assert_eq!(reader.height_of(&hash).unwrap(), None);
    assert_eq!(reader.transaction(&block.extrinsics[1].hash()).unwrap(), None);
    let before = reader.state_at_head();
    node.commit(&[&block]);
    assert_eq!(account(&before, 1).data.free, ENDOWMENT, "a state once taken does not move");
    assert_eq!(account(&reader.state_at_head(), 1).data.free, ENDOWMENT + 1_000_000_000);
}

fn check_proofs(node: &Node, block: &Arc<Block>) {
    let (present, absent) = (keys::system_account(&id(0)), keys::system_account(&id(77)));
    let hash = block.header.hash();
    let reader = node.ledger.reader();
    let value = reader.state_at(&hash).unwrap().get(&present).unwrap();
    let proofs = reader.prove(&[present.to_vec(), absent.to_vec()], &hash).unwrap();
    let root = block.header.state_root;
    assert_eq!(proofs[0].verify(&root, &present, value.as_deref()), Ok(()));
    assert_eq!(proofs[1].verify(&root, &absent, None), Ok(()));
    assert!(proofs[0].verify(&Hash([1; 32]), &present, value.as_deref()).is_err());
    assert!(proofs[0].verify(&root, &present, Some(b"more")).is_err());
    assert!(proofs[1].verify(&root, &present, None).is_err());
}

#[test]
fn proofs_verify_against_the_root_in_the_header() {
    let mut node = Node::new();
    let blocks = chain(&mut node, 10);
    for block in &blocks {
        check_proofs(&node, block);
    }
    assert!(matches!(node.ledger.reader().prove(&[], &Hash([1; 32])), Err(ReadError::UnknownBlock(_))));
}

#[test]
fn states_outside_the_window_are_pruned_blocks_are_not() {
    let mut node = Node::with_history(HistoryMode::Window(4));
    let blocks = chain(&mut node, 20);
    let reader = node.ledger.reader();
    for block in &blocks {
        let hash = block.header.hash();
        assert_eq!(reader.block(&hash).unwrap(), Some(finalized(block)));
        let height = block.header.height();
        match reader.state_at(&hash) {
            Ok(state) => {
                assert!(height.0 >= 16);
                assert_eq!(state.get(&keys::SYSTEM_NUMBER).unwrap(), Some(height.0.encode()));
                assert!(account(&state, 0).nonce > 0);
            }
            Err(ReadError::Pruned { height: refused, lowest }) => {
                assert_eq!((refused, lowest), (height, Height(16)));
                assert!(height < lowest);
            }
            Err(error) => panic!("{error}"),
        }
    }
    let pruned = reader.state_at(&blocks[0].header.hash()).err().unwrap().to_string();
    assert!(pruned.contains("16") && pruned.contains("archive"), "{pruned}");
}

#[test]
fn state_that_leaves_the_window_while_held_is_pruned_not_wrong() {
    let mut node = Node::with_history(HistoryMode::Window(2));
    let blocks = chain(&mut node, 3);
    let state = node.ledger.reader().state_at(&blocks[1].header.hash()).unwrap();
    let key = keys::system_account(&id(0));
    assert!(state.get(&key).unwrap().is_some());
    chain(&mut node, 8);
    assert!(matches!(state.get(&key), Err(ReadError::Pruned { .. })));
    assert!(matches!(state.keys(&[], None, 1), Err(ReadError::Pruned { .. })));
}

#[test]
fn history_of_a_block_proves_every_block_below_it() {
    let mut node = Node::new();
    chain(&mut node, 9);
    for _ in 0..2_100 {
        node.grow(&[]);
    }
    let reader = node.ledger.reader();
    let hash = |height: u32| reader.block_hash(Height(height)).unwrap().unwrap();
    let prove = |block: u32, under: u32| reader.prove_history(Height(block), Height(under));
    let head = reader.head().height.0;
    for under in [1, 9, 1_024, 1_025, 2_048, 2_049, head] {
        let root = reader.header(&hash(under)).unwrap().unwrap().context().unwrap().history_root;
        for block in [0, 1, 5, 1_023, 1_024, 2_047, under - 1].into_iter().filter(|block| *block < under) {
            let proof = prove(block, under).unwrap();
            assert!(proof.verify(&root, &hash(block).0), "{block} under {under}");
            assert_eq!((proof.index, proof.count), (block.into(), under.into()));
        }
    }
    for (block, under) in [(5, 5), (6, 5), (0, 0), (1, head + 1)] {
        assert!(matches!(prove(block, under), Err(ReadError::NotBelow { .. })), "{block} under {under}");
    }
}
