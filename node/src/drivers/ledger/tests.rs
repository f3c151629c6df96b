//! The ledger's thread between consensus and block sync, with commands in every awkward order.

use super::*;
use crate::drivers::consensus::{Mailbox as ConsensusMailbox, Request};
use crate::drivers::mempool::Surroundings;
use cairn_chain_spec::ChainSpec;
use cairn_ledger::{Genesis, LedgerConfig, Signers};
use cairn_mempool::{Pool, PoolConfig};
use cairn_network::{NetworkConfig, NodeKey};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::{Epoch, Height, Proposal, Subject, TimestampMs, ValidatorIndex, View};
use cairn_runtime::{BlockLimits, genesis_state, weight::BLOCK_WEIGHT_MAX};
use cairn_storage::{MemoryDatabase, StateConfig};

const LIMITS: BlockLimits = BlockLimits { bytes_max: BLOCK_BYTES_MAX / 2, weight_max: BLOCK_WEIGHT_MAX };

pub(in crate::drivers) fn open() -> Ledger {
    let spec = ChainSpec::local(4).unwrap();
    let state = genesis_state(&spec.genesis_config()).unwrap();
    let set = spec.validator_set().clone();
    let genesis = Genesis::new(state, set, spec.genesis_time(), spec.spec_hash()).unwrap();
    let (schedule, spec_hash) = (spec.epoch_schedule(), spec.spec_hash());
    let (rules, state) = (spec.rules(), StateConfig::default());
    let config =
        LedgerConfig { genesis, schedule, rules, spec_hash, state, limits: LIMITS, signers: Signers::default() };
    Ledger::open(Arc::new(MemoryDatabase::new()), config).unwrap()
}

/// A chain of empty blocks, the first of them in `view`.
pub(in crate::drivers) fn chain(count: u64, view: u64) -> Vec<Arc<Block>> {
    let mut ledger = open();
    let head = ledger.reader().head();
    let mut parent = head.hash;
    let mut blocks = Vec::new();
    for view in view..view + count {
        let request = ProposalRequest {
            epoch: Epoch::ZERO,
            view: View(view),
            proposer: ValidatorIndex(0),
            parent,
            timestamp: TimestampMs(head.timestamp.0 + view),
            evidence: Vec::new(),
        };
        let block = ledger.propose(&request, &[]).unwrap().block;
        parent = block.header.hash();
        blocks.push(block);
    }
    blocks
}

/// A finalization; the ledger leaves signatures to others.
fn finalization(block: &Block) -> Certificate {
    let view = block.header.context().unwrap().view;
    let proposal = Proposal { epoch: Epoch::ZERO, view, parent_view: View(0), block: block.header.hash() };
    Certificate::from_signatures(Subject::Finalize(proposal), [], ChainSpec::local(4).unwrap().validator_set())
}

fn commit(blocks: &[Arc<Block>]) -> Command {
    let hashes = blocks.iter().map(|block| block.header.hash()).collect();
    Command::Commit { hashes, certificate: finalization(blocks.last().unwrap()) }
}

fn import(blocks: &[Arc<Block>]) -> (Command, oneshot::Receiver<Result<(), LedgerError>>) {
    let (reply, outcome) = oneshot::channel();
    let entry =
        |block: &Arc<Block>| FinalizedBlock { block: Block::clone(block), finalization: Some(finalization(block)) };
    (Command::Import { blocks: blocks.iter().map(entry).map(PreparedBlock::new).collect(), reply }, outcome)
}

/// What consensus was told, in short.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Certified(u32, bool),
    Elsewhere(u32),
    Committed(u64),
}

/// Runs the thread over the commands; how it ended, the head, and what consensus was told.
fn run(commands: Vec<Command>, blocks: &[Arc<Block>]) -> (anyhow::Result<()>, Height, Vec<Told>) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ledger = open();
    let reader = ledger.reader();
    let config = NetworkConfig::new(NodeKey::from_seed([1; 32]), reader.genesis_hash());
    let (network, _events) = runtime.block_on(async { cairn_network::start(config) }).unwrap();
    let metrics = Metrics::register(&prometheus::Registry::new()).unwrap();
    let (consensus, mut told) = ConsensusHandle::new();
    let (handle, mailbox) = LedgerHandle::new();
    let around = Surroundings {
        reader: reader.clone(),
        signatures: ledger.signatures(),
        network: network.clone(),
        ledger: handle.clone(),
        metrics: metrics.clone(),
    };
    let (mempool, _admission) = MempoolHandle::new(Pool::new(PoolConfig::default(), Height::ZERO), LIMITS, around);
    let head = reader.head();
    let bus = Bus::new(cairn_rpc::Head { height: head.height, hash: head.hash });
    let driver =
        LedgerDriver { ledger, mempool, consensus: Some(consensus), own_keys: Vec::new(), network, bus, metrics };
    for command in commands.into_iter().chain([Command::Stop]) {
        handle.commands.try_send(command).unwrap();
    }
    let outcome = driver.run(mailbox);
    (outcome, reader.head().height, std::iter::from_fn(|| next(&mut told, blocks)).collect())
}

