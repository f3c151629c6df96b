//! What must hold at every moment, whatever goes wrong.
//!
//! The checker sees everything that honest nodes send, write down and commit, and compares it with all that was seen before;
//! each check costs what is new. It trusts no node: certificates are verified against the validator set (once each), state
//! roots against the executed state, money against genesis.

use crate::node::{Fact, Node};
use crate::plan::Machine;
use crate::setup::Setup;
use cairn_ledger::{CommittedBlock, Reader};
use cairn_primitives::evidence::excludes;
use cairn_primitives::hash::sha256;
use cairn_primitives::message::ConsensusMessage;
use cairn_primitives::{
    Certificate, Epoch, Evidence, Hash, Header, Height, OpaqueExtrinsic, PublicKey, Subject, ValidatorSet, View, Vote,
    VoteKind,
};
use cairn_runtime::{AccountInfo, keys};
use parity_scale_codec::{DecodeAll, Encode};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// Inputs that may wait for an engine: the mailboxes of the real driver.
const INPUTS_MAX: usize = 4_096 + 1_024;

/// Commands that may wait for a ledger: the mailbox of the real driver.
const COMMANDS_MAX: usize = 1_024;

/// Fetches that an engine may have under way.
const FETCHES_MAX: usize = 16;

/// Journal records a node may hold for each view above its head, and in any case.
const RECORDS_PER_VIEW_MAX: u64 = 8;
const RECORDS_MIN: u64 = 4_096;

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which one: the same name for the same kind of failure, so that runs can be compared.
    pub check: &'static str,
    /// What was found.
    pub detail: String,
}

impl Failure {
    pub(crate) fn new(check: &'static str, detail: impl fmt::Display) -> Self {
        Self { check, detail: detail.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.detail)
    }
}

/// A committed block, as the first node that had it showed it.
#[derive(Clone, Copy, Debug)]
struct Link {
    hash: Hash,
    state_root: Hash,
}

/// The checks and what they remember.
pub(crate) struct Checker {
    setup: Arc<Setup>,
    /// The one chain, from genesis on.
    chain: Vec<Link>,
    /// The highest block that each machine told to be committed, over all its lives.
    told: Vec<Height>,
    /// The validators of each epoch that any node opened.
    sets: BTreeMap<Epoch, Arc<ValidatorSet>>,
    certificates: BTreeMap<(Epoch, View, VoteKind), Subject>,
    verified: BTreeSet<Hash>,
    /// Votes that each machine made durable.
    synced: Vec<BTreeSet<(Epoch, View, VoteKind, Subject)>>,
    /// Votes that each honest validator sent.
    sent: BTreeMap<(PublicKey, Epoch, View), Vec<Subject>>,
    accused: BTreeSet<PublicKey>,
    included: BTreeSet<Hash>,
    /// Machines that lost the record of their votes.
    forgetful: BTreeSet<Machine>,
}

impl Checker {
    pub(crate) fn new(setup: Arc<Setup>) -> Self {
        let machines = setup.plan.machines();
        let genesis = Link { hash: setup.genesis.hash(), state_root: setup.genesis.block().header.state_root };
        Self {
            chain: vec![genesis],
            told: vec![Height::ZERO; machines],
            sets: BTreeMap::from([(Epoch::ZERO, setup.validators.clone())]),
            certificates: BTreeMap::new(),
            verified: BTreeSet::new(),
            synced: vec![BTreeSet::new(); machines],
            sent: BTreeMap::new(),
            accused: BTreeSet::new(),
            included: BTreeSet::new(),
            forgetful: BTreeSet::new(),
            setup,
        }
    }

    /// The highest block that any node committed.
    pub(crate) fn height(&self) -> Height {
        Height(u32::try_from(self.chain.len() - 1).expect("a short chain"))
    }

    /// The highest block that a machine told to be committed.
    pub(crate) fn told(&self, machine: Machine) -> Height {
        self.told[machine]
    }

    /// Whether a transaction is part of a committed block.
    pub(crate) fn is_included(&self, transaction: &Hash) -> bool {
        self.included.contains(transaction)
    }

    /// How many transactions were committed.
    pub(crate) fn transactions(&self) -> usize {
        self.included.len()
    }

    /// How many epochs were opened after the first, and how many of them with other validators than the one before.
    pub(crate) fn epochs(&self) -> (u64, u64) {
        let pairs = self.sets.values().zip(self.sets.values().skip(1));
        (self.sets.len() as u64 - 1, pairs.filter(|(before, after)| before != after).count() as u64)
    }

    /// How many validators were accused with evidence.
    pub(crate) fn accused(&self) -> usize {
        self.accused.len()
    }

