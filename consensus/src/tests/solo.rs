//! One engine, with the test playing everybody else.

use super::fixture::{Fixture, WALL, nullify, place, proposal_of};
use crate::{Engine, EpochConfig, Head, Input, JournalRecord, Now, Offence, Output, Verdict};
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Block, Certificate, Hash, Proposal, Subject, TimestampMs, ValidatorIndex, Vote, VoteKind};
use std::sync::Arc;

/// One engine among four validators.
pub(super) struct Solo {
    pub(super) fixture: Fixture,
    pub(super) engine: Engine,
    pub(super) own: ValidatorIndex,
    pub(super) time: u64,
    pub(super) wall_skew: i64,
    /// Outputs of the last step.
    pub(super) last: Vec<Output>,
    /// Outputs of all steps.
    pub(super) all: Vec<Output>,
}

impl Solo {
    /// An engine that does not lead the first three views, started, with work, all peers connected.
    pub(super) fn follower() -> Self {
        Self::started(4)
    }

    /// An engine that leads view 1.
    pub(super) fn leader() -> Self {
        Self::started(1)
    }

    /// An engine that leads `view`, which is at most 4.
    pub(super) fn started(view: u64) -> Self {
        let mut solo = Self::unstarted(view);
        solo.start();
        solo
    }

    pub(super) fn unstarted(view: u64) -> Self {
        let fixture = Fixture::equal(4);
        let own = fixture.leader(view);
        let config = fixture.config(Some(own));
        Self::with(fixture, own, config)
    }

    pub(super) fn with(fixture: Fixture, own: ValidatorIndex, config: EpochConfig) -> Self {
        let engine = Engine::new(config).unwrap();
        Self { fixture, engine, own, time: 0, wall_skew: 0, last: Vec::new(), all: Vec::new() }
    }

    pub(super) fn start(&mut self) {
        self.connect();
        self.input(Input::WorkAvailable(true));
        self.input(Input::Start);
    }

    pub(super) fn connect(&mut self) {
        for index in self.others() {
            self.input(Input::Peer { validator: index, connected: true });
        }
    }

    /// The same validator after a restart with this journal.
    pub(super) fn restarted(&self, journal: impl IntoIterator<Item = JournalRecord>) -> Self {
        let journal: Vec<_> = journal.into_iter().collect();
        let guard = Some(self.fixture.guard(self.own, journal.clone()));
        let config = EpochConfig { guard, ..self.fixture.config(Some(self.own)) };
        let mut solo = Self::with(self.fixture.clone(), self.own, config);
        solo.time = self.time;
        for record in journal {
            solo.input(Input::Replay(record));
        }
        solo
    }

    pub(super) fn journal(&self) -> Vec<JournalRecord> {
        let records = self.all.iter().filter_map(|output| match output {
            Output::Journal(record) => Some(record.clone()),
            _ => None,
        });
        records.collect()
    }

    pub(super) fn others(&self) -> Vec<ValidatorIndex> {
        self.fixture.set.indices().filter(|index| *index != self.own).collect()
    }

    pub(super) fn now(&self) -> Now {
        let wall = (WALL + self.time).saturating_add_signed(self.wall_skew);
        Now { monotonic_ms: self.time, wall: TimestampMs(wall) }
    }

    pub(super) fn input(&mut self, input: Input) -> &[Output] {
        let now = self.now();
        self.last.clear();
        self.engine.step(now, input, &mut self.last);
        self.all.extend(self.last.iter().cloned());
        &self.last
    }

    /// Lets time pass, with a tick at every deadline; `last` holds what happened in all of it.
    pub(super) fn wait_until(&mut self, time: u64) {
        let before = self.all.len();
        while let Some(deadline) = self.engine.next_deadline().filter(|deadline| *deadline <= time) {
            self.time = deadline;
            self.input(Input::Tick);
        }
        self.time = time;
        self.input(Input::Tick);
        self.last = self.all[before..].to_vec();
    }

    pub(super) fn receive(&mut self, from: ValidatorIndex, message: ConsensusMessage) -> &[Output] {
        self.input(Input::Message { from, message })
    }

    pub(super) fn receive_vote(&mut self, signer: ValidatorIndex, subject: Subject) -> &[Output] {
        let vote = self.fixture.vote(signer, subject);
        self.receive(signer, ConsensusMessage::Vote(vote))
    }

    /// Votes of the first `count` others.
    pub(super) fn receive_votes(&mut self, count: usize, subject: Subject) {
        let before = self.all.len();
        for signer in self.others().into_iter().take(count) {
            self.receive_vote(signer, subject);
        }
        self.last = self.all[before..].to_vec();
    }

    pub(super) fn receive_certificate(&mut self, subject: Subject) -> &[Output] {
        let certificate = self.fixture.certificate_without(subject, Some(self.own));
        self.receive(self.others()[0], ConsensusMessage::Certificate(certificate))
    }

    /// A block for a view on a parent, its time the parent's plus one.
    pub(super) fn block(&self, view: u64, parent: &Head) -> Arc<Block> {
        self.fixture.block(view, parent, parent.timestamp.0 + 1, view)
    }

    /// Receives the leader's proposal of a block.
    pub(super) fn receive_proposal(&mut self, block: &Arc<Block>, parent_view: u64) -> Proposal {
        let proposal = proposal_of(block, parent_view);
        let message = self.fixture.proposal_message(proposal, block);
        self.receive(self.fixture.schedule.leader(proposal.view), message);
        proposal
    }