fn next(mailbox: &mut ConsensusMailbox, blocks: &[Arc<Block>]) -> Option<Told> {
    match mailbox.next_waiting()? {
        Request::Input(Input::Certified { block, holds }) => {
            let block = blocks.iter().find(|known| known.header.hash() == block).unwrap();
            Some(Told::Certified(block.header.number, holds))
        }
        Request::Input(Input::CommittedElsewhere { height, .. }) => Some(Told::Elsewhere(height.0)),
        Request::Committed(_, view) => Some(Told::Committed(view.0)),
        request @ (Request::Input(_) | Request::EpochOpened(..) | Request::Stop) => panic!("{request:?}"),
    }
}

#[test]
fn certification_before_its_parent_waits_for_it() {
    let blocks = chain(3, 1);
    let certify = |index: usize| Command::Certify(blocks[index].clone());
    let (outcome, _, told) = run(vec![certify(2), certify(1), certify(0)], &blocks);
    outcome.unwrap();
    assert_eq!(told, [1, 2, 3].map(|height| Told::Certified(height, true)));
}

#[test]
fn certification_of_what_block_sync_committed_or_overtook_does_no_harm() {
    let blocks = chain(4, 1);
    let stale = chain(2, 50);
    let (imported, outcome) = import(&blocks[..3]);
    let mut commands = vec![Command::Certify(stale[1].clone()), Command::Certify(blocks[3].clone()), imported];
    commands.extend([&blocks[1], &stale[0]].map(|block| Command::Certify(block.clone())));
    let (ended, head, told) = run(commands, &blocks);
    ended.unwrap();
    outcome.blocking_recv().unwrap().unwrap();
    assert_eq!(head, Height(3));
    let certified = [Told::Certified(4, true), Told::Certified(2, true)];
    assert_eq!(told, [Told::Committed(3), Told::Elsewhere(3)].into_iter().chain(certified).collect::<Vec<_>>());
}

#[test]
fn commit_and_import_of_the_same_blocks_commit_each_once() {
    let blocks = chain(5, 1);
    let mut commands: Vec<_> = blocks[..4].iter().map(|block| Command::Certify(block.clone())).collect();
    let (first, _) = import(&blocks[..2]);
    let (second, _) = import(&blocks[1..5]);
    commands.extend([first, commit(&blocks[..3]), second, commit(&blocks[3..4])]);
    let (ended, head, told) = run(commands, &blocks);
    ended.unwrap();
    assert_eq!(head, Height(5));
    let elsewhere = told.iter().filter(|told| matches!(told, Told::Elsewhere(_))).collect::<Vec<_>>();
    assert_eq!(elsewhere, [&Told::Elsewhere(2), &Told::Elsewhere(5)]);
}

#[test]
fn commit_of_a_block_that_is_not_here_is_made_up_by_block_sync() {
    let blocks = chain(2, 1);
    let (imported, _) = import(&blocks);
    let (ended, head, told) = run(vec![commit(&blocks), imported], &blocks);
    ended.unwrap();
    assert_eq!(head, Height(2));
    assert_eq!(told, [Told::Committed(2), Told::Elsewhere(2)], "nothing is said of the commit that failed");
}

#[test]
fn final_block_that_contradicts_the_chain_ends_the_thread() {
    let blocks = chain(2, 1);
    let other = chain(1, 50);
    let (imported, _) = import(&blocks);
    let (contradiction, outcome) = import(&other);
    let (ended, head, _) = run(vec![imported, contradiction], &blocks);
    assert!(ended.unwrap_err().to_string().contains("block sync"));
    assert!(matches!(outcome.blocking_recv(), Ok(Err(LedgerError::FinalizedInvalid { .. }))));
    assert_eq!(head, Height(2));
}