    /// A machine loses the record of its votes.
    pub(crate) fn forgets(&mut self, machine: Machine) {
        self.forgetful.insert(machine);
        self.synced[machine].clear();
    }

    fn is_honest(&self, machine: Machine) -> bool {
        self.setup.plan.villain_of(machine).is_none()
    }

    /// A node opened its disk: nothing that it told of may be gone. What it committed in the moment of its end, and never
    /// told of, counts from now on.
    pub(crate) fn opened(&mut self, machine: Machine, reader: &Reader) -> Result<(), Failure> {
        let head = reader.head();
        let told = self.told[machine];
        if head.height < told {
            let detail = format!("node {machine} told of block {told} and opens at {}", head.height);
            return Err(Failure::new("durability", detail));
        }
        while self.height() < head.height {
            let height = self.height().next();
            let failed = |what: &dyn fmt::Display| Failure::new("durability", format!("block {height}: {what}"));
            let block = reader.block_at(height).map_err(|error| failed(&error))?;
            let block = block.ok_or_else(|| failed(&"the node that opened has no such block"))?.block;
            let hash = block.header.hash();
            self.extend(machine, &block.header, hash)?;
            self.included.extend(block.extrinsics.iter().map(OpaqueExtrinsic::hash));
            self.issuance(reader, &hash)?;
        }
        if self.setup.plan.joiner() == Some(machine) {
            // The state came from others.
            self.issuance(reader, &head.hash)?;
        }
        self.told[machine] = head.height;
        let epoch = reader.current_epoch();
        self.epoch(machine, epoch.epoch, &epoch.validators)?;
        self.compare(machine, head.height, head.hash, head.state_root)
    }

    /// An epoch has one validator set: the one that the block which opened it promised.
    fn epoch(&mut self, machine: Machine, epoch: Epoch, set: &Arc<ValidatorSet>) -> Result<(), Failure> {
        if self.sets.entry(epoch).or_insert_with(|| set.clone()) != set {
            let detail = format!("node {machine} has other validators of epoch {epoch} than others");
            return Err(Failure::new("validator sets", detail));
        }
        Ok(())
    }

    /// Takes the next block of the one chain, which must be a child of the last.
    fn extend(&mut self, machine: Machine, header: &Header, hash: Hash) -> Result<(), Failure> {
        if self.chain.last().is_none_or(|parent| parent.hash != header.parent_hash) {
            let detail = format!("node {machine} commits {hash} at {} on {}", header.number, header.parent_hash);
            return Err(Failure::new("ancestry", detail));
        }
        self.chain.push(Link { hash, state_root: header.state_root });
        Ok(())
    }

    /// A node told something.
    pub(crate) fn fact(&mut self, machine: Machine, node: Option<&Node>, fact: Fact) -> Result<(), Failure> {
        match fact {
            Fact::VoteSynced(vote) => {
                let subject = vote.subject;
                self.synced[machine].insert((subject.epoch(), subject.view(), subject.kind(), subject));
                Ok(())
            }
            Fact::Held(certificate) => self.certificate(machine, &certificate),
            Fact::Committed(block) => {
                let reader = node.map(Node::reader).cloned();
                self.committed(machine, &block, reader.as_ref())
            }
            Fact::Blamed { offender, offence } => {
                if self.setup.is_honest(&offender) {
                    return Err(Failure::new("blame", format!("node {machine} blames honest {offender}: {offence}")));
                }
                Ok(())
            }
            Fact::Reported { peer, offence } => {
                if self.is_honest(peer) {
                    return Err(Failure::new("blame", format!("node {machine} reports honest node {peer}: {offence}")));
                }
                Ok(())
            }
            Fact::Evidence(evidence) => self.evidence(machine, &evidence),
            Fact::Diverged(block) => Err(Failure::new("divergence", format!("node {machine} diverged at {block}"))),
            Fact::VoteRefused(text) => {
                // The guard saved us; the engine must not ask.
                Err(Failure::new("vote refused", format!("node {machine}: {text}")))
            }
            Fact::RecordLost(text) => {
                if self.forgetful.contains(&machine) {
                    return Ok(());
                }
                Err(Failure::new("record", format!("node {machine} misses a vote in its whole record: {text}")))
            }
            Fact::SyncConflict(text) => Err(Failure::new("divergence", format!("node {machine}: {text}"))),
        }
    }

    fn evidence(&mut self, machine: Machine, evidence: &Evidence) -> Result<(), Failure> {
        let offender = evidence.offender();
        if let Err(error) = evidence.verify(&self.setup.genesis.hash()) {
            return Err(Failure::new(
                "evidence",
                format!("node {machine} holds evidence that proves nothing: {error}"),
            ));
        }
        if self.setup.is_honest(&offender) {
            let detail = format!("node {machine} holds evidence against honest {offender}: {evidence:?}");
            return Err(Failure::new("honest equivocation", detail));
        }
        self.accused.insert(offender);
        Ok(())
    }

