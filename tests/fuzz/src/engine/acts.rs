//! What the bytes make happen.

use super::check::is_good;
use super::world::{Question, WRONG_ROOT, World, is_own};
use crate::draw::Draw;
use crate::fixture::{certificate, keys, places_in, set_in, vote};
use cairn_consensus::{Input, Verdict};
use cairn_primitives::codec::decode_strict;
use cairn_primitives::message::{CONSENSUS_MESSAGE_BYTES_MAX, ConsensusMessage};
use cairn_primitives::{
    Block, Certificate, ConsensusContext, Epoch, Evidence, Hash, Header, Height, OpaqueExtrinsic, Proposal, PublicKey,
    Subject, TimestampMs, ValidatorIndex, View, VoteKind,
};
use std::sync::Arc;

/// The most bytes of a message that is made of the fuzzer's bytes.
const RAW_BYTES_MAX: usize = 200;

pub(super) fn act(world: &mut World, draw: &mut Draw<'_>) {
    match draw.below(16) {
        0 | 1 => propose(world, draw),
        2 | 3 => cast(world, draw),
        4 | 5 => certify(world, draw),
        6 => {
            if let Some((from, message)) = draw.pick(&world.sent.clone()).cloned() {
                world.receive(from, message);
            }
        }
        7 | 8 => pass_time(world, draw),
        9 | 10 => answer(world, draw),
        11 => crash(world, draw),
        12 => {
            let key = other(world, draw);
            world.peer(key, draw.happens());
        }
        13 => ask(world, draw),
        14 => raw(world, draw),
        _ => match draw.below(4) {
            0 => world.step(Input::WorkAvailable(draw.happens())),
            1 => sync(world, draw),
            2 => accuse(world, draw),
            _ if !world.is_started => world.start(),
            _ => world.step(Input::Tick),
        },
    }
}

/// The key of another validator of the present epoch, or of anybody.
fn other(world: &World, draw: &mut Draw<'_>) -> PublicKey {
    let places = places_in(world.epoch());
    let place = places.get(draw.below(5)).copied().unwrap_or_else(|| draw.below(8));
    keys()[if place == 0 { places[3] } else { place }].public()
}

/// A view near the present one.
fn near(world: &World, draw: &mut Draw<'_>) -> View {
    let view = world.view().0;
    View(match draw.below(8) {
        0..=3 => view,
        4 => view.saturating_add(1),
        5 => view.saturating_sub(1),
        6 => view.saturating_sub(2).saturating_add(u64::from(draw.byte() & 7)),
        _ => view.saturating_add(u64::from(draw.u16())),
    })
}

fn epoch(world: &World, draw: &mut Draw<'_>) -> Epoch {
    let epoch = world.epoch();
    match draw.below(12) {
        10 => epoch.next(),
        11 => Epoch(epoch.0.saturating_sub(1)),
        _ => epoch,
    }
}

/// A parent: the committed head, or any block that somebody made.
fn parent(world: &World, draw: &mut Draw<'_>) -> (Hash, Height, View, TimestampMs) {
    let head = world.head();
    let view = if world.node.epoch().opening.hash == head.hash { View(0) } else { head.view };
    let committed = (head.hash, head.height, view, head.timestamp);
    if draw.below(3) == 0 {
        return committed;
    }
    // The newest first: zero means the last one.
    let newest = world.blocks.len().checked_sub(1 + draw.below(4)).and_then(|place| world.blocks.get(place));
    let Some((hash, block)) = newest else { return committed };
    let Ok(context) = block.header.context() else { return committed };
    (*hash, block.header.height(), context.view, context.timestamp)
}

fn make_block(world: &mut World, draw: &mut Draw<'_>, view: View, proposer: ValidatorIndex) -> (Arc<Block>, View) {
    let (parent, height, parent_view, timestamp) = parent(world, draw);
    let flaws = draw.byte();
    let epoch = world.epoch();
    let later = if flaws & 3 == 3 { u64::from(draw.u16()) } else { 1 };
    let context = ConsensusContext {
        protocol_version: 1,
        epoch,
        view,
        proposer,
        timestamp: TimestampMs(timestamp.0.saturating_add(later)),
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: set_in(epoch).hash(),
        next_validators_hash: set_in(epoch).hash(),
    };
    let root = if flaws & 12 == 12 { WRONG_ROOT } else { Hash([1; 32]) };
    let header = Header::new(parent, height.next(), root, Hash::ZERO, &context);
    let mut block = Block { header, extrinsics: vec![OpaqueExtrinsic::new(vec![flaws & 0xf0])].into() };
    if flaws & 0x30 != 0x30 {
        block.header.extrinsics_root = block.extrinsics_root();
    }
    let block = Arc::new(block);
    world.learn(&block);
    (block, parent_view)
}

