//! Propose, verify, execute, certify, commit.

use super::fixture::{ENDOWMENT, Node, account, finalization, id, transfer, tx, tx_in_era};
use crate::{ErrorClass, ProposalRequest, Verdict};
use cairn_primitives::{Epoch, Hash, Height, TimestampMs, ValidatorIndex, View, list_tree};
use cairn_runtime::{Era, EventRecord, InvalidTransaction, client};
use cairn_storage::{Table, blocks};
use parity_scale_codec::{DecodeAll, Encode};

#[test]
fn block_built_on_one_ledger_has_the_same_outcome_on_another() {
    let (mut leader, mut follower) = (Node::new(), Node::new());
    for view in 1..=3 {
        let nonce = u32::try_from(view - 1).unwrap();
        let candidates = [transfer(0, nonce, 1, 5_000_000_000), tx(2, nonce, &client::burn(1_000, true))];
        let block = leader.propose(leader.head(), view, &candidates);
        assert_eq!(follower.ledger.verify(&block).unwrap(), Verdict::Valid);
        assert!(follower.ledger.execute(&block.header.hash()).unwrap());
        for node in [&mut leader, &mut follower] {
            node.certify(&block);
            let committed = node.commit(&[&block]);
            let [committed] = committed.as_slice() else { panic!("one block") };
            assert_eq!((committed.hash, committed.height.0), (block.header.hash(), u32::try_from(view).unwrap()));
            assert_eq!(committed.transactions[1..], candidates.each_ref().map(|candidate| candidate.hash()));
            assert_eq!(committed.finalization, Some(finalization(&block)));
            assert_eq!(node.ledger.reader().head().state_root, block.header.state_root);
            assert_eq!(node.ledger.reader().head().timestamp, block.header.context().unwrap().timestamp);
        }
    }
    for n in 0..3 {
        assert_eq!(leader.account(n), follower.account(n));
    }
    assert_eq!(leader.account(1).data.free, ENDOWMENT + 15_000_000_000);
    assert_eq!(leader.account(0).nonce, 3);
}

#[test]
fn header_commits_to_events_and_history() {
    let mut node = Node::new();
    let mut history = vec![node.head().0];
    for nonce in 0..5 {
        let block = node.grow(&[transfer(0, nonce, 1, 1_000_000_000)]);
        let context = block.header.context().unwrap();
        assert_eq!(context.history_root, list_tree::root(&history));
        let events = node.ledger.reader().events(&block.header.hash()).unwrap().unwrap();
        let events = Vec::<EventRecord>::decode_all(&mut events.as_slice()).unwrap();
        assert!(events.len() > 3);
        assert_eq!(context.events_root, list_tree::root(events.iter().map(Encode::encode)));
        history.push(block.header.hash().0);
    }
}

#[test]
fn verify_twice_and_certify_twice_say_the_same() {
    let (mut leader, mut node) = (Node::new(), Node::new());
    let block = leader.propose(leader.head(), 1, &[]);
    assert_eq!(node.ledger.verify(&block).unwrap(), Verdict::Valid);
    assert_eq!(node.ledger.verify(&block).unwrap(), Verdict::Valid);
    node.certify(&block);
    node.certify(&block);
    assert_eq!(node.commit(&[&block]).len(), 1);
    // After the commit, too: block sync may have been faster than consensus.
    node.certify(&block);
    assert_eq!(node.height(), 1);
}

#[test]
fn candidates_that_cannot_be_included_are_named_and_left_out() {
    let mut node = Node::new();
    let good = transfer(0, 0, 1, 1_000_000_000);
    let future = transfer(2, 7, 1, 1_000_000_000);
    let forged = tx_in_era(3, 0, &client::remark(vec![1]), Era::Immortal, Hash([1; 32]));
    let ancient = tx_in_era(4, 0, &client::remark(vec![1]), Era::mortal(64, 70), Hash([1; 32]));
    let candidates = [forged.clone(), good.clone(), future.clone(), ancient.clone()];
    let built = node.try_propose(node.head(), 1, &candidates);
    assert_eq!(built.block.extrinsics[1..], [good.bytes().clone()]);
    let reason = |hash| built.rejected.iter().find(|(rejected, _)| *rejected == hash).map(|(_, reason)| reason.clone());
    assert_eq!(reason(forged.hash()), Some(InvalidTransaction::BadProof));
    assert_eq!(reason(future.hash()), Some(InvalidTransaction::Future { expected: 0, actual: 7 }));
    assert_eq!(reason(ancient.hash()), Some(InvalidTransaction::AncientBirthBlock));
    assert_eq!(built.rejected.len(), 3);
}

