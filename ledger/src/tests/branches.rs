//! Competing blocks, and blocks that have to leave memory.

use super::fixture::{ENDOWMENT, Node, finalization, finalized, transfer, tx};
use crate::{ErrorClass, PENDING_BLOCKS_MAX, PENDING_BYTES_MAX, Verdict};
use cairn_primitives::Block;
use cairn_runtime::{Transaction, client};
use cairn_storage::blocks;
use std::sync::Arc;

#[test]
fn commit_drops_competitors_with_descendants_and_keeps_its_own() {
    let mut node = Node::new();
    let a = node.propose(node.head(), 1, &[transfer(0, 0, 1, 1_000_000_000)]);
    let b = node.propose(node.head(), 2, &[transfer(0, 0, 1, 2_000_000_000)]);
    let a_child = node.propose(a.header.hash(), 3, &[transfer(0, 1, 1, 4_000_000_000)]);
    let b_child = node.propose(b.header.hash(), 4, &[transfer(0, 1, 1, 8_000_000_000)]);
    let b_grandchild = node.propose(b_child.header.hash(), 5, &[]);
    for block in [&a, &b, &a_child, &b_child, &b_grandchild] {
        node.certify(block);
    }
    node.commit(&[&b]);
    for dropped in [&a, &a_child] {
        assert!(node.ledger.uncommitted_block(&dropped.header.hash()).unwrap().is_none());
        assert_eq!(blocks::pending::get(&node.database, &dropped.header.hash()).unwrap(), None);
        assert!(node.ledger.reader().block(&dropped.header.hash()).unwrap().is_none());
    }
    assert_eq!(node.ledger.verify(&a_child).unwrap(), Verdict::NotYet);
    assert_eq!(node.account(1).data.free, ENDOWMENT + 2_000_000_000);

    let next = node.propose(b_grandchild.header.hash(), 6, &[transfer(0, 2, 1, 16_000_000_000)]);
    node.certify(&next);
    assert_eq!(node.commit(&[&b_child, &b_grandchild, &next]).len(), 3);
    assert_eq!(node.account(1).data.free, ENDOWMENT + 26_000_000_000);
    assert_eq!(node.ledger.reader().head().state_root, next.header.state_root);
}

#[test]
fn commit_of_several_blocks_gives_the_finalization_to_the_last() {
    let mut node = Node::new();
    let first = node.propose(node.head(), 1, &[]);
    let second = node.propose(first.header.hash(), 2, &[]);
    let third = node.propose(second.header.hash(), 3, &[]);
    for block in [&first, &second, &third] {
        node.certify(block);
    }
    let committed = node.commit(&[&first, &second, &third]);
    let heights: Vec<_> = committed.iter().map(|block| (block.height.0, block.finalization.is_some())).collect();
    assert_eq!(heights, [(1, false), (2, false), (3, true)]);
    let reader = node.ledger.reader();
    for block in [&first, &second, &third] {
        let covering = reader.finalization_for(block.header.height()).unwrap().unwrap();
        assert_eq!(covering, (third.header.clone(), finalization(&third)));
    }
    assert_eq!(reader.finalization_for(third.header.height().next()).unwrap(), None);
}

#[test]
fn commit_of_what_is_committed_in_part_or_whole_does_the_rest() {
    let mut leader = Node::new();
    let mut node = Node::new();
    let first = leader.propose(leader.head(), 1, &[]);
    let second = leader.propose(first.header.hash(), 2, &[]);
    let third = leader.propose(second.header.hash(), 3, &[]);
    for block in [&first, &second, &third] {
        node.certify(block);
    }
    // Block sync is faster for the first two.
    node.ledger.import(&[finalized(&first), finalized(&second)]).unwrap();
    assert_eq!(node.commit(&[&first, &second]).len(), 0);
    assert_eq!(node.commit(&[&first, &second, &third]).len(), 1);
    assert_eq!(node.commit(&[&first, &second, &third]).len(), 0);
    assert_eq!(node.head(), third.header.hash());
    assert_eq!(node.ledger.commit(&[], &finalization(&third)).unwrap().len(), 0);
}

#[test]
fn commit_of_a_block_that_is_not_here_is_unavailable_and_made_up_later() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let first = leader.propose(leader.head(), 1, &[]);
    let second = leader.propose(first.header.hash(), 2, &[]);
    node.certify(&first);
    let hashes = [first.header.hash(), second.header.hash()];
    let error = node.ledger.commit(&hashes, &finalization(&second)).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable);
    assert_eq!(node.height(), 0, "nothing was committed");
    let third = leader.propose(second.header.hash(), 3, &[]);
    let error = node.ledger.certify(&third).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable, "the parent is not here");
    node.certify(&second);
    node.certify(&third);
    // The engine thinks that the first two were committed; the third brings them along.
    assert_eq!(node.commit(&[&third]).len(), 3);
    assert_eq!(node.head(), third.header.hash());
}