    /// Agreement, ancestry, state roots, money.
    fn committed(&mut self, machine: Machine, block: &CommittedBlock, reader: Option<&Reader>) -> Result<(), Failure> {
        let header = &block.block.header;
        let (height, hash) = (block.height, block.hash);
        if height != self.told[machine].next() && height > self.told[machine] {
            let detail = format!("node {machine} commits block {height} after {}", self.told[machine]);
            return Err(Failure::new("ancestry", detail));
        }
        self.told[machine] = self.told[machine].max(height);
        if header.hash() != hash || header.height() != height {
            return Err(Failure::new("ancestry", format!("block {hash} at height {height} is not what it says")));
        }
        let root = block.changes.root();
        if root != header.state_root {
            let detail = format!("node {machine} at height {height}: state {root}, header {}", header.state_root);
            return Err(Failure::new("state root", detail));
        }
        if height == self.height().next() {
            self.extend(machine, header, hash)?;
            self.included.extend(block.transactions.iter().copied());
            if let Some(reader) = reader {
                self.issuance(reader, &hash)?;
            }
        }
        if let Some(opened) = &block.opens {
            let promised = header.context().map(|context| context.next_validators_hash);
            if promised != Ok(opened.validators.hash()) {
                let detail = format!("node {machine} opens epoch {} with other validators than promised", opened.epoch);
                return Err(Failure::new("validator sets", detail));
            }
            self.epoch(machine, opened.epoch, &opened.validators)?;
        }
        if let Some(certificate) = &block.finalization {
            self.finalization(machine, certificate, hash)?;
        }
        self.compare(machine, height, hash, root)
    }

    fn compare(&self, machine: Machine, height: Height, hash: Hash, state_root: Hash) -> Result<(), Failure> {
        let place = usize::try_from(height.0).expect("a short chain");
        let Some(known) = self.chain.get(place) else {
            return Err(Failure::new("ancestry", format!("node {machine} commits {hash} at {height}, above a gap")));
        };
        if known.hash != hash {
            let detail = format!("height {height}: {} is committed, node {machine} commits {hash}", known.hash);
            return Err(Failure::new("agreement", detail));
        }
        if known.state_root != state_root {
            let detail = format!("height {height}: node {machine} has {state_root}, others {}", known.state_root);
            return Err(Failure::new("state root", detail));
        }
        Ok(())
    }

    fn finalization(&mut self, machine: Machine, certificate: &Certificate, hash: Hash) -> Result<(), Failure> {
        let is_of_block = matches!(certificate.subject, Subject::Finalize(proposal) if proposal.block == hash);
        if !is_of_block {
            let detail = format!("node {machine} commits {hash} with {:?}", certificate.subject);
            return Err(Failure::new("certificates", detail));
        }
        self.certificate(machine, certificate)
    }

    /// The sum of all accounts and what was burnt is what was issued.
    fn issuance(&self, reader: &Reader, hash: &Hash) -> Result<(), Failure> {
        let failed = |what: &dyn fmt::Display| Failure::new("issuance", format!("after block {hash}: {what}"));
        let state = reader.state_at(hash).map_err(|error| failed(&error))?;
        let read = |key: &[u8]| state.get(key).map_err(|error| failed(&error));
        let number = |key: &[u8]| -> Result<u128, Failure> {
            let bytes = read(key)?.unwrap_or_default();
            if bytes.is_empty() { Ok(0) } else { u128::decode_all(&mut &*bytes).map_err(|error| failed(&error)) }
        };
        let mut sum = 0u128;
        for key in state.keys(&keys::SYSTEM_ACCOUNT, None, 1_000).map_err(|error| failed(&error))? {
            let bytes = read(&key)?.unwrap_or_default();
            let info = AccountInfo::decode_all(&mut &*bytes).map_err(|error| failed(&error))?;
            sum += info.data.free + info.data.reserved;
        }
        let issuance = number(&keys::BALANCES_TOTAL_ISSUANCE)?;
        let burnt = number(&keys::BALANCES_BURNT)?;
        if issuance != sum || issuance + burnt != self.setup.issued() {
            let issued = self.setup.issued();
            return Err(failed(&format!("accounts {sum}, issuance {issuance}, burnt {burnt}, issued {issued}")));
        }
        Ok(())
    }