#[test]
fn proposal_on_unknown_parent_is_unavailable() {
    let mut node = Node::new();
    let request = ProposalRequest {
        epoch: Epoch::ZERO,
        view: View(1),
        proposer: ValidatorIndex(0),
        parent: Hash([1; 32]),
        timestamp: TimestampMs(u64::MAX),
        evidence: Vec::new(),
    };
    let error = node.ledger.propose(&request, &[]).err().unwrap();
    assert_eq!(error.class(), ErrorClass::Unavailable);
}

#[test]
fn block_is_pending_until_committed_and_then_gone_from_the_pending_table() {
    let mut node = Node::new();
    let block = node.propose(node.head(), 1, &[transfer(0, 0, 1, 1_000_000_000)]);
    let hash = block.header.hash();
    assert_eq!(node.ledger.pending_transactions(&hash).len(), 1);
    assert_eq!(blocks::pending::get(&node.database, &hash).unwrap(), None);
    node.certify(&block);
    assert_eq!(blocks::pending::get(&node.database, &hash).unwrap().as_ref(), Some(&*block));
    assert!(node.ledger.reader().block(&hash).unwrap().is_none(), "not final yet");
    assert_eq!(account(&node.ledger.reader().state_at_head(), 0).nonce, 0);
    node.commit(&[&block]);
    assert_eq!(blocks::pending::get(&node.database, &hash).unwrap(), None);
    assert!(node.ledger.pending_block(&hash).is_none());
    assert_eq!(node.ledger.pending_transactions(&hash).len(), 0);
}

#[test]
fn era_of_a_transaction_may_begin_at_a_pending_ancestor() {
    let (mut node, mut other) = (Node::new(), Node::new());
    let first = node.propose(node.head(), 1, &[]);
    let second = node.propose(first.header.hash(), 2, &[]);
    let era = Era::mortal(4, 2);
    assert_eq!(era.birth(3), 2);
    let call = client::transfer_keep_alive(id(1), 1_000_000_000);
    let mortal = tx_in_era(0, 0, &call, era, second.header.hash());
    let third = node.propose(second.header.hash(), 3, &[mortal]);
    for block in [&first, &second, &third] {
        assert_eq!(other.ledger.verify(block).unwrap(), Verdict::Valid);
        other.certify(block);
    }
    assert_eq!(other.commit(&[&first, &second, &third]).len(), 3);
    assert_eq!(other.account(1).data.free, ENDOWMENT + 1_000_000_000);
}

#[test]
fn committed_blocks_leave_one_record_each_and_one_unsynced_write_per_certification() {
    let mut node = Node::new();
    let first = node.propose(node.head(), 1, &[]);
    let second = node.propose(first.header.hash(), 2, &[]);
    assert_eq!(node.database.unsynced_count(), 0);
    node.certify(&first);
    node.certify(&second);
    assert_eq!(node.database.unsynced_count(), 2);
    node.commit(&[&first, &second]);
    assert_eq!(node.database.unsynced_count(), 0, "the last write of a commit is synced");
    for height in 0..=2 {
        let hash = blocks::hash_of(&node.database, Height(height)).unwrap().unwrap();
        assert_eq!(blocks::height_of(&node.database, &hash).unwrap(), Some(Height(height)));
    }
    let missing = blocks::block(&node.database, Height(3)).unwrap();
    assert_eq!(missing, None, "{} holds what was not committed", Table::Headers);
}
