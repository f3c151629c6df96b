//! Evidence on its way into a block.

use super::fixture::{Node, genesis, validator_keys, validators};
use cairn_primitives::{
    Block, Epoch, Evidence, Hash, KeyPair, Power, Proposal, Subject, Validator, ValidatorIndex, ValidatorSet, View,
    Vote,
};
use cairn_runtime::{client, is_punishable};
use std::sync::Arc;

/// Proof that the key voted to finalize and to give up one view.
fn evidence(key: &KeyPair) -> Evidence {
    let proposal = Proposal { epoch: Epoch::ZERO, view: View(9), parent_view: View(8), block: Hash([1; 32]) };
    let nullify = Subject::Nullify { epoch: Epoch::ZERO, view: View(9) };
    let vote = |subject| Vote::sign(subject, ValidatorIndex(0), key, &genesis().hash());
    Evidence::new(key.public(), &vote(Subject::Finalize(proposal)), &vote(nullify)).unwrap()
}

/// One block more on the head, with what it takes of the evidence.
fn grow(node: &mut Node, evidence: &[Evidence]) -> Arc<Block> {
    let request = node.request(node.head(), u64::from(node.height()) + 1);
    let request = crate::ProposalRequest { evidence: evidence.to_vec(), ..request };
    let block = node.ledger.propose(&request, &[]).unwrap().block;
    node.certify(&block);
    node.commit(&[&block]);
    block
}

fn without(gone: usize) -> ValidatorSet {
    let mut left = validators().validators().to_vec();
    left.remove(gone);
    ValidatorSet::new(left).unwrap()
}

#[test]
fn evidence_is_punished_once_and_counts_from_the_next_epoch() {
    let mut node = Node::with_epochs(3);
    let keys = validator_keys();
    let proof = evidence(&keys[2]);
    let state = |node: &Node| node.ledger.reader().state_at_head();
    assert!(is_punishable(&state(&node), &keys[2].public(), Epoch::ZERO).unwrap());
    let first = grow(&mut node, &[proof.clone(), proof.clone()]);
    assert_eq!(first.extrinsics[1..], [client::report_extrinsic(&proof)]);
    assert!(!is_punishable(&state(&node), &keys[2].public(), Epoch::ZERO).unwrap());
    assert_eq!(first.header.context().unwrap().next_validators_hash, without(2).hash());
    assert_eq!(*node.ledger.reader().current_epoch().validators, validators(), "the running epoch keeps its set");
    for _ in 0..2 {
        assert_eq!(grow(&mut node, std::slice::from_ref(&proof)).extrinsics.len(), 1, "it is known already");
    }
    assert_eq!(*node.ledger.reader().current_epoch().validators, without(2));
    // Another node takes the blocks as they are.
    let mut other = Node::with_epochs(3);
    other.ledger.import(&[super::fixture::finalized(&first)]).unwrap();
    assert_eq!(other.head(), first.header.hash());
}

#[test]
fn evidence_in_a_pending_block_is_left_out_of_its_child() {
    let mut node = Node::with_epochs(0);
    let proof = evidence(&validator_keys()[0]);
    let mut request = node.request(node.head(), 1);
    request.evidence = vec![proof.clone()];
    let first = node.ledger.propose(&request, &[]).unwrap().block;
    assert_eq!(first.extrinsics.len(), 2);
    let mut request = node.request(first.header.hash(), 2);
    request.evidence = vec![proof];
    let second = node.ledger.propose(&request, &[]).unwrap().block;
    assert_eq!(second.extrinsics.len(), 1);
}

#[test]
fn evidence_that_proves_nothing_is_left_out_and_never_holds() {
    let mut node = Node::with_epochs(0);
    let (accused, liar) = (&validator_keys()[0], &validator_keys()[1]);
    let votes = evidence(liar);
    let (first, second) = votes.votes();
    let vote = |signed: &cairn_primitives::evidence::SignedSubject| Vote {
        subject: signed.subject,
        signer: ValidatorIndex(0),
        signature: signed.signature,
    };
    let forged = Evidence::new(accused.public(), &vote(first), &vote(second)).unwrap();
    let mut request = node.request(node.head(), 1);
    request.evidence = vec![forged.clone()];
    let block = node.ledger.propose(&request, &[]).unwrap().block;
    assert_eq!(block.extrinsics.len(), 1);
    let mut bad = Block::clone(&block);
    bad.extrinsics.push(client::report_extrinsic(&forged));
    bad.header.extrinsics_root = bad.extrinsics_root();
    assert!(!node.ledger.certify(&Arc::new(bad)).unwrap());
    assert_eq!(validators().validators()[0], Validator { key: accused.public(), power: Power(1) });
}
