//! What holds of every output, whatever the others do.

use super::world::{Question, WRONG_ROOT, World, own_index};
use crate::fixture::{GENESIS, set_in};
use cairn_consensus::{JournalRecord, Output};
use cairn_primitives::evidence::excludes;
use cairn_primitives::hash::blake2_256;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Hash, PublicKey, Subject, View, Vote, VoteKind};
use parity_scale_codec::Encode as _;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Outputs of one step. A greeting tells all open votes, an early message of each peer is taken when an epoch opens.
const OUTPUTS_MAX: usize = 512;

/// Certificates that are remembered as verified.
const CERTIFICATES_MAX: usize = 1 << 16;

/// Fetches at a time.
const FETCHES_MAX: usize = 16;

/// Looks at the outputs of a step and does what a driver does.
pub(super) fn outputs(world: &mut World, outputs: Vec<Output<PublicKey>>) {
    assert!(outputs.len() <= OUTPUTS_MAX, "{} outputs of one step", outputs.len());
    let (records, afterwards): (Vec<_>, Vec<_>) =
        outputs.into_iter().partition(|output| matches!(output, Output::Journal(_)));
    for output in records.into_iter().chain(afterwards) {
        carry_out(world, output);
    }
    let now = world.now();
    let state = world.node.state(now);
    assert!(!state.why.is_empty() && state.fetches <= FETCHES_MAX && state.quorum <= state.total_power);
    assert!(world.has_diverged || world.node.next_deadline().is_none_or(|deadline| deadline > now.monotonic_ms));
    let (early, bytes) = world.node.early();
    assert!(early <= 16 * 256 && bytes <= 16 << 20 && world.node.evidence().count() <= 8);
}

fn carry_out(world: &mut World, output: Output<PublicKey>) {
    match output {
        Output::Journal(record) => world.write(record),
        Output::Broadcast(message) | Output::Send { message, .. } => spoken(world, &message),
        Output::Propose { epoch, view, proposer, parent, timestamp, evidence } => {
            assert_eq!(Some(proposer), own_index(epoch), "a block in another's name");
            assert!(evidence.iter().all(|one| one.verify(&GENESIS).is_ok()));
            world.questions.push(Question::Propose { view, parent, timestamp, proposer });
        }
        Output::Verify { block, proposal, .. } => {
            assert_eq!(block.header.hash(), proposal.block);
            let hash = world.learn(&block);
            world.questions.push(Question::Verify(hash));
        }
        Output::Certify { hash, block } => {
            assert_eq!(world.learn(&block), hash);
            world.questions.push(Question::Certify(hash));
        }
        Output::Finalize { blocks, certificate } => finalized(world, &blocks, &certificate),
        Output::Evidence(evidence) => {
            evidence.verify(&GENESIS).expect("evidence proves something");
            assert!(!super::world::is_own(&evidence.offender()), "evidence against ourselves");
        }
        Output::Behind { certificate } => holds(&certificate),
        Output::Diverged { .. } => world.has_diverged = true,
        Output::VoteRefused { subject, refusal } => {
            panic!("the engine asked for a vote that its guard refused: {subject:?}, {refusal}")
        }
        Output::RecordLost { subject } => assert!(
            !world.own.contains_key(&(subject.epoch(), subject.view())) || !is_cast(world, &subject),
            "a vote that is on record is taken for lost"
        ),
        Output::ServeBlock { .. } | Output::Blame { .. } => {}
    }
}

fn is_cast(world: &World, subject: &Subject) -> bool {
    world.own.get(&(subject.epoch(), subject.view())).is_some_and(|votes| votes.contains(subject))
}

