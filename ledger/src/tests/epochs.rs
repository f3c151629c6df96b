//! Epochs: who votes when, and that nothing goes past the end of one before it is final.

use super::crash::{Recorder, crashes};
use super::fixture::{Node, START, covered, genesis, open_with, tx, validator_keys, validators, with_context};
use crate::{CommittedBlock, Ledger, LedgerError, ReadError, Verdict};
use cairn_primitives::light::{LightError, TrustAnchor};
use cairn_primitives::{
    Block, Certificate, Epoch, EpochSchedule, FinalizedBlock, Height, KeyPair, Power, Proposal, Subject, TimestampMs,
    Validator, ValidatorIndex, ValidatorSet, View, Vote,
};
use cairn_runtime::{Transaction, client};
use cairn_storage::HistoryMode;
use std::sync::Arc;

/// The account that sets validators.
const AUTHORITY: u8 = 4;

/// The keys that vote in an epoch, in order; no two epochs share one.
fn keys_of(epoch: u64) -> Vec<KeyPair> {
    if epoch == 0 {
        return validator_keys();
    }
    let first = u8::try_from(epoch * 4 + 10).unwrap();
    let mut keys: Vec<_> = (first..first + 4).map(|seed| KeyPair::from_seed(&[seed; 32])).collect();
    keys.sort_by_key(KeyPair::public);
    keys
}

fn set_of(epoch: u64) -> ValidatorSet {
    let power = Power(epoch + 1);
    ValidatorSet::new(keys_of(epoch).iter().map(|key| Validator { key: key.public(), power }).collect()).unwrap()
}

/// Replaces all validators of an epoch by those of the next.
fn turnover(node: &Node, epoch: u64) -> Transaction {
    let add = keys_of(epoch + 1).into_iter().map(|key| client::set_validator(key.public(), epoch + 2));
    let remove = keys_of(epoch).into_iter().map(|key| client::set_validator(key.public(), 0));
    tx(AUTHORITY, node.account(AUTHORITY).nonce, &client::batch_all(add.chain(remove).collect()))
}

/// The finalization of a block by its epoch's own keys, in a view above the one in which it was proposed first.
fn finalization(block: &Block) -> Certificate {
    let context = block.header.context().unwrap();
    let view = View(context.view.0 + 3);
    let proposal = Proposal { epoch: context.epoch, view, parent_view: View::ZERO, block: block.header.hash() };
    let subject = Subject::Finalize(proposal);
    let votes = (0u16..3).zip(keys_of(context.epoch.0)).map(|(index, key)| {
        let signer = ValidatorIndex(index);
        (signer, Vote::sign(subject, signer, &key, &genesis().hash()).signature)
    });
    Certificate::from_signatures(subject, votes, &set_of(context.epoch.0))
}

pub(super) fn finalized(block: &Arc<Block>) -> FinalizedBlock {
    FinalizedBlock { block: Block::clone(block), finalization: Some(finalization(block)) }
}

/// One block more on the head, committed by the finalization of its epoch's keys.
pub(super) fn grow(node: &mut Node, candidates: &[Transaction]) -> CommittedBlock {
    let block = node.propose(node.head(), u64::from(node.height()) + 1, candidates);
    node.certify(&block);
    node.ledger.commit(&[block.header.hash()], &finalization(&block)).unwrap().remove(0)
}

/// A chain in which each epoch's validators are replaced by others, in the first block of the epoch.
pub(super) fn turning_chain(length: u32, epochs: u64) -> (Node, Vec<Arc<Block>>) {
    let mut node = Node::with_epochs(length);
    let mut blocks = Vec::new();
    for epoch in 0..epochs {
        for place in 0..length {
            let candidates = if place == 0 { vec![turnover(&node, epoch)] } else { Vec::new() };
            blocks.push(grow(&mut node, &candidates).block);
        }
    }
    (node, blocks)
}