    /// One notarization a view, no nullification of a finalized view, and every certificate verifies.
    fn certificate(&mut self, machine: Machine, certificate: &Certificate) -> Result<(), Failure> {
        if !self.verified.insert(sha256(&certificate.encode())) {
            return Ok(());
        }
        let subject = certificate.subject;
        let Some(set) = self.sets.get(&subject.epoch()) else {
            let detail = format!("node {machine} holds {subject:?} of an epoch that nobody opened");
            return Err(Failure::new("certificates", detail));
        };
        if let Err(error) = certificate.verify(set, &self.setup.genesis.hash()) {
            return Err(Failure::new("certificates", format!("node {machine} holds {subject:?}: {error}")));
        }
        let (epoch, view, kind) = (subject.epoch(), subject.view(), subject.kind());
        let known = *self.certificates.entry((epoch, view, kind)).or_insert(subject);
        if known != subject {
            return Err(Failure::new("one certificate a view", format!("{known:?} and {subject:?}")));
        }
        let has = |kind| self.certificates.contains_key(&(epoch, view, kind));
        if has(VoteKind::Nullify) && has(VoteKind::Finalize) {
            return Err(Failure::new("nullified and finalized", format!("view {view} of epoch {epoch}")));
        }
        Ok(())
    }

    /// What an honest node sends: votes only once they are durable, none that excludes another, no wrong certificate.
    pub(crate) fn speaks(&mut self, machine: Machine, message: &ConsensusMessage) -> Result<(), Failure> {
        if !self.is_honest(machine) {
            return Ok(());
        }
        match message {
            ConsensusMessage::Vote(vote) | ConsensusMessage::Proposal { vote, .. } => self.vote(machine, vote),
            ConsensusMessage::Certificate(certificate) => self.certificate(machine, certificate),
            ConsensusMessage::Evidence(evidence) => self.evidence(machine, evidence),
            ConsensusMessage::Standing { entry: Some(entry), .. } => self.certificate(machine, entry),
            ConsensusMessage::Standing { entry: None, .. }
            | ConsensusMessage::Probe { .. }
            | ConsensusMessage::FetchCertificate { .. }
            | ConsensusMessage::FetchBlock(_)
            | ConsensusMessage::Block(_) => Ok(()),
        }
    }

    fn vote(&mut self, machine: Machine, vote: &Vote) -> Result<(), Failure> {
        let Some(key) = self.setup.key_of(machine).map(cairn_primitives::KeyPair::public) else {
            return Err(Failure::new("votes", format!("node {machine} has no key and votes")));
        };
        let subject = vote.subject;
        let index = self.sets.get(&subject.epoch()).and_then(|set| set.index_of(&key));
        if index != Some(vote.signer) {
            return Err(Failure::new("votes", format!("node {machine} sends a vote of {}", vote.signer)));
        }
        let place = (subject.epoch(), subject.view(), subject.kind(), subject);
        if !self.synced[machine].contains(&place) {
            return Err(Failure::new("send before sync", format!("node {machine}: {subject:?} is not on its disk")));
        }
        let cast = self.sent.entry((key, subject.epoch(), subject.view())).or_default();
        if let Some(other) = cast.iter().find(|other| excludes(other, &subject)) {
            let detail = format!("node {machine} votes {subject:?} after {other:?}");
            return Err(Failure::new("honest equivocation", detail));
        }
        if !cast.contains(&subject) {
            cast.push(subject);
        }
        Ok(())
    }

    /// Queues and memory stay within their bounds.
    pub(crate) fn bounds(&self, machine: Machine, node: &Node, fetches: usize) -> Result<(), Failure> {
        let exceeded = |what: String| Err(Failure::new("bounds", format!("node {machine}: {what}")));
        if let Some(consensus) = &node.consensus {
            if consensus.waiting() > INPUTS_MAX {
                return exceeded(format!("{} inputs wait for consensus", consensus.waiting()));
            }
            let views = self.certificates.keys().map(|(_, view, _)| view.0).max().unwrap_or(0);
            let records = u64::try_from(consensus.journal_records()).unwrap_or(u64::MAX);
            if records > RECORDS_MIN.max(views * RECORDS_PER_VIEW_MAX) {
                return exceeded(format!("{records} journal records in {views} views"));
            }
        }
        if node.ledger.commands() > COMMANDS_MAX {
            return exceeded(format!("{} commands wait for the ledger", node.ledger.commands()));
        }
        if fetches > FETCHES_MAX {
            return exceeded(format!("{fetches} fetches"));
        }
        let (status, config) = node.mempool.status();
        if status.ready + status.future > config.transactions_max || status.bytes > config.bytes_max {
            return exceeded(format!("mempool {status:?}"));
        }
        node.sync.exceeded().map_or(Ok(()), exceeded)
    }
}