/// A proposal, mostly by the leader of the present view.
fn propose(world: &mut World, draw: &mut Draw<'_>) {
    let view = near(world, draw);
    let set = set_in(world.epoch());
    let leader = match draw.below(4) {
        0..=2 => world.leader(),
        _ => ValidatorIndex(u16::from(draw.byte() & 3)),
    };
    let Some(key) = set.get(leader).map(|validator| validator.key).filter(|key| !is_own(key)) else { return };
    let (block, parent_view) = make_block(world, draw, view, leader);
    let proposal = Proposal { epoch: world.epoch(), view, parent_view, block: block.header.hash() };
    let place = keys().iter().position(|known| known.public() == key).unwrap_or(1);
    let Some(vote) = vote(&set, Subject::Notarize(proposal), place) else { return };
    world.proposals.push(proposal);
    world.receive(key, ConsensusMessage::Proposal { proposal, block, vote });
}

/// Something to vote for: a proposal that somebody made, one in another view, or a nullification.
fn subject(world: &World, draw: &mut Draw<'_>) -> Subject {
    let (kind, epoch) = (draw.below(3), epoch(world, draw));
    let newest = world.proposals.len().checked_sub(1 + draw.below(4)).and_then(|place| world.proposals.get(place));
    let mut proposal = match newest {
        Some(proposal) => *proposal,
        None => Proposal { epoch, view: near(world, draw), parent_view: View(0), block: Hash([draw.byte(); 32]) },
    };
    if draw.below(8) == 7 {
        proposal = Proposal { view: near(world, draw), epoch, ..proposal };
    }
    match kind {
        0 => Subject::Notarize(proposal),
        1 => Subject::Finalize(proposal),
        _ => Subject::Nullify { epoch, view: near(world, draw) },
    }
}

/// A vote; sometimes wrongly signed, or sent by another than its signer.
fn cast(world: &mut World, draw: &mut Draw<'_>) {
    let subject = subject(world, draw);
    let set = set_in(subject.epoch());
    let from = other(world, draw);
    let place = keys().iter().position(|known| known.public() == from).unwrap_or(1);
    let Some(mut vote) = vote(&set, subject, place) else { return };
    match draw.below(16) {
        14 => vote.signature.0[0] ^= 1,
        15 => vote.signer = ValidatorIndex(u16::from(draw.byte() & 7)),
        _ => {}
    }
    world.receive(from, ConsensusMessage::Vote(vote));
}

/// The signature of ours is at hand only for what we signed.
fn signed_by(world: &World, subject: Subject, mask: u8) -> Certificate {
    let has_signed = world.own.get(&(subject.epoch(), subject.view())).is_some_and(|votes| votes.contains(&subject));
    let places = places_in(subject.epoch()).iter().zip(0u8..).filter(|(place, bit)| {
        let is_there = mask & (1 << bit) == 0;
        is_there && (**place != 0 || has_signed)
    });
    certificate(&set_in(subject.epoch()), subject, places.map(|(place, _)| *place))
}

fn certify(world: &mut World, draw: &mut Draw<'_>) {
    let subject = subject(world, draw);
    let certificate = signed_by(world, subject, draw.byte() & if draw.below(8) == 7 { 15 } else { 0 });
    let from = other(world, draw);
    world.receive(from, ConsensusMessage::Certificate(certificate));
}

fn pass_time(world: &mut World, draw: &mut Draw<'_>) {
    match draw.below(8) {
        0..=3 => world.time = world.node.next_deadline().map_or(world.time, |deadline| deadline.max(world.time)),
        4 | 5 => world.time = world.time.saturating_add(u64::from(draw.byte())),
        6 => world.time = world.time.saturating_add(u64::from(draw.u16())),
        _ => world.skew = i64::from(draw.u16()).saturating_mul(if draw.happens() { 16 } else { -16 }),
    }
    world.step(Input::Tick);
}

/// The ledger answers one of its questions.
fn answer(world: &mut World, draw: &mut Draw<'_>) {
    let place = draw.below(world.questions.len());
    if place >= world.questions.len() {
        return;
    }
    match world.questions.remove(place) {
        Question::OpenEpoch(start, finalization) => world.open_epoch(start, finalization),
        Question::Certify(hash) => {
            let Some(block) = world.block(&hash).cloned() else { return };
            let holds = is_good(&block);
            if holds && block.header.height() > world.head().height {
                world.certified.insert(hash, block);
            }
            world.step(Input::Certified { block: hash, holds });
        }
        Question::Verify(hash) => {
            let verdict = match draw.below(6) {
                4 => Verdict::Invalid("because".into()),
                5 => Verdict::NotYet { retry_ms: u64::from(draw.byte()) },
                _ => Verdict::Valid,
            };
            world.step(Input::Verified { block: hash, verdict });
        }
        Question::Propose { view, parent, timestamp, proposer } => {
            let block = build(world, draw, view, parent, timestamp, proposer);
            world.step(Input::Proposed { view, block });
        }
    }
}

