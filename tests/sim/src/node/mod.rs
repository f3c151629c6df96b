//! One node: the real cores, wired as the node's drivers wire them, without threads and sockets.
//!
//! ```text
//!  World ── deliver, turns, ticks ──► Node { consensus, ledger, mempool, sync } ── Effect ──► World
//! ```
//! What one part asks of another is an [`Effect`] like everything else; those that stay inside are carried out at once or
//! wait in the queue of the part, as its mailbox would hold them. The world decides when a part takes its next turn.

mod consensus;
mod join;
mod ledger;
mod mempool;
mod offers;
mod sync;

pub(crate) use join::{Files, Joined, Joining, is_empty};
pub(crate) use ledger::{Answer, Command};

use crate::disk::Disk;
use crate::plan::Machine;
use crate::setup::Setup;
use cairn_ledger::{CommittedBlock, Reader};
use cairn_primitives::message::{ConsensusMessage, StateRequest, StateResponse, SyncRequest, SyncResponse};
use cairn_primitives::{Block, Certificate, Evidence, FinalizedBlock, Hash, OpaqueExtrinsic, PublicKey, Vote};
use std::sync::Arc;

/// The two clocks of a machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// Since the process started; never goes back.
    pub(crate) monotonic_ms: u64,
    /// The time of day.
    pub(crate) wall_ms: u64,
}

/// What a node asks for or tells.
pub(crate) enum Effect {
    /// A consensus message to every other validator.
    Broadcast(Arc<ConsensusMessage>),
    /// A consensus message to one validator.
    Send { to: PublicKey, message: Arc<ConsensusMessage> },
    /// Transactions for everybody.
    GossipTransactions(Vec<OpaqueExtrinsic>),
    /// A finalized block for everybody.
    GossipBlock(Box<FinalizedBlock>),
    /// Gossip that was found good: pass it on.
    Forward(u64),
    /// A question of block sync.
    SyncRequest { to: Machine, token: u64, request: SyncRequest },
    /// The answer to one.
    SyncResponse { to: Machine, token: u64, response: SyncResponse },
    /// A question of snapshot sync.
    StateRequest { to: Machine, token: u64, request: StateRequest },
    /// The answer to one.
    StateResponse { to: Machine, token: u64, response: StateResponse },
    /// A second block for the same view, of a proposer that was told to make one.
    Alternative(Arc<Block>),
    /// The validators of a new epoch are known: streams change.
    NewEpoch,
    /// Told to the checker: something happened that it must know of.
    Fact(Fact),
    /// Inside: a command for the ledger.
    Ledger(Command),
    /// Inside: an answer for consensus.
    Consensus(Answer),
    /// Inside: consensus is behind.
    Behind,
    /// Inside: the pool has new transactions.
    PoolChanged,
    /// Inside: blocks were committed.
    Committed(Arc<CommittedBlock>),
    /// Inside: what became of blocks that sync handed to the ledger.
    Imported(sync::Outcome),
}

/// What the checker is told.
#[derive(Clone)]
pub(crate) enum Fact {
    /// A vote of the node is durable: it may be sent from now on.
    VoteSynced(Vote),
    /// The node holds a certificate and wrote it down.
    Held(Certificate),
    /// A block was committed and told to everyone.
    Committed(Arc<CommittedBlock>),
    /// The node calls a validator a liar, on evidence that convinces nobody else.
    Blamed { offender: PublicKey, offence: String },
    /// The node calls a peer of block sync malicious.
    Reported { peer: Machine, offence: String },
    /// The node holds evidence.
    Evidence(Box<Evidence>),
    /// A final block contradicts the node.
    Diverged(Hash),
    /// The vote guard did not sign what the engine wanted, though it was not silent.
    VoteRefused(String),
    /// Others hold a vote that the record does not.
    RecordLost(String),
    /// Block sync stands still over a contradiction.
    SyncConflict(String),
}

/// A running node.
pub(crate) struct Node {
    pub(crate) consensus: Option<consensus::Consensus>,
    pub(crate) ledger: ledger::LedgerPart,
    pub(crate) mempool: mempool::Mempool,
    pub(crate) sync: sync::SyncPart,
    /// Snapshots, in a run that has a use for them.
    offers: Option<offers::Offers>,
    reader: Reader,
}