#[test]
fn epochs_of_any_length_open_one_after_the_other() {
    for length in [1, 2, 5] {
        let mut node = Node::with_epochs(length);
        let schedule = EpochSchedule::new(length);
        for height in (1..=11).map(Height) {
            let (before, epoch) = (node.ledger.reader().current_epoch(), schedule.epoch_of(height));
            assert_eq!((before.epoch, before.closing), (epoch, schedule.closing(epoch)));
            let committed = grow(&mut node, &[]);
            assert_eq!(committed.block.header.context().unwrap().epoch, epoch);
            let reader = node.ledger.reader();
            match committed.opens {
                Some(opened) => {
                    assert!(schedule.is_closing(height));
                    assert_eq!((opened.epoch, opened.opening), (epoch.next(), reader.head()));
                    assert_eq!(opened.closing, schedule.closing(epoch.next()));
                    assert_eq!(reader.current_epoch(), opened);
                }
                None => {
                    assert!(!schedule.is_closing(height));
                    assert_eq!(reader.current_epoch(), before);
                }
            }
        }
        let (reader, current) = (node.ledger.reader(), node.ledger.reader().current_epoch());
        for height in (0..=12).map(Height) {
            assert_eq!(reader.validators(height).unwrap(), (schedule.epoch_of(height), Arc::new(validators())));
        }
        let beyond = current.closing.unwrap().next();
        assert!(
            matches!(reader.validators(beyond), Err(ReadError::UnknownEpoch(epoch)) if epoch == current.epoch.next())
        );
        assert_eq!(node.restart().ledger.reader().current_epoch(), current);
    }
}

#[test]
fn validators_replaced_by_others_vote_from_the_next_epoch_on() {
    let (mut node, blocks) = turning_chain(2, 3);
    for restarted in [false, true] {
        if restarted {
            node = node.restart();
        }
        let reader = node.ledger.reader();
        for block in &blocks {
            let context = block.header.context().unwrap();
            assert_eq!(context.validators_hash, set_of(context.epoch.0).hash());
            assert_eq!(context.next_validators_hash, set_of(context.epoch.0 + 1).hash());
            let expected = (context.epoch, Arc::new(set_of(context.epoch.0)));
            assert_eq!(reader.validators(block.header.height()).unwrap(), expected);
        }
        assert_eq!(*reader.current_epoch().validators, set_of(3));
        for epoch in 0..3 {
            let handover = reader.handover(Epoch(epoch)).unwrap().unwrap();
            let closing = &blocks[usize::try_from(epoch * 2 + 1).unwrap()];
            assert_eq!((&handover.closing, &handover.finalization), (&closing.header, &finalization(closing)));
            assert_eq!(*handover.validators, set_of(epoch + 1));
        }
        assert_eq!(reader.handover(Epoch(3)).unwrap(), None);
    }
    // The fees of a block go to its proposer in the set of its own epoch.
    let view = u64::from(node.height()) + 1;
    let proposer = keys_of(3)[usize::try_from(view % 4).unwrap()].public().into();
    grow(&mut node, &[tx(0, 0, &client::transfer_keep_alive(proposer, 1_000_000_000))]);
    let account = cairn_runtime::account(&node.ledger.reader().state_at_head(), &proposer).unwrap();
    assert!(account.data.free > 1_000_000_000);
}

#[test]
fn nothing_stands_on_the_last_block_of_an_epoch_before_it_is_committed() {
    let (mut leader, mut node) = (Node::with_epochs(2), Node::with_epochs(2));
    let first = grow(&mut leader, &[]).block;
    let closing = leader.propose(leader.head(), 2, &[]);
    leader.certify(&closing);
    let request = leader.request(closing.header.hash(), 3);
    assert!(matches!(leader.ledger.propose(&request, &[]), Err(LedgerError::UnknownBlock(_))));
    let committed = leader.ledger.commit(&[closing.header.hash()], &finalization(&closing)).unwrap();
    assert!(committed[0].opens.is_some());
    assert!(matches!(
        leader.ledger.propose(&request, &[]),
        Err(LedgerError::WrongEpoch { asked: Epoch(0), running: Epoch(1) })
    ));
    let child = leader.propose(leader.head(), 3, &[]);

    for block in [&first, &closing] {
        node.certify(block);
    }
    assert_eq!(node.ledger.verify(&child).unwrap(), Verdict::NotYet);
    assert!(matches!(node.ledger.certify(&child), Err(LedgerError::UnknownBlock(_))));
    let committed = node.ledger.commit(&[first.header.hash(), closing.header.hash()], &finalization(&closing)).unwrap();
    assert_eq!(committed.iter().map(|block| block.opens.is_some()).collect::<Vec<_>>(), [false, true]);
    assert_eq!(node.ledger.verify(&child).unwrap(), Verdict::Valid);
    node.certify(&child);
}

