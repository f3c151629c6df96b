//! What is there after a restart.

use super::fixture::{Node, chain, finalization, finalized, transfer};
use crate::Verdict;
use cairn_storage::{Database as _, Durability, WriteBatch, blocks};

#[test]
fn reopened_ledger_has_the_same_head_and_goes_on() {
    let mut node = Node::new();
    let blocks = chain(&mut node, 5);
    let (head, accounts) = (node.ledger.reader().head(), (node.account(0), node.account(1)));
    let mut node = node.restart();
    assert_eq!(node.ledger.reader().head(), head);
    assert_eq!((node.account(0), node.account(1)), accounts);
    assert_eq!(node.ledger.reader().finalization(head.height).unwrap(), Some(finalization(&blocks[4])));
    // The history of headers goes on where it was.
    let mut other = Node::new();
    other.ledger.import(&blocks.iter().map(finalized).collect::<Vec<_>>()).unwrap();
    let next = node.grow(&[]);
    assert_eq!(other.ledger.verify(&next).unwrap(), Verdict::Valid);
}

#[test]
fn certified_blocks_come_back_lowest_first_and_certify_again() {
    let mut node = Node::new();
    let first = node.propose(node.head(), 1, &[transfer(0, 0, 1, 1_000_000_000)]);
    let second = node.propose(first.header.hash(), 2, &[transfer(0, 1, 1, 1_000_000_000)]);
    let rival = node.propose(first.header.hash(), 3, &[]);
    let uncertified = node.propose(second.header.hash(), 4, &[]);
    for block in [&first, &second, &rival] {
        node.certify(block);
    }
    let mut node = node.restart();
    let restored = node.ledger.restored().unwrap();
    assert_eq!(restored.len(), 3);
    assert_eq!(restored[0], first);
    assert!(restored.contains(&second) && restored.contains(&rival));
    assert!(node.ledger.uncommitted_block(&uncertified.header.hash()).unwrap().is_none());
    for block in &restored {
        node.certify(block);
    }
    assert_eq!(node.commit(&[&first, &second]).len(), 2);
    assert_eq!(node.account(1).nonce, 0);
    assert_eq!(node.ledger.reader().head().state_root, second.header.state_root);
    assert_eq!(node.restart().ledger.restored().unwrap().len(), 0);
}

#[test]
fn final_block_is_committed_after_a_restart_without_being_certified_again() {
    let mut node = Node::new();
    let first = node.propose(node.head(), 1, &[]);
    let second = node.propose(first.header.hash(), 2, &[]);
    node.certify(&first);
    node.certify(&second);
    let mut node = node.restart();
    assert_eq!(node.commit(&[&first, &second]).len(), 2);
}

#[test]
fn blocks_that_cannot_become_final_are_deleted_at_opening() {
    let mut node = Node::new();
    let stale = node.propose(node.head(), 9, &[]);
    let blocks = chain(&mut node, 2);
    let certified = node.propose(node.head(), 5, &[]);
    node.certify(&certified);
    let mut batch = WriteBatch::new();
    for block in [&stale, &blocks[0], &blocks[1]] {
        blocks::pending::put(&mut batch, &block.header.hash(), block);
    }
    node.database.write(batch, Durability::Synced).unwrap();
    let node = node.restart();
    let left: Vec<_> = blocks::pending::all(&node.database).unwrap().into_iter().map(|(hash, _)| hash).collect();
    assert_eq!(left, [certified.header.hash()]);
}
