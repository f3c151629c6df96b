//! The rules change between two blocks, at every node or at none.

use super::fixture::{Node, covered, finalized, genesis, id, key, try_open, tx};
use crate::{ErrorClass, LedgerError, Verdict};
use cairn_primitives::header::DigestItem;
use cairn_primitives::signer::AccountKey;
use cairn_primitives::{Block, EpochSchedule, Height};
use cairn_runtime::{
    Era, InvalidTransaction, Rules, RulesSchedule, Transaction, TransactionExtra, Upgrade, client, code_marker, keys,
    last_upgrade,
};
use cairn_storage::{Database as _, Durability, HistoryMode, Table, WriteBatch};
use std::sync::Arc;

/// The first height under other rules.
const HEIGHT: u32 = 3;

/// Rules 3, and others from [`HEIGHT`] on.
pub(super) fn schedule(spec_version: u32) -> RulesSchedule {
    RulesSchedule::new(Rules::V3, vec![Upgrade { height: Height(HEIGHT), spec_version }])
}

/// A transfer signed for some rules.
fn signed(rules: Rules, nonce: u32) -> Transaction {
    let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
    let call = client::transfer_keep_alive(id(1), 1_000_000_000);
    let (key, genesis) = (AccountKey::from(key(0)), genesis().hash());
    Transaction::decode(client::sign_by(&key, &call, extra, rules, &genesis, &genesis)).unwrap()
}

/// Blocks 1 to 4, one transfer in each.
pub(super) fn upgraded(node: &mut Node) -> Vec<Arc<Block>> {
    [(Rules::V3, 0), (Rules::V3, 1), (Rules::V4, 2), (Rules::V4, 3)]
        .map(|(rules, nonce)| node.grow(&[signed(rules, nonce)]))
        .into()
}

#[test]
fn rules_change_at_their_height_and_the_block_before_says_so() {
    let mut node = Node::under(&schedule(4));
    let blocks = upgraded(&mut node);
    for block in &blocks {
        let says = block.header.digest.contains(&DigestItem::RuntimeEnvironmentUpdated);
        assert_eq!(says, block.header.number == HEIGHT - 1, "{}", block.header.number);
    }
    let reader = node.ledger.reader();
    for (block, rules) in blocks.iter().zip([Rules::V3, Rules::V4, Rules::V4, Rules::V4]) {
        let state = reader.state_at(&block.header.hash()).unwrap();
        assert_eq!(state.get(keys::CODE).unwrap(), Some(code_marker(rules)), "{}", block.header.number);
        let changed = (block.header.number >= HEIGHT).then_some(4);
        assert_eq!(last_upgrade(&state).unwrap(), changed, "{}", block.header.number);
    }
    // Another node comes to the same by the blocks alone.
    let mut other = Node::under(&schedule(4));
    other.ledger.import(&blocks.iter().map(finalized).collect::<Vec<_>>()).unwrap();
    assert_eq!((other.height(), other.head()), (4, node.head()));
}

#[test]
fn transaction_signed_for_other_rules_is_left_out_even_where_it_was_verified_before() {
    let mut node = Node::under(&schedule(4));
    let (old, new) = (signed(Rules::V3, 0), signed(Rules::V4, 0));
    for (height, good, bad) in [(1, &old, &new), (2, &old, &new), (HEIGHT, &new, &old)] {
        let checked =
            node.ledger.signatures().check_on_head(&[good.clone(), bad.clone()], &node.ledger.reader()).unwrap();
        assert_eq!(checked, [Ok(()), Err(InvalidTransaction::BadProof)], "{height}");
        let built = node.try_propose(node.head(), u64::from(height) * 10, &[bad.clone(), good.clone()]);
        assert_eq!(built.rejected, [(bad.hash(), InvalidTransaction::BadProof)], "{height}");
        assert_eq!(built.block.extrinsics.len(), 2);
        // The block that is kept is an empty one: the transactions are tried again.
        node.grow_in(u64::from(height) * 10 + 5, &[]);
    }
}

