//! What must hold after every step of a network over epochs, and what can be seen of it.

use super::epochs_network::Network;
use crate::{Consensus, JournalRecord};
use cairn_primitives::evidence::excludes;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{Epoch, PublicKey, Subject, Vote};

impl Network {
    /// One notarization a view, no nullification of a finalized view, among all certificates anybody ever held.
    pub(super) fn check_record(&mut self, record: &JournalRecord) {
        let JournalRecord::Certificate(certificate) = record else { return };
        let subject = certificate.subject;
        let (epoch, view) = (subject.epoch(), subject.view());
        let known = *self.certificates.entry((epoch, view, subject.kind() as u8)).or_insert(subject);
        assert_eq!(known, subject, "two certificates of one kind in view {view} of epoch {epoch}");
        let has = |kind: u8| self.certificates.contains_key(&(epoch, view, kind));
        assert!(!(has(1) && has(2)), "view {view} of epoch {epoch} is nullified and finalized");
    }

    /// Own votes leave only once they are in the record, by a member of the epoch's set, never two that exclude each other.
    pub(super) fn check_sent(&mut self, at: usize, message: &ConsensusMessage) {
        let (ConsensusMessage::Vote(vote) | ConsensusMessage::Proposal { vote, .. }) = message else { return };
        let set = self.script.set(vote.subject.epoch());
        let key = set.get(vote.signer).expect("only members of the epoch vote").key;
        assert!(self.keys_of(at).any(|own| own == key), "node {at} signs with a key of another node");
        let record = &self.nodes[at].disk.records[&key];
        assert!(record.contains(&JournalRecord::Vote(vote.clone())), "a vote was sent before it was synced");
        self.check_honest(key, vote);
    }

    fn check_honest(&mut self, key: PublicKey, vote: &Vote) {
        let place = (key, vote.subject.epoch(), vote.subject.view());
        let cast = self.votes.entry(place).or_default();
        assert!(cast.iter().all(|other| !excludes(other, &vote.subject)), "a key voted twice: {cast:?}, {vote:?}");
        if !cast.contains(&vote.subject) {
            cast.push(vote.subject);
        }
    }

    pub(super) fn keys_of(&self, at: usize) -> impl Iterator<Item = PublicKey> + '_ {
        self.nodes[at].keys.iter().map(|key| self.script.keys[*key].public())
    }

    /// What was voted for with a key in an epoch.
    pub(super) fn votes_of(&self, key: usize, epoch: u64) -> Vec<Subject> {
        let key = self.script.keys[key].public();
        let votes = self.votes.iter().filter(|((voter, at, _), _)| *voter == key && at.0 == epoch);
        votes.flat_map(|(_, votes)| votes.iter().copied()).collect()
    }

    pub(super) fn consensus(&self, at: usize) -> &Consensus {
        self.nodes[at].consensus.as_ref().unwrap()
    }

    pub(super) fn epoch(&self, at: usize) -> Epoch {
        self.consensus(at).epoch().epoch
    }

    pub(super) fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|at| self.is_up(*at))
    }

    pub(super) fn height_min(&self) -> u32 {
        self.up().map(|at| self.nodes[at].disk.height().0).min().unwrap()
    }

    pub(super) fn height_max(&self) -> u32 {
        self.nodes.iter().map(|node| node.disk.height().0).max().unwrap()
    }

    /// All that are up finalize so many more blocks than anybody has now.
    pub(super) fn assert_goes_on(&mut self, blocks: u32, within: u64) {
        let goal = self.height_max() + blocks;
        self.run_while(within, |network| network.height_min() < goal);
    }

    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for at in self.up() {
            let state = self.consensus(at).state(self.now(at));
            text += &format!(
                "\nnode {at}: height {} epoch {} view {} leader {} own {:?} finalized {} silence {:?} early {:?} votes {:?}: {}",
                self.nodes[at].disk.height(),
                state.epoch,
                state.view,
                state.leader,
                state.own_index,
                state.finalized_view,
                state.silence,
                self.consensus(at).early(),
                state.votes,
                state.waiting_for,
            );
        }
        text
    }
}