#[test]
fn certify_of_a_block_below_the_head_is_unavailable_unless_it_is_committed() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let stale = leader.propose(leader.head(), 1, &[]);
    let first = leader.propose(leader.head(), 2, &[]);
    leader.certify(&first);
    leader.commit(&[&first]);
    let second = leader.grow_in(3, &[]);
    node.ledger.import(&[finalized(&first), finalized(&second)]).unwrap();
    assert!(node.ledger.certify(&first).unwrap());
    assert_eq!(node.ledger.certify(&stale).err().unwrap().class(), ErrorClass::Unavailable);
}

/// More blocks than memory holds: a branch of certified ones and many siblings of its first.
fn crowd(node: &mut Node, certify_all: bool) -> Vec<Arc<Block>> {
    let mut branch = Vec::new();
    let mut parent = node.head();
    for view in 1..=3 {
        let block = node.propose(parent, view, &[transfer(0, u32::try_from(view - 1).unwrap(), 1, 1_000_000_000)]);
        node.certify(&block);
        parent = block.header.hash();
        branch.push(block);
    }
    for view in 0..u64::try_from(PENDING_BLOCKS_MAX).unwrap() + 8 {
        let sibling = node.propose(node.head(), 10 + view, &[]);
        if certify_all {
            node.certify(&sibling);
        }
    }
    branch
}

#[test]
fn crowd_of_unfinished_blocks_does_not_drive_certified_ones_out() {
    let mut node = Node::new();
    let branch = crowd(&mut node, false);
    assert!(branch.iter().all(|block| node.ledger.pending_block(&block.header.hash()).is_some()));
    assert_eq!(node.commit(&branch.iter().collect::<Vec<_>>()).len(), 3);
    assert_eq!(node.account(1).data.free, ENDOWMENT + 3_000_000_000);
}

#[test]
fn certified_block_that_left_memory_is_built_upon_and_committed() {
    for built_upon in [false, true] {
        let mut node = Node::new();
        let branch = crowd(&mut node, true);
        let tip = branch[2].header.hash();
        assert!(node.ledger.pending_block(&tip).is_none(), "the oldest tip has left memory");
        assert_eq!(node.ledger.uncommitted_block(&tip).unwrap().as_ref(), Some(&branch[2]));
        if built_upon {
            let child = node.propose(tip, 1_000, &[transfer(0, 3, 1, 1_000_000_000)]);
            node.certify(&child);
            assert_eq!(node.commit(&[&child]).len(), 4);
        } else {
            assert_eq!(node.commit(&branch.iter().collect::<Vec<_>>()).len(), 3);
        }
        let left = blocks::pending::all(&node.database).unwrap();
        assert_eq!(left.len(), 0, "competitors are deleted, in memory or not");
    }
}

#[test]
fn large_blocks_that_nothing_builds_on_leave_memory_by_their_bytes() {
    let mut node = Node::new();
    let large = client::remark(vec![7; 200 << 10]);
    let candidates: Vec<_> = (0..5).map(|nonce| tx(0, nonce, &large)).collect();
    let first = node.propose(node.head(), 1, &candidates);
    node.certify(&first);
    let bytes = first.extrinsics.iter().map(|extrinsic| extrinsic.bytes().len()).sum::<usize>();
    let fit = PENDING_BYTES_MAX / bytes;
    let hashes: Vec<_> = (0..u64::try_from(fit).unwrap() + 3)
        .map(|view| node.propose(first.header.hash(), 10 + view, &shifted(&candidates)).header.hash())
        .collect();
    let kept = hashes.iter().filter(|hash| node.ledger.pending_block(hash).is_some()).count();
    assert_eq!(kept, fit - 1, "all that fits beside the first one");
    assert!(node.ledger.pending_block(hashes.last().unwrap()).is_some());
    assert!(node.ledger.pending_block(&first.header.hash()).is_some());
}

/// The same calls with the next nonces.
fn shifted(candidates: &[Transaction]) -> Vec<Transaction> {
    let count = u32::try_from(candidates.len()).unwrap();
    candidates.iter().zip(count..).map(|(candidate, nonce)| tx(0, nonce, candidate.call())).collect()
}

#[test]
fn single_branch_without_finality_stays_whole() {
    let mut node = Node::new();
    let mut branch: Vec<Arc<Block>> = Vec::new();
    for view in 1..=u64::try_from(PENDING_BLOCKS_MAX).unwrap() + 20 {
        let parent = branch.last().map_or(node.head(), |block| block.header.hash());
        let block = node.propose(parent, view, &[]);
        node.certify(&block);
        branch.push(block);
    }
    assert_eq!(node.commit(&branch.iter().collect::<Vec<_>>()).len(), PENDING_BLOCKS_MAX + 20);
}