#[test]
fn block_that_says_otherwise_than_the_chain_spec_is_invalid() {
    let mut node = Node::under(&schedule(4));
    let first = node.grow(&[]);
    let second = node.propose(node.head(), 2, &[]);
    let mut silent = Block::clone(&second);
    silent.header.digest.truncate(1);
    let mut other = Block::clone(&second);
    other.header.digest[1] = DigestItem::Other(vec![1]);
    for (block, words) in
        [(silent, "digest has 1 items, 2 are expected"), (other, "does not say that the rules change")]
    {
        let Verdict::Invalid(reason) = node.ledger.verify(&Arc::new(block)).unwrap() else { panic!("{words}") };
        assert!(reason.contains(words), "{reason}");
    }
    let mut unchanged = Node::under(&RulesSchedule::new(Rules::V3, Vec::new()));
    unchanged.ledger.import(&[finalized(&first)]).unwrap();
    let Verdict::Invalid(reason) = unchanged.ledger.verify(&second).unwrap() else {
        panic!("no change is fixed there")
    };
    assert!(reason.contains("digest has 2 items, 1 are expected"), "{reason}");
}

#[test]
fn ledger_without_the_coming_rules_ends_one_block_before_them() {
    let blocks = upgraded(&mut Node::under(&schedule(4)));
    let unknown = schedule(1_000);
    let mut node = Node::under(&unknown);
    // All at once, the last finalization alone: what is under known rules is committed.
    let all: Vec<_> = blocks.iter().take(3).map(covered).chain([finalized(&blocks[3])]).collect();
    assert_eq!(node.ledger.import(&all).unwrap().len(), 2);
    assert_eq!(node.height(), HEIGHT - 1);
    assert_eq!(node.ledger.verify(&blocks[2]).unwrap(), Verdict::NotYet);
    let request = node.request(node.head(), 9);
    let refused = node.ledger.propose(&request, &[tx(0, 2, &client::remark(vec![]))]).unwrap_err();
    assert!(matches!(refused, LedgerError::UnknownRules(_)) && refused.class() == ErrorClass::Unavailable, "{refused}");
    assert!(node.ledger.reader().state_at(&node.head()).unwrap().get(keys::CODE).is_err());

    // A binary that has them goes on from the same database.
    let database = Arc::new(node.database.clone());
    drop(node);
    let (history, epochs) = (HistoryMode::Archive, EpochSchedule::new(0));
    let mut ledger = try_open(database.clone(), history, epochs, schedule(4)).unwrap();
    assert_eq!(ledger.import(&[finalized(&blocks[2]), finalized(&blocks[3])]).unwrap().len(), 2);
    drop(ledger);
    for named in [vec![], vec![(HEIGHT + 9, 4)], vec![(HEIGHT, 5)]] {
        let named = named.into_iter().map(|(height, spec_version)| Upgrade { height: Height(height), spec_version });
        let refused = try_open(database.clone(), history, epochs, RulesSchedule::new(Rules::V3, named.collect())).err();
        assert!(matches!(refused, Some(LedgerError::UnnamedRules { found: 4, .. })), "{refused:?}");
    }
    let elsewhere = RulesSchedule::new(Rules::V3, vec![Upgrade { height: Height(HEIGHT + 1), spec_version: 4 }]);
    let refused = try_open(database, history, epochs, elsewhere).err();
    assert!(matches!(refused, Some(LedgerError::OtherRules(_))), "{refused:?}");
}

#[test]
fn change_that_the_chain_never_made_is_refused_where_the_header_before_it_is_not_here() {
    let mut node = Node::under(&RulesSchedule::new(Rules::V3, Vec::new()));
    (0..4).for_each(|_| drop(node.grow(&[])));
    let database = Arc::new(node.database.clone());
    drop(node);
    let mut batch = WriteBatch::new();
    batch.delete(Table::Headers, (HEIGHT - 1).to_be_bytes());
    database.write(batch, Durability::Synced).unwrap();
    let (history, epochs) = (HistoryMode::Archive, EpochSchedule::new(0));
    let refused = try_open(database.clone(), history, epochs, schedule(4)).err();
    assert!(matches!(refused, Some(LedgerError::OtherRules(_))), "{refused:?}");
    // One that is to come is no such change.
    let coming = RulesSchedule::new(Rules::V3, vec![Upgrade { height: Height(9), spec_version: 4 }]);
    assert!(try_open(database, history, epochs, coming).is_ok());
}
