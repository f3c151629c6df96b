//! Validators that break the rules, one behaviour a file.
//!
//! A villain is a whole node with its own key whose messages pass through a [`Villain`]: it sees what its engine wants to
//! send and everything that reaches it, and decides what leaves. So it stays in step with the network and can do harm at
//! the right moment. It cannot sign for others.

use crate::plan::Machine;
use crate::rng::Rng;
use crate::setup::Setup;
use cairn_primitives::message::{ConsensusMessage, StateResponse, SyncResponse};
use cairn_primitives::{Block, Hash, KeyPair, Proposal, Subject, ValidatorIndex, ValidatorSet, Vote};
use std::sync::Arc;

mod contradictor;
mod double_voter;
mod equivocator;
mod forger;
mod invalid_root;
mod liar;
mod mutator;
mod mute;
mod replayer;
mod selective;
mod withholder;

/// How a validator breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// As leader it proposes two blocks, each to a part of the validators.
    Equivocator,
    /// It votes for other blocks, too.
    DoubleVoter,
    /// It finalizes and nullifies the same views.
    Contradictor,
    /// It keeps votes, proposals or certificates back.
    Withholder,
    /// It speaks to a part of the validators.
    Selective,
    /// It sends old messages again.
    Replayer,
    /// It makes up signatures, certificates and signers.
    Forger,
    /// It lies about its finalized blocks.
    Liar,
    /// It proposes blocks that do not execute to their roots.
    InvalidRoot,
    /// It runs on two machines that do not know of each other.
    Twin,
    /// It says nothing.
    Mute,
    /// It changes bytes of what it sends.
    Mutator,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Equivocator,
        Self::DoubleVoter,
        Self::Contradictor,
        Self::Withholder,
        Self::Selective,
        Self::Replayer,
        Self::Forger,
        Self::Liar,
        Self::InvalidRoot,
        Self::Twin,
        Self::Mute,
        Self::Mutator,
    ];
}

/// A message to one machine.
pub(crate) type Parcel = (Machine, Arc<ConsensusMessage>);

/// What a villain works with.
pub(crate) struct Stage<'a> {
    pub(crate) setup: &'a Setup,
    pub(crate) rng: &'a mut Rng,
    pub(crate) key: &'a KeyPair,
    pub(crate) index: ValidatorIndex,
    /// The validators of the epoch.
    pub(crate) set: &'a ValidatorSet,
    /// The machines of the other validators that can be reached.
    pub(crate) others: &'a [Machine],
}

impl Stage<'_> {
    /// A vote with the villain's own key.
    pub(crate) fn vote(&self, subject: Subject) -> Arc<ConsensusMessage> {
        Arc::new(ConsensusMessage::Vote(self.sign(subject)))
    }

    /// Signs with the villain's own key.
    pub(crate) fn sign(&self, subject: Subject) -> Vote {
        Vote::sign(subject, self.index, self.key, &self.setup.genesis.hash())
    }

    /// A proposal of a block with the villain's own vote.
    pub(crate) fn proposal(&self, like: &Proposal, block: Arc<Block>) -> Arc<ConsensusMessage> {
        let proposal = Proposal { block: block.header.hash(), ..*like };
        let vote = self.sign(Subject::Notarize(proposal));
        Arc::new(ConsensusMessage::Proposal { proposal, block, vote })
    }

    /// A hash that is nobody's.
    pub(crate) fn hash(&mut self) -> Hash {
        let mut bytes = [0; 32];
        for part in bytes.chunks_mut(8) {
            part.copy_from_slice(&self.rng.next().to_le_bytes());
        }
        Hash(bytes)
    }
}

/// A behaviour.
pub(crate) trait Villain {
    /// The node wants to send `message` to the machines `to`; what is put into `out` leaves instead.
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let _ = stage;
        honestly(to, message, out);
    }

    /// A message reached the node, which sees it, too.
    fn receive(&mut self, stage: &mut Stage<'_>, message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        let _ = (stage, message, out);
    }

    /// The node answers a question of block sync; what is returned is sent instead, if anything.
    fn answer(&mut self, stage: &mut Stage<'_>, response: SyncResponse) -> Option<SyncResponse> {
        let _ = stage;
        Some(response)
    }

    /// The node answers a question of snapshot sync; what is returned is sent instead, if anything.
    fn answer_state(&mut self, stage: &mut Stage<'_>, response: StateResponse) -> Option<StateResponse> {
        let _ = stage;
        Some(response)
    }

    /// The ledger built a second block for the view that it is about to propose in.
    fn alternative(&mut self, block: Arc<Block>) {
        drop(block);
    }
}

/// What an honest node does.
pub(crate) fn honestly(to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
    out.extend(to.iter().map(|to| (*to, message.clone())));
}

/// The behaviour of a kind; `None` for a twin, whose machines each follow the rules.
pub(crate) fn behaviour(kind: Kind) -> Option<Box<dyn Villain>> {
    Some(match kind {
        Kind::Equivocator => Box::new(equivocator::Equivocator::default()),
        Kind::DoubleVoter => Box::new(double_voter::DoubleVoter::default()),
        Kind::Contradictor => Box::new(contradictor::Contradictor::default()),
        Kind::Withholder => Box::new(withholder::Withholder),
        Kind::Selective => Box::new(selective::Selective),
        Kind::Replayer => Box::new(replayer::Replayer::default()),
        Kind::Forger => Box::new(forger::Forger::default()),
        Kind::Liar => Box::new(liar::Liar),
        Kind::InvalidRoot => Box::new(invalid_root::InvalidRoot),
        Kind::Mute => Box::new(mute::Mute),
        Kind::Mutator => Box::new(mutator::Mutator),
        Kind::Twin => return None,
    })
}