#[test]
fn block_with_the_epoch_or_the_validators_of_another_is_invalid() {
    let (mut node, _) = turning_chain(2, 1);
    let block = node.propose(node.head(), 3, &[]);
    let old_set = with_context(&block, |context| context.validators_hash = set_of(0).hash());
    let old_epoch = with_context(&block, |context| context.epoch = Epoch(0));
    for (bad, part) in [(old_set, "validators hash"), (old_epoch, "epoch of the header is 0, expected 1")] {
        let verdict = node.ledger.verify(&Arc::new(bad)).unwrap();
        assert!(matches!(&verdict, Verdict::Invalid(reason) if reason.contains(part)), "{verdict:?}");
    }
}

#[test]
fn block_that_hides_a_change_of_validators_does_not_hold() {
    let mut node = Node::with_epochs(2);
    let block = node.propose(node.head(), 1, &[turnover(&node, 0)]);
    let hiding = with_context(&block, |context| context.next_validators_hash = set_of(0).hash());
    assert!(!node.ledger.certify(&Arc::new(hiding)).unwrap());
    assert!(node.ledger.certify(&block).unwrap());
}

/// What block sync hands over of an epoch: its blocks, the last one with the finalization.
fn range(blocks: &[Arc<Block>]) -> Vec<FinalizedBlock> {
    let (last, inner) = blocks.split_last().unwrap();
    inner.iter().map(covered).chain([finalized(last)]).collect()
}

#[test]
fn import_goes_from_epoch_to_epoch() {
    let (leader, blocks) = turning_chain(5, 3);
    let mut node = Node::with_epochs(5);
    for (epoch, part) in (1..).zip(blocks.chunks(5)) {
        let committed = node.ledger.import(&range(part)).unwrap();
        let opened: Vec<_> = committed.iter().filter_map(|block| Some(block.opens.as_ref()?.epoch)).collect();
        assert_eq!((committed.len(), opened), (5, vec![Epoch(epoch)]));
        assert_eq!(node.database.unsynced_count(), 0);
        // What was imported already changes nothing.
        assert_eq!(node.ledger.import(&range(part)).unwrap().len(), 0);
    }
    let (ours, theirs) = (node.ledger.reader(), leader.ledger.reader());
    assert_eq!((ours.head(), ours.current_epoch()), (theirs.head(), theirs.current_epoch()));
    for epoch in (0..3).map(Epoch) {
        assert_eq!(ours.handover(epoch).unwrap(), theirs.handover(epoch).unwrap());
    }
}

#[test]
fn import_past_the_end_of_an_epoch_or_without_its_finalization_commits_nothing() {
    let (_, blocks) = turning_chain(2, 2);
    let mut node = Node::with_epochs(2);
    let bare: Vec<_> = blocks[..2].iter().map(covered).collect();
    let refused = node.ledger.import(&bare).map(|committed| committed.len());
    assert!(matches!(refused, Err(LedgerError::UnprovedHandover { height: Height(2), .. })), "{refused:?}");
    let beyond: Vec<_> = blocks.iter().map(finalized).collect();
    let refused = node.ledger.import(&beyond).map(|committed| committed.len());
    assert!(matches!(refused, Err(LedgerError::UnknownBlock(_))), "{refused:?}");
    assert_eq!(node.height(), 0);
    assert_eq!(node.ledger.import(&range(&blocks[..2])).unwrap().len(), 2);
}

