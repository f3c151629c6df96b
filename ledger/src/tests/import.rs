//! Blocks that block sync brings.

use super::fixture::{Node, chain, covered, finalization, finalized, with_context};
use crate::{ErrorClass, LedgerError};
use cairn_primitives::{Block, FinalizedBlock, Hash, Height};
use std::sync::Arc;

/// A range as block sync hands it over: only the last block carries a finalization.
fn range(blocks: &[Arc<Block>]) -> Vec<FinalizedBlock> {
    let (last, inner) = blocks.split_last().unwrap();
    inner.iter().map(covered).chain([finalized(last)]).collect()
}

#[test]
fn import_of_a_range_gives_the_same_chain() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 9);
    let committed = node.ledger.import(&range(&blocks)).unwrap();
    assert_eq!(committed.len(), 9);
    assert_eq!(node.database.unsynced_count(), 0);
    assert_eq!(node.ledger.reader().head(), leader.ledger.reader().head());
    assert_eq!((node.account(0), node.account(1)), (leader.account(0), leader.account(1)));
    let reader = node.ledger.reader();
    for block in &blocks {
        let height = block.header.height();
        let covering = reader.finalization_for(height).unwrap().unwrap();
        assert_eq!(covering, (blocks[8].header.clone(), finalization(&blocks[8])));
        assert_eq!(
            reader.events(&block.header.hash()).unwrap(),
            leader.ledger.reader().events(&block.header.hash()).unwrap()
        );
    }
}

#[test]
fn import_of_committed_blocks_is_a_no_op_and_of_a_mixed_range_does_the_rest() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 6);
    node.ledger.import(&range(&blocks[..4])).unwrap();
    let head = node.ledger.reader().head();
    assert_eq!(node.ledger.import(&range(&blocks[..4])).unwrap().len(), 0);
    assert_eq!(node.ledger.import(&range(&blocks[1..2])).unwrap().len(), 0);
    assert_eq!(node.ledger.import(&[]).unwrap().len(), 0);
    assert_eq!(node.ledger.reader().head(), head);
    let committed = node.ledger.import(&range(&blocks[2..])).unwrap();
    assert_eq!(committed.iter().map(|block| block.height.0).collect::<Vec<_>>(), [5, 6]);
}

#[test]
fn import_of_an_invalid_final_block_leaves_the_head_whatever_came_before_it() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 4);
    let bad = with_context(&blocks[2], |context| context.events_root = Hash([1; 32]));
    let bad_hash = bad.header.hash();
    let mut entries = range(&blocks[..2]);
    entries.push(FinalizedBlock { block: bad, finalization: None });
    match node.ledger.import(&entries).err().unwrap() {
        LedgerError::FinalizedInvalid { hash, height, .. } => assert_eq!((hash, height), (bad_hash, Height(3))),
        error => panic!("{error}"),
    }
    assert_eq!(node.height(), 0);
    let reopened = node.restart();
    assert_eq!(reopened.height(), 0, "nothing was written");
}

#[test]
fn import_of_a_final_block_that_contradicts_the_chain_is_fatal() {
    let (mut leader, mut twin) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 3);
    let other = twin.grow_in(7, &[]);
    let other_child = twin.grow_in(8, &[]);
    let mut node = Node::new();
    node.ledger.import(&range(&blocks[..1])).unwrap();
    // At the height of the head, and above it on another parent.
    for contradiction in [&other, &other_child] {
        let error = node.ledger.import(&[finalized(contradiction)]).err().unwrap();
        assert!(matches!(error, LedgerError::FinalizedInvalid { .. }), "{error}");
        assert_eq!(error.class(), ErrorClass::Fatal);
    }
    assert_eq!(node.head(), blocks[0].header.hash());
}

#[test]
fn import_above_a_gap_is_unavailable() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 3);
    let error = node.ledger.import(&range(&blocks[1..])).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert_eq!(node.height(), 0);
}

#[test]
fn import_keeps_pending_descendants_of_what_it_commits() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let blocks = chain(&mut leader, 3);
    for block in &blocks {
        node.certify(block);
    }
    node.ledger.import(&range(&blocks[..2])).unwrap();
    assert!(node.ledger.pending_block(&blocks[2].header.hash()).is_some());
    assert_eq!(node.commit(&[&blocks[2]]).len(), 1);
    assert_eq!(node.ledger.reader().head(), leader.ledger.reader().head());
}