fn build(
    world: &mut World,
    draw: &mut Draw<'_>,
    view: View,
    parent: Hash,
    timestamp: TimestampMs,
    proposer: ValidatorIndex,
) -> Option<Arc<Block>> {
    if draw.below(8) == 7 {
        return None;
    }
    let head = world.head();
    let height = if parent == head.hash { head.height } else { world.block(&parent)?.header.height() };
    let epoch = world.epoch();
    let context = ConsensusContext {
        protocol_version: 1,
        epoch,
        view,
        proposer,
        timestamp,
        events_root: Hash::ZERO,
        history_root: Hash::ZERO,
        validators_hash: set_in(epoch).hash(),
        next_validators_hash: set_in(epoch).hash(),
    };
    let header = Header::new(parent, height.next(), Hash([1; 32]), Hash::ZERO, &context);
    let mut block = Block { header, extrinsics: vec![OpaqueExtrinsic::new(vec![1])].into() };
    block.header.extrinsics_root = block.extrinsics_root();
    let block = Arc::new(block);
    world.learn(&block);
    Some(block)
}

/// Now, or in the middle of the next step.
fn crash(world: &mut World, draw: &mut Draw<'_>) {
    match draw.below(4) {
        0 => world.restart(0),
        1 => world.restart(draw.below(256)),
        _ => {
            world.doom = Some(draw.below(6));
            return;
        }
    }
    if draw.happens() {
        world.start();
    }
}

/// Questions of others.
fn ask(world: &mut World, draw: &mut Draw<'_>) {
    let (from, epoch, view) = (other(world, draw), epoch(world, draw), near(world, draw));
    let message = match draw.below(4) {
        0 => {
            let kind = [VoteKind::Notarize, VoteKind::Nullify, VoteKind::Finalize][draw.below(3)];
            ConsensusMessage::FetchCertificate { kind, epoch, view }
        }
        1 => ConsensusMessage::FetchBlock(draw.pick(&world.blocks).map_or(Hash::ZERO, |(hash, _)| *hash)),
        2 => ConsensusMessage::Probe { epoch },
        _ => match draw.pick(&world.blocks).cloned() {
            Some((_, block)) => ConsensusMessage::Block(block),
            None => {
                let subject = subject(world, draw);
                ConsensusMessage::Standing { epoch, view, entry: Some(signed_by(world, subject, 0)) }
            }
        },
    };
    world.receive(from, message);
}

/// Bytes as they are.
fn raw(world: &mut World, draw: &mut Draw<'_>) {
    let from = other(world, draw);
    let length = draw.below(RAW_BYTES_MAX);
    let bytes = draw.take(length);
    if let Ok(message) = decode_strict("consensus message", bytes, CONSENSUS_MESSAGE_BYTES_MAX) {
        world.receive(from, message);
    }
}

/// Two votes of another validator that exclude each other, or do not.
fn accuse(world: &mut World, draw: &mut Draw<'_>) {
    let (first, second) = (subject(world, draw), subject(world, draw));
    let from = other(world, draw);
    let place = keys().iter().position(|known| known.public() == from).unwrap_or(1);
    let (set, again) = (set_in(first.epoch()), set_in(second.epoch()));
    let Some((first, second)) = vote(&set, first, place).zip(vote(&again, second, place)) else { return };
    if let Some(evidence) = Evidence::new(from, &first, &second) {
        world.receive(from, ConsensusMessage::Evidence(Box::new(evidence)));
    }
}

/// Block sync brings the next block, with a finalization by the others.
fn sync(world: &mut World, draw: &mut Draw<'_>) {
    let head = world.head();
    let is_next = |block: &Arc<Block>| block.header.parent_hash == head.hash && is_good(block);
    let next: Vec<_> = world.blocks.iter().filter(|(_, block)| is_next(block)).cloned().collect();
    let Some((hash, block)) = draw.pick(&next).cloned() else { return };
    let Ok(context) = block.header.context() else { return };
    if context.epoch != world.epoch() || world.questions.iter().any(|one| matches!(one, Question::OpenEpoch(..))) {
        return;
    }
    let parent_view = if context.view.0 > head.view.0 { head.view } else { View(0) };
    let proposal = Proposal { epoch: context.epoch, view: context.view, parent_view, block: hash };
    let certificate = signed_by(world, Subject::Finalize(proposal), 0);
    if certificate.check_quorum(&set_in(context.epoch)).is_err() || block.header.height() != head.height.next() {
        return;
    }
    world.commit(&[hash], &certificate);
    let (height, timestamp) = (block.header.height(), context.timestamp);
    world.step(Input::CommittedElsewhere { height, timestamp, certificate });
}
