//! What nodes ask for: messages on their way, gossip, answers, and what the checker must know.

use super::{Event, World};
use crate::check::Failure;
use crate::node::{Effect, Fact};
use crate::plan::Machine;
use crate::villain::{Parcel, Stage};
use crate::wire::Wire;
use cairn_primitives::message::{ConsensusMessage, StateResponse, SyncResponse};
use cairn_primitives::{KeyPair, PublicKey};
use std::collections::BTreeSet;
use std::sync::Arc;

/// To how many peers gossip is passed on.
const FORWARDED_TO: usize = 3;

impl World {
    pub(super) fn carry_out(&mut self, at: Machine, spoken_after_ms: u64, effects: Vec<Effect>) -> Result<(), Failure> {
        for effect in effects {
            match effect {
                Effect::Broadcast(message) => {
                    let to = self.others_of_epoch(at);
                    self.speak(at, spoken_after_ms, &to, &message)?;
                }
                Effect::Send { to, message } => {
                    let mut to = self.machines_with_keys(|key| key == to);
                    to.retain(|to| self.hosts[at].reachable.contains(to));
                    self.speak(at, spoken_after_ms, &to, &message)?;
                }
                Effect::GossipTransactions(extrinsics) => {
                    self.publish(at, |id| Wire::Transactions { id, extrinsics: Arc::new(extrinsics) });
                }
                Effect::GossipBlock(block) => self.publish(at, |id| Wire::Block { id, block: Arc::from(block) }),
                Effect::Forward(id) => self.forward(at, id),
                Effect::SyncRequest { to, token, request } => {
                    self.send(at, to, 0, &Wire::SyncRequest { token, request });
                }
                Effect::SyncResponse { to, token, response } => self.respond(at, to, token, response),
                Effect::StateRequest { to, token, request } => {
                    self.send(at, to, 0, &Wire::StateRequest { token, request });
                }
                Effect::StateResponse { to, token, response } => self.respond_state(at, to, token, response),
                Effect::Alternative(block) => {
                    if let Some(villain) = &mut self.hosts[at].villain {
                        villain.alternative(block);
                    }
                }
                Effect::NewEpoch => self.tell_validators(at),
                Effect::Fact(fact) => self.fact(at, fact)?,
                Effect::Ledger(_)
                | Effect::Consensus(_)
                | Effect::Behind
                | Effect::PoolChanged
                | Effect::Committed(_)
                | Effect::Imported(_) => {
                    return Err(Failure::new("simulator", "a part's request left its node"));
                }
            }
        }
        Ok(())
    }

    /// The machines of the other validators of the epoch that the node is in, as far as their streams are up.
    fn others_of_epoch(&self, at: Machine) -> Vec<Machine> {
        self.hosts[at].reachable.iter().copied().collect()
    }

    /// Tells a node which validators it can reach: those of its epoch with a connection. Told after every change of either.
    pub(super) fn tell_validators(&mut self, at: Machine) {
        let Some(set) = self.hosts[at].node.as_ref().map(|node| node.reader().current_epoch().validators) else {
            return;
        };
        let own = self.setup.key_of(at).map(KeyPair::public);
        let is_reachable = |peer: &Machine| {
            let key = self.setup.key_of(*peer).map(KeyPair::public).filter(|key| Some(*key) != own);
            self.hosts[at].links[*peer].is_some() && key.is_some_and(|key| set.index_of(&key).is_some())
        };
        let now: BTreeSet<_> = (0..self.hosts.len()).filter(is_reachable).collect();
        let keys = |machines: &BTreeSet<Machine>| -> BTreeSet<PublicKey> {
            machines.iter().filter_map(|peer| self.setup.key_of(*peer).map(KeyPair::public)).collect()
        };
        let (before, after) = (keys(&self.hosts[at].reachable), keys(&now));
        self.hosts[at].reachable = now;
        let Some(node) = &mut self.hosts[at].node else { return };
        before.difference(&after).for_each(|key| node.validator(key, false));
        after.difference(&before).for_each(|key| node.validator(key, true));
    }

    fn machines_with_keys(&self, is_wanted: impl Fn(PublicKey) -> bool) -> Vec<Machine> {
        let is_wanted = |at: &Machine| self.setup.key_of(*at).is_some_and(|key| is_wanted(key.public()));
        (0..self.hosts.len()).filter(is_wanted).collect()
    }