    pub(super) fn verified(&mut self, block: &Block, verdict: Verdict) -> &[Output] {
        self.input(Input::Verified { block: block.header.hash(), verdict })
    }

    pub(super) fn certified(&mut self, block: &Block, holds: bool) -> &[Output] {
        self.input(Input::Certified { block: block.header.hash(), holds })
    }

    /// Takes a view from proposal to certification on a parent: the engine is in the next view after it.
    pub(super) fn certify_view(&mut self, view: u64, parent: &Head) -> Arc<Block> {
        let block = self.block(view, parent);
        let proposal = self.receive_proposal(&block, parent.view.0);
        self.verified(&block, Verdict::Valid);
        self.receive_certificate(Subject::Notarize(proposal));
        self.certified(&block, true);
        assert_eq!(self.view(), view + 1);
        block
    }

    pub(super) fn view(&self) -> u64 {
        self.engine.view().0
    }

    pub(super) fn finalized_view(&self) -> u64 {
        self.engine.state(self.now()).finalized_view.0
    }

    /// Own votes that left in the last step.
    pub(super) fn votes(&self) -> Vec<Subject> {
        votes_in(&self.last, self.own)
    }

    /// Own votes that ever left.
    pub(super) fn votes_ever(&self) -> Vec<Subject> {
        votes_in(&self.all, self.own)
    }

    pub(super) fn has_nullified(&self, view: u64) -> bool {
        self.votes_ever().contains(&nullify(view))
    }

    /// Certificates fetched in the last step.
    pub(super) fn fetched(&self) -> Vec<(u64, VoteKind)> {
        let fetches = self.last.iter().filter_map(|output| match output {
            Output::Send { message: ConsensusMessage::FetchCertificate { kind, view, .. }, .. } => {
                Some((view.0, *kind))
            }
            _ => None,
        });
        fetches.collect()
    }

    /// Blocks fetched in the last step.
    pub(super) fn fetched_blocks(&self) -> Vec<Hash> {
        let fetches = self.last.iter().filter_map(|output| match output {
            Output::Send { message: ConsensusMessage::FetchBlock(hash), .. } => Some(*hash),
            _ => None,
        });
        fetches.collect()
    }

    /// Blocks sent to be verified in the last step.
    pub(super) fn verifying(&self) -> Vec<Hash> {
        let asked = self.last.iter().filter_map(|output| match output {
            Output::Verify { proposal, .. } => Some(proposal.block),
            _ => None,
        });
        asked.collect()
    }

    /// Blocks sent to be certified in the last step.
    pub(super) fn certifying(&self) -> Vec<Hash> {
        let asked = self.last.iter().filter_map(|output| match output {
            Output::Certify { hash, .. } => Some(*hash),
            _ => None,
        });
        asked.collect()
    }

    /// Parents of the blocks asked for in the last step.
    pub(super) fn proposing(&self) -> Vec<Hash> {
        let asked = self.last.iter().filter_map(|output| match output {
            Output::Propose { parent, .. } => Some(*parent),
            _ => None,
        });
        asked.collect()
    }

    /// Blocks committed in the last step.
    pub(super) fn finalizing(&self) -> Vec<Hash> {
        let commits = self.last.iter().filter_map(|output| match output {
            Output::Finalize { blocks, .. } => Some(blocks.clone()),
            _ => None,
        });
        commits.flatten().collect()
    }

    /// Certificates sent in the last step, with their addressees.
    pub(super) fn certificates_sent(&self) -> Vec<(ValidatorIndex, Subject)> {
        let sent = self.last.iter().filter_map(|output| match output {
            Output::Send { to, message: ConsensusMessage::Certificate(certificate) } => {
                Some((*to, certificate.subject))
            }
            _ => None,
        });
        sent.collect()
    }

    pub(super) fn blamed(&self) -> Vec<Offence> {
        let blames = self.last.iter().filter_map(|output| match output {
            Output::Blame { offence, .. } => Some(*offence),
            _ => None,
        });
        blames.collect()
    }

    pub(super) fn evidence_count(&self) -> usize {
        self.all.iter().filter(|output| matches!(output, Output::Evidence(_))).count()
    }
}

fn votes_in(outputs: &[Output], own: ValidatorIndex) -> Vec<Subject> {
    let votes = outputs.iter().filter_map(|output| match output {
        Output::Broadcast(ConsensusMessage::Vote(vote) | ConsensusMessage::Proposal { vote, .. }) => Some(vote),
        _ => None,
    });
    votes.filter(|vote| vote.signer == own).map(|vote| vote.subject).collect()
}

pub(super) const fn notarize(proposal: Proposal) -> Subject {
    Subject::Notarize(proposal)
}

pub(super) const fn finalize(proposal: Proposal) -> Subject {
    Subject::Finalize(proposal)
}

pub(super) fn forged(mut vote: Vote) -> Vote {
    vote.signature.0[0] ^= 1;
    vote
}

pub(super) fn certificate_message(certificate: Certificate) -> ConsensusMessage {
    ConsensusMessage::Certificate(certificate)
}

pub(super) fn place_of(block: &Block) -> Head {
    place(block)
}
