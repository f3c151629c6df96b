//! Makes things up: votes in others' names, wrong signatures, certificates that lack a quorum or name signers twice,
//! questions about views and blocks that do not exist, messages of far views and other epochs.

use super::{Parcel, Stage, Villain};
use crate::plan::Machine;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Certificate, Epoch, Proposal, Signature, Subject, ValidatorIndex, View, Vote, VoteKind};
use std::sync::Arc;

/// How often something forged goes along, of a hundred.
const FORGED_PERCENT: u64 = 40;

#[derive(Default)]
pub(super) struct Forger {
    last: Option<Subject>,
}

impl Forger {
    fn subject(&self, stage: &mut Stage<'_>) -> Subject {
        let last = self.last.unwrap_or(Subject::Nullify { epoch: Epoch::ZERO, view: View(1) });
        let view = match stage.rng.below(4) {
            0 => View(last.view().0 + stage.rng.below(3)),
            1 => View(stage.rng.below(1 << 20)),
            2 => View(u64::MAX),
            _ => last.view(),
        };
        let epoch = if stage.rng.percent(80) { last.epoch() } else { Epoch(stage.rng.below(3)) };
        let block = last.proposal().map_or_else(|| stage.hash(), |proposal| proposal.block);
        let proposal = Proposal { epoch, view, parent_view: view.previous(), block };
        match stage.rng.below(3) {
            0 => Subject::Notarize(proposal),
            1 => Subject::Nullify { epoch, view },
            _ => Subject::Finalize(proposal),
        }
    }

    fn certificate(stage: &mut Stage<'_>, subject: Subject) -> Certificate {
        let set = stage.set;
        let own = stage.sign(subject).signature;
        let mut signatures = Vec::new();
        for index in set.indices() {
            match stage.rng.below(4) {
                // Its own signature in the names of others.
                0 => signatures.push((index, own)),
                1 => signatures.push((index, garbage(stage))),
                2 if index == stage.index => signatures.push((index, own)),
                _ => {}
            }
        }
        Certificate::from_signatures(subject, signatures, set)
    }

    fn forge(&self, stage: &mut Stage<'_>) -> ConsensusMessage {
        let subject = self.subject(stage);
        match stage.rng.below(7) {
            0 => {
                let signer = ValidatorIndex(u16::try_from(stage.rng.below(20)).expect("a small number"));
                ConsensusMessage::Vote(Vote { signer, ..stage.sign(subject) })
            }
            1 => ConsensusMessage::Vote(Vote { subject, signer: stage.index, signature: garbage(stage) }),
            2 | 3 => ConsensusMessage::Certificate(Self::certificate(stage, subject)),
            4 => ConsensusMessage::FetchBlock(stage.hash()),
            5 => {
                let kind = *stage.rng.pick(&[VoteKind::Notarize, VoteKind::Nullify, VoteKind::Finalize]);
                ConsensusMessage::FetchCertificate { kind, epoch: subject.epoch(), view: subject.view() }
            }
            _ => ConsensusMessage::Vote(stage.sign(subject)),
        }
    }
}

fn garbage(stage: &mut Stage<'_>) -> Signature {
    let mut bytes = [0; 64];
    for part in bytes.chunks_mut(8) {
        part.copy_from_slice(&stage.rng.next().to_le_bytes());
    }
    Signature(bytes)
}

impl Villain for Forger {
    fn send(&mut self, stage: &mut Stage<'_>, to: &[Machine], message: &Arc<ConsensusMessage>, out: &mut Vec<Parcel>) {
        super::honestly(to, message, out);
        if let ConsensusMessage::Vote(vote) = &**message {
            self.last = Some(vote.subject);
        }
        if stage.rng.percent(FORGED_PERCENT) {
            let forged = Arc::new(self.forge(stage));
            for to in stage.others {
                if stage.rng.percent(50) {
                    out.push((*to, forged.clone()));
                }
            }
        }
    }
}