/// R6, R9, R10: what the guard signs. Votes leave only once they are here.
pub(super) fn own_vote(world: &mut World, record: &JournalRecord) {
    let JournalRecord::Vote(vote) = record else { return };
    let (epoch, view) = (vote.subject.epoch(), vote.subject.view());
    assert_eq!(Some(vote.signer), own_index(epoch), "a vote in another's name");
    let votes = world.own.entry((epoch, view)).or_default();
    if votes.contains(&vote.subject) {
        return;
    }
    for earlier in votes.iter() {
        assert!(!excludes(earlier, &vote.subject), "two votes that exclude each other: {earlier:?}, {vote:?}");
        let is_late = earlier.kind() == VoteKind::Nullify && vote.subject.kind() == VoteKind::Notarize;
        assert!(!is_late, "R6: a notarize vote after a nullify vote: {vote:?}");
    }
    votes.push(vote.subject);
    if let Subject::Finalize(proposal) = vote.subject {
        let is_committed = world.committed.iter().any(|head| head.hash == proposal.block);
        let is_certified = is_committed || world.certified.contains_key(&proposal.block);
        assert!(is_certified, "R9: a finalize vote for a block that was not certified: {vote:?}");
    }
}

/// R3, R5: all views between a proposal that we notarize and its parent are nullified, and the node holds the proof.
pub(super) fn ancestry(world: &World, record: &JournalRecord) {
    let JournalRecord::Vote(vote) = record else { return };
    let Subject::Notarize(proposal) = vote.subject else { return };
    let missing = (proposal.parent_view.next().0..proposal.view.0)
        .map(View)
        .find(|view| !world.nullified.contains(&(proposal.epoch, *view)));
    assert_eq!(missing, None, "R5: a vote for a proposal whose ancestry is not complete: {vote:?}");
}

/// Every vote that leaves is on record, every certificate holds.
fn spoken(world: &mut World, message: &ConsensusMessage) {
    let own = |world: &World, vote: &Vote| {
        if Some(vote.signer) == own_index(vote.subject.epoch()) {
            assert!(is_cast(world, &vote.subject), "a vote left before it was on record: {vote:?}");
        }
    };
    match message {
        ConsensusMessage::Vote(vote) => own(world, vote),
        ConsensusMessage::Proposal { proposal, block, vote } => {
            own(world, vote);
            assert_eq!((vote.subject, block.header.hash()), (Subject::Notarize(*proposal), proposal.block));
            world.learn(block);
            world.proposals.push(*proposal);
        }
        ConsensusMessage::Certificate(certificate) => holds(certificate),
        ConsensusMessage::Standing { entry, .. } => entry.iter().for_each(holds),
        ConsensusMessage::Block(block) => {
            world.learn(block);
        }
        ConsensusMessage::FetchCertificate { .. }
        | ConsensusMessage::FetchBlock(_)
        | ConsensusMessage::Probe { .. }
        | ConsensusMessage::Evidence(_) => {}
    }
}

/// A certificate that the node passes on or acts on holds; each is verified once.
fn holds(certificate: &Certificate) {
    thread_local! {
        static KNOWN: RefCell<BTreeSet<Hash>> = const { RefCell::new(BTreeSet::new()) };
    }
    let hash = certificate.using_encoded(blake2_256);
    KNOWN.with_borrow_mut(|known| {
        if known.contains(&hash) {
            return;
        }
        let set = set_in(certificate.subject.epoch());
        certificate.verify(&set, &GENESIS).expect("a certificate that is passed on holds");
        if known.len() >= CERTIFICATES_MAX {
            known.clear();
        }
        known.insert(hash);
    });
}

/// R14: blocks to commit continue the committed chain, each was certified, and the last is what the certificate is about.
fn finalized(world: &mut World, hashes: &[Hash], certificate: &Certificate) {
    holds(certificate);
    assert!(matches!(certificate.subject, Subject::Finalize(_)));
    assert_eq!(certificate.subject.proposal().map(|proposal| proposal.block), hashes.last().copied());
    let head = world.head();
    let mut parent = head.hash;
    for hash in hashes {
        let Some(block) = world.block(hash).cloned() else { panic!("a block that nobody ever had is to be committed") };
        if block.header.height() <= head.height {
            continue;
        }
        assert_eq!(block.header.parent_hash, parent, "a block that does not continue the chain");
        assert!(is_good(&block) && world.certified.contains_key(hash), "a block that was never certified");
        parent = *hash;
    }
    world.commit(hashes, certificate);
}

/// Whether a block executes to its roots.
pub(super) fn is_good(block: &Arc<Block>) -> bool {
    block.header.state_root != WRONG_ROOT
}
