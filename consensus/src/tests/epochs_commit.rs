//! The ledgers of a network over epochs: building, committing, and block sync.

use super::epochs_network::{Answer, Event, Network};
use super::fixture::{GENESIS, place};
use crate::{Head, Input};
use cairn_primitives::{Block, Certificate, Epoch, Hash};
use std::sync::Arc;

/// How often a node that does not vote looks for blocks.
const OBSERVERS_POLL_MS: u64 = 50;

impl Network {
    /// The place of a parent that the ledger can build on. On a closing block only once it is committed.
    pub(super) fn parent(&self, at: usize, parent: &Hash, epoch: Epoch) -> Head {
        let node = &self.nodes[at];
        let committed = node.disk.committed.iter().find(|(head, _)| head.hash == *parent).map(|(head, _)| *head);
        let executed = || node.executed.contains(parent).then(|| place(&node.disk.blocks[parent]));
        let parent = committed.or_else(executed).expect("the ledger has executed the parent");
        assert_eq!(self.script.schedule.epoch_of(parent.height.next()), epoch, "a block on {parent:?}");
        assert!(committed.is_some() || !self.script.is_closing(parent.height), "nothing is built on a closing block");
        parent
    }

    pub(super) fn commit(&mut self, at: usize, blocks: &[Hash], certificate: &Certificate) {
        let set = self.script.set(certificate.subject.epoch());
        certificate.verify(&set, &GENESIS).unwrap();
        assert_eq!(certificate.subject.proposal().unwrap().block, *blocks.last().unwrap());
        for hash in blocks {
            let block = self.nodes[at].disk.kept(hash).expect("what is committed was certified");
            let is_last = hash == blocks.last().unwrap();
            self.commit_block(at, &block, is_last.then(|| certificate.clone()));
        }
        let view = certificate.subject.view();
        let epoch = certificate.subject.epoch();
        self.nodes[at].disk.journal.retain(|record| record.epoch() != epoch || record.view() > view);
    }

    /// Agreement and ancestry: every commit extends the node's own chain and agrees with everybody else's.
    fn commit_block(&mut self, at: usize, block: &Arc<Block>, finalization: Option<Certificate>) {
        let place = place(block);
        let agreed = *self.finalized.entry(place.height).or_insert(place.hash);
        assert_eq!(agreed, place.hash, "agreement at height {}", place.height);
        let disk = &mut self.nodes[at].disk;
        let head = disk.committed.last().unwrap().0;
        if place.height <= head.height {
            return; // Block sync was faster.
        }
        assert_eq!((block.header.parent_hash, place.height), (head.hash, head.height.next()), "ancestry");
        disk.keep_block(block);
        disk.committed.push((place, finalization.clone()));
        if let Some(start) = self.script.opened_by(&place) {
            let finalization = finalization.expect("a closing block comes with its own finalization");
            self.answer_in_order(at, Answer::Open(start, finalization));
        }
    }

    /// The ledger is one thread: what it tells of commits comes at once, in order.
    pub(super) fn answer_in_order(&mut self, at: usize, answer: Answer) {
        let life = self.nodes[at].life;
        self.schedule(0, Event::Answer { node: at, life, answer: Box::new(answer) });
    }

    /// Looks for committed blocks at others: always by who does not vote, by members as often as the test says.
    pub(super) fn poll(&mut self, at: usize, life: u64) {
        let consensus = self.nodes[at].consensus.as_ref().unwrap();
        let is_member = consensus.guard().is_some();
        if !is_member || self.members_poll_ms.is_some() {
            self.sync(at);
        }
        let pause = if is_member { self.members_poll_ms.unwrap_or(OBSERVERS_POLL_MS) } else { OBSERVERS_POLL_MS };
        self.schedule(pause, Event::Poll { node: at, life });
    }

    /// Block sync as the node would do it: from any other that is up and further on, all at once.
    pub(super) fn sync(&mut self, at: usize) {
        let height = self.nodes[at].disk.height();
        let server = (0..self.nodes.len()).find(|other| {
            let is_in_reach = self.is_up(*other) && self.can_talk(at, *other);
            is_in_reach && self.nodes[*other].disk.finalized_height() > height
        });
        let Some(server) = server else { return };
        self.nodes[at].is_synced = true;
        let disk = &self.nodes[server].disk;
        let until = disk.finalized_height();
        let new = disk.committed.iter().filter(|(head, _)| head.height > height && head.height <= until);
        let new: Vec<_> =
            new.map(|(head, finalization)| (disk.kept(&head.hash).unwrap(), finalization.clone())).collect();
        for (block, finalization) in &new {
            self.commit_block(at, block, finalization.clone());
        }
        let (block, finalization) = new.last().cloned().unwrap();
        let (head, certificate) = (place(&block), finalization.unwrap());
        let input = Input::CommittedElsewhere { height: head.height, timestamp: head.timestamp, certificate };
        self.answer_in_order(at, Answer::Input(input));
    }
}