#[test]
fn light_client_walks_from_genesis_through_epochs_with_one_finalization_each() {
    let (node, _) = turning_chain(3, 6);
    let reader = node.ledger.reader();
    let schedule = EpochSchedule::new(3);
    let start = TrustAnchor::from_genesis(genesis().hash(), &genesis().block().header, validators()).unwrap();
    let mut anchor = start.clone().with_schedule(schedule);
    for epoch in 0..5 {
        let handover = reader.handover(Epoch(epoch)).unwrap().unwrap();
        assert!(handover.finalization.subject.view() > handover.closing.context().unwrap().view);
        let next = ValidatorSet::clone(&handover.validators);
        anchor = anchor.advance(handover.closing, &handover.finalization, next).unwrap();
    }
    assert_eq!((anchor.epoch(), anchor.validators()), (Epoch(5), &set_of(5)));
    let (header, finalization) = reader.finalization_for(Height(17)).unwrap().unwrap();
    assert!(anchor.verify_final(header.clone(), &finalization).is_ok());
    assert!(matches!(start.verify_final(header, &finalization), Err(LightError::Epoch { .. })));
}

/// Two epochs of two blocks and one block of a third, in commits of one block, of two, and an import.
fn live(ledger: &mut Ledger, blocks: &[Arc<Block>]) {
    let hash = |block: &Arc<Block>| block.header.hash();
    for block in &blocks[..2] {
        assert!(ledger.certify(block).unwrap());
    }
    ledger.commit(&[hash(&blocks[0]), hash(&blocks[1])], &finalization(&blocks[1])).unwrap();
    ledger.import(&range(&blocks[2..4])).unwrap();
    assert!(ledger.certify(&blocks[4]).unwrap());
    ledger.commit(&[hash(&blocks[4])], &finalization(&blocks[4])).unwrap();
}

#[test]
fn crash_at_any_write_around_a_boundary_opens_in_the_epoch_of_the_head() {
    let (mut leader, mut blocks) = turning_chain(2, 2);
    blocks.push(grow(&mut leader, &[]).block);
    let schedule = EpochSchedule::new(2);
    let recorder = Recorder::default();
    let states = recorder.states.clone();
    live(&mut open_with(Arc::new(recorder), HistoryMode::Archive, schedule), &blocks);
    let states = std::mem::take(&mut *states.lock().unwrap());
    // Genesis, three certifications, five commits; the rest are checkpoints.
    assert!(states.len() > 9, "{}", states.len());
    let mut opened = std::collections::BTreeSet::new();
    for (disk, durable) in &states {
        for crashed in crashes(disk) {
            let mut ledger = open_with(Arc::new(crashed), HistoryMode::Archive, schedule);
            let reader = ledger.reader();
            let (head, current) = (reader.head(), reader.current_epoch());
            assert!(head.height >= *durable);
            assert_eq!(current.epoch, schedule.epoch_of(head.height.next()));
            assert_eq!(*current.validators, set_of(current.epoch.0));
            assert_eq!(Some(current.opening.height), schedule.opening(current.epoch));
            for epoch in (0..current.epoch.0).map(Epoch) {
                assert_eq!(*reader.handover(epoch).unwrap().unwrap().validators, set_of(epoch.0 + 1));
            }
            assert_eq!(reader.handover(current.epoch).unwrap(), None);
            opened.insert(head.height.0);
            for part in blocks.chunks(2) {
                ledger.import(&range(part)).unwrap();
            }
            assert_eq!(ledger.reader().head(), leader.ledger.reader().head());
        }
    }
    assert_eq!(opened.into_iter().collect::<Vec<_>>(), (0..=5).collect::<Vec<_>>(), "every height was a crash site");
}

#[test]
fn schedule_without_length_never_leaves_the_first_epoch() {
    let mut node = Node::with_epochs(0);
    for _ in 0..3 {
        assert!(grow(&mut node, &[]).opens.is_none());
    }
    let current = node.ledger.reader().current_epoch();
    assert_eq!((current.epoch, current.closing, current.opening.height), (Epoch::ZERO, None, Height::ZERO));
    assert_eq!((current.opening.hash, current.opening.timestamp), (genesis().hash(), TimestampMs(START)));
    assert_eq!(node.ledger.reader().handover(Epoch::ZERO).unwrap(), None);
}