    fn fact(&mut self, at: Machine, fact: Fact) -> Result<(), Failure> {
        if let Fact::Committed(block) = &fact {
            let text = format!("commits {} {}", block.height, crate::wire::Short(block.hash));
            self.trace.remark(self.now_ms, at, &text);
            for hash in &block.transactions {
                if let Some((since_ms, _)) = self.open.get(hash).filter(|(_, submitter)| *submitter == at) {
                    self.latencies_ms.push(self.now_ms - since_ms);
                    self.open.remove(hash);
                }
            }
        }
        let villain = self.setup.plan.villain_of(at);
        // What villains hold, blame and write down proves nothing; what they commit was received like by anybody else.
        if villain.is_some() && !matches!(fact, Fact::Committed(_)) {
            return Ok(());
        }
        self.checker.fact(at, self.hosts[at].node.as_ref(), fact)
    }

    /// A node speaks to machines; a villain says something else.
    fn speak(
        &mut self,
        at: Machine,
        after_ms: u64,
        to: &[Machine],
        message: &Arc<ConsensusMessage>,
    ) -> Result<(), Failure> {
        self.checker.speaks(at, message)?;
        let parcels = self.with_villain(at, |villain, stage, parcels| villain.send(stage, to, message, parcels));
        match parcels {
            Some(parcels) => self.send_parcels(at, after_ms, parcels),
            None => {
                let wire = Wire::Consensus(message.clone());
                for to in to {
                    self.send(at, *to, after_ms, &wire);
                }
            }
        }
        Ok(())
    }

    /// Lets a villain see what reaches it.
    pub(super) fn overhear(&mut self, at: Machine, message: &Arc<ConsensusMessage>) -> Result<(), Failure> {
        let parcels = self.with_villain(at, |villain, stage, parcels| villain.receive(stage, message, parcels));
        self.send_parcels(at, 0, parcels.unwrap_or_default());
        Ok(())
    }

    fn send_parcels(&mut self, at: Machine, after_ms: u64, parcels: Vec<Parcel>) {
        for (to, message) in parcels {
            self.send(at, to, after_ms, &Wire::Consensus(message));
        }
    }

    fn with_villain(
        &mut self,
        at: Machine,
        act: impl FnOnce(&mut dyn crate::villain::Villain, &mut Stage<'_>, &mut Vec<Parcel>),
    ) -> Option<Vec<Parcel>> {
        let mut villain = self.hosts[at].villain.take()?;
        let setup = self.setup.clone();
        let others = self.others_of_epoch(at);
        let set = self.hosts[at].node.as_ref().map(|node| node.reader().current_epoch().validators);
        let place = setup.key_of(at).zip(set).and_then(|(key, set)| Some((key, set.index_of(&key.public())?, set)));
        let mut parcels = None;
        // A villain that is no validator now has nothing to do harm with.
        if let Some((key, index, set)) = place.filter(|_| !others.is_empty()) {
            let rng = &mut self.hosts[at].villain_rng;
            let mut stage = Stage { setup: &setup, rng, key, index, set: &set, others: &others };
            act(&mut *villain, &mut stage, parcels.insert(Vec::new()));
        }
        self.hosts[at].villain = Some(villain);
        parcels
    }

    fn respond(&mut self, at: Machine, to: Machine, token: u64, response: SyncResponse) {
        let mut answer = Some(response.clone());
        self.with_villain(at, |villain, stage, _| answer = villain.answer(stage, response));
        if let Some(response) = answer {
            self.send(at, to, 0, &Wire::SyncResponse { token, response: Arc::new(response) });
        }
    }

    fn respond_state(&mut self, at: Machine, to: Machine, token: u64, response: StateResponse) {
        let mut answer = Some(response.clone());
        self.with_villain(at, |villain, stage, _| answer = villain.answer_state(stage, response));
        if let Some(response) = answer {
            self.send(at, to, 0, &Wire::StateResponse { token, response: Arc::new(response) });
        }
    }

    /// Puts a message on its way, if the stream is up.
    pub(super) fn send(&mut self, from: Machine, to: Machine, after_ms: u64, wire: &Wire) {
        let Some(life) = self.hosts[from].links[to] else { return };
        for delay_ms in self.network.copies(self.now_ms, from, to, wire) {
            self.plan_in(after_ms + delay_ms, Event::Deliver { from, to, life, wire: wire.clone() });
        }
    }

    fn publish(&mut self, at: Machine, make: impl FnOnce(u64) -> Wire) {
        let id = self.gossip.len() as u64;
        let wire = make(id);
        self.gossip.insert(id, wire.clone());
        self.hosts[at].gossip_seen.insert(id);
        for to in 0..self.hosts.len() {
            self.send(at, to, 0, &wire);
        }
    }

    fn forward(&mut self, at: Machine, id: u64) {
        let Some(wire) = self.gossip.get(&id).cloned() else { return };
        let mut to: Vec<_> = (0..self.hosts.len()).filter(|to| self.hosts[at].links[*to].is_some()).collect();
        self.rng.shuffle(&mut to);
        for to in to.into_iter().take(FORWARDED_TO) {
            self.send(at, to, 0, &wire);
        }
    }
}