impl Node {
    /// Opens what is on the disk, as the real node does at its start, and takes up work.
    pub(crate) fn open(
        setup: &Arc<Setup>,
        machine: Machine,
        disk: &Disk,
        clock: Clock,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<Self> {
        let ledger = ledger::LedgerPart::open(setup, machine, disk)?;
        let reader = ledger.reader();
        let mempool = mempool::Mempool::new(setup, &reader, ledger.signatures());
        let sync = sync::SyncPart::new(&reader);
        let offers = setup.plan.joins_ms.map(|_| offers::Offers::new(&reader));
        let mut node = Self { consensus: None, ledger, mempool, sync, offers, reader: reader.clone() };
        if let Some(key) = setup.key_of(machine) {
            let restored = node.ledger.restored()?;
            let mut inner = Vec::new();
            let consensus = consensus::Consensus::open(setup, key, &reader, disk, restored, clock, &mut inner)?;
            node.consensus = Some(consensus);
            node.absorb(clock, inner, effects)?;
        }
        Ok(node)
    }

    /// The read model.
    pub(crate) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Carries out what stays inside and hands on the rest.
    fn absorb(&mut self, clock: Clock, inner: Vec<Effect>, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut queue = std::collections::VecDeque::from(inner);
        while let Some(effect) = queue.pop_front() {
            let mut more = Vec::new();
            match effect {
                Effect::Ledger(command) => self.ledger.push(command),
                Effect::Consensus(answer) => {
                    if let Some(consensus) = &mut self.consensus {
                        consensus.answer(answer);
                    }
                }
                Effect::Behind => self.sync.behind(clock, &mut more),
                Effect::PoolChanged => self.ledger.pool_changed(),
                Effect::Committed(block) => {
                    self.sync.local_head(clock, &block, &mut more);
                    if let Some(opened) = &block.opens {
                        self.sync.validators(clock, opened, &mut more);
                        effects.push(Effect::NewEpoch);
                    }
                    effects.push(Effect::Fact(Fact::Committed(block)));
                    if let Some(offers) = &mut self.offers {
                        offers.committed(&self.reader)?;
                    }
                }
                Effect::Imported(outcome) => self.sync.imported(clock, outcome, &mut more),
                Effect::Broadcast(_)
                | Effect::Send { .. }
                | Effect::GossipTransactions(_)
                | Effect::GossipBlock(_)
                | Effect::Forward(_)
                | Effect::SyncRequest { .. }
                | Effect::SyncResponse { .. }
                | Effect::StateRequest { .. }
                | Effect::StateResponse { .. }
                | Effect::Alternative(_)
                | Effect::NewEpoch
                | Effect::Fact(_) => effects.push(effect),
            }
            for effect in more.into_iter().rev() {
                queue.push_front(effect);
            }
        }
        Ok(())
    }

    /// Consensus takes the inputs that wait.
    pub(crate) fn consensus_turn(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let Some(consensus) = &mut self.consensus else { return Ok(()) };
        let mut inner = Vec::new();
        consensus.turn(clock, &mut inner)?;
        self.absorb(clock, inner, effects)
    }

    /// The ledger takes the command that waits longest.
    pub(crate) fn ledger_turn(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.ledger.turn(clock, &mut self.mempool, &mut inner)?;
        self.absorb(clock, inner, effects)
    }

    /// A message from a validator.
    pub(crate) fn consensus_message(&mut self, from: &PublicKey, message: &Arc<ConsensusMessage>) {
        if let Some(consensus) = &mut self.consensus {
            consensus.message(from, message);
        }
    }

    /// A validator can be reached, or not any more.
    pub(crate) fn validator(&mut self, key: &PublicKey, is_reachable: bool) {
        if let Some(consensus) = &mut self.consensus {
            consensus.peer(key, is_reachable);
        }
    }

    /// The connection to another machine came up or went down.
    pub(crate) fn link(
        &mut self,
        clock: Clock,
        peer: Machine,
        is_up: bool,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.sync.link(clock, peer, is_up, &mut inner);
        self.absorb(clock, inner, effects)
    }

    /// Transactions by gossip.
    pub(crate) fn gossiped_transactions(
        &mut self,
        clock: Clock,
        id: u64,
        extrinsics: &[OpaqueExtrinsic],
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.mempool.gossiped(clock, id, extrinsics, &mut inner)?;
        self.absorb(clock, inner, effects)
    }

    /// A transaction of a client; whether it was admitted.
    pub(crate) fn submit(
        &mut self,
        clock: Clock,
        extrinsic: OpaqueExtrinsic,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<bool> {
        let mut inner = Vec::new();
        let is_admitted = self.mempool.submit(clock, extrinsic, &mut inner)?;
        self.absorb(clock, inner, effects)?;
        Ok(is_admitted)
    }

    /// A finalized block by gossip.
    pub(crate) fn gossiped_block(
        &mut self,
        clock: Clock,
        from: Machine,
        id: u64,
        block: &Arc<FinalizedBlock>,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        // Consensus brings a validator its blocks; what gossip tells it is of use only when it is behind.
        let is_known = block.block.header.number <= self.reader.head().height.0.saturating_add(2);
        if self.consensus.is_some() && is_known {
            return Ok(());
        }
        let mut inner = Vec::new();
        self.sync.announced(clock, from, id, block, &mut inner);
        self.absorb(clock, inner, effects)
    }

    /// Which life of its machine this is: an answer to a question of an earlier one is none of this one's.
    pub(crate) fn begin_life(&mut self, life: u64) {
        self.sync.begin_life(life);
    }

    /// A question of another machine's block sync.
    pub(crate) fn sync_request(&self, from: Machine, token: u64, request: &SyncRequest, effects: &mut Vec<Effect>) {
        if let Ok(response) = sync::serve(&self.reader, request) {
            effects.push(Effect::SyncResponse { to: from, token, response });
        }
    }

    /// A question of another machine's snapshot sync.
    pub(crate) fn state_request(&self, from: Machine, token: u64, request: &StateRequest, effects: &mut Vec<Effect>) {
        let response = self.offers.as_ref().map_or(StateResponse::Refused, |offers| offers.answer(request));
        effects.push(Effect::StateResponse { to: from, token, response });
    }

    /// The answer to a question of our block sync.
    pub(crate) fn sync_response(
        &mut self,
        clock: Clock,
        token: u64,
        response: SyncResponse,
        effects: &mut Vec<Effect>,
    ) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.sync.response(clock, token, response, &mut inner);
        self.absorb(clock, inner, effects)
    }

    /// Time for block sync.
    pub(crate) fn sync_tick(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.sync.tick(clock, &mut inner);
        self.absorb(clock, inner, effects)
    }

    /// Time for the mempool.
    pub(crate) fn pool_tick(&mut self, clock: Clock, effects: &mut Vec<Effect>) -> anyhow::Result<()> {
        let mut inner = Vec::new();
        self.mempool.tick(clock, &mut inner);
        self.absorb(clock, inner, effects)
    }
}
