//! The measured passes over the same transfers.

use crate::Options;
use crate::base::{copy, remove};
use crate::chain::Chain;
use crate::meter::{Cost, add_to, timed};
use anyhow::{Context, ensure};
use cairn_ledger::{Ledger, PreparedBlock, Reader, SignatureChecker, Verdict};
use cairn_primitives::{Block, FinalizedBlock, OpaqueExtrinsic};
use cairn_runtime::{BlockContext, Transaction, execute_block};
use parity_scale_codec::{Decode, Encode};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

/// Blocks that are prepared side by side: near the end of one block's signatures there is too little to do for all cores.
const PREPARED_TOGETHER: usize = 2;
/// Blocks that each of those who prepare has ready at most, ahead of the one that is imported.
const PREPARED_AHEAD: usize = 1;

/// What the leader's way costs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Proposed {
    pub(crate) propose: Cost,
    pub(crate) commit: Cost,
}

/// What each stage costs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Stages {
    pub(crate) decode: Cost,
    pub(crate) verify: Cost,
    pub(crate) check: Cost,
    pub(crate) execute: Cost,
    pub(crate) root: Cost,
    pub(crate) commit: Cost,
    pub(crate) close: Cost,
}

impl Stages {
    /// All stages together.
    pub(crate) fn sum(&self) -> Cost {
        [self.decode, self.verify, self.check, self.execute, self.root, self.commit, self.close].iter().sum()
    }
}

/// Builds and commits the blocks; the encoded blocks come back with their finalizations.
pub(crate) fn propose(
    chain: &Chain,
    options: &Options,
    transfers: Vec<Vec<OpaqueExtrinsic>>,
) -> anyhow::Result<(Proposed, Vec<Vec<u8>>)> {
    let path = copy(options, "propose")?;
    let (mut costs, mut blocks) = (Proposed::default(), Vec::new());
    let work = |ledger: &mut Ledger| {
        for extrinsics in transfers {
            blocks.push(propose_one(chain, ledger, extrinsics, &mut costs)?);
        }
        Ok(())
    };
    chain.with_ledger(&path, options, work)?;
    remove(&path)?;
    Ok((costs, blocks))
}

fn propose_one(
    chain: &Chain,
    ledger: &mut Ledger,
    extrinsics: Vec<OpaqueExtrinsic>,
    costs: &mut Proposed,
) -> anyhow::Result<Vec<u8>> {
    // As the pool does it when they arrive.
    let candidates = extrinsics.into_iter().map(Transaction::decode).collect::<Result<Vec<_>, _>>()?;
    let checked = ledger.signatures().check_on_head(&candidates, &ledger.reader())?;
    ensure!(checked.iter().all(Result::is_ok), "a signature of our own does not hold");
    let request = chain.request(ledger);
    let built = add_to(&mut costs.propose, || Ok(ledger.propose(&request, &candidates)?))?;
    ensure!(built.rejected.is_empty(), "a transfer was refused: {:?}", built.rejected.first());
    let finalization = chain.finalization(&built.block)?;
    let hash = built.block.header.hash();
    drop(add_to(&mut costs.commit, || Ok(ledger.commit(&[hash], &finalization)?))?);
    let block = Block::clone(&built.block);
    Ok(FinalizedBlock { block, finalization: Some(finalization) }.encode())
}

/// Takes the blocks through the stages one after the other.
pub(crate) fn stages(chain: &Chain, options: &Options, blocks: &[Vec<u8>]) -> anyhow::Result<Stages> {
    let path = copy(options, "stages")?;
    let mut costs = Stages::default();
    let work = |ledger: &mut Ledger| blocks.iter().try_for_each(|bytes| take_one(chain, ledger, bytes, &mut costs));
    let ((), closing) = chain.with_ledger(&path, options, work)?;
    costs.close = closing;
    remove(&path)?;
    Ok(costs)
}

fn take_one(chain: &Chain, ledger: &mut Ledger, bytes: &[u8], costs: &mut Stages) -> anyhow::Result<()> {
    let finalized = add_to(&mut costs.check, || receive(bytes))?;
    let prepared = add_to(&mut costs.decode, || Ok(decode(finalized, &ledger.signatures())))?;
    let transactions = prepared.transactions().context("the block does not decode")?;
    // As for a block that is proposed: the ledger finds the verdicts again.
    drop(add_to(&mut costs.verify, || Ok(ledger.signatures().check_on_head(transactions, &ledger.reader())?))?);
    // Execution alone, first on cold pages, which is what it costs, then again, to be taken off what comes below.
    add_to(&mut costs.execute, || execute_alone(ledger, &prepared))?;
    let ((), again) = timed(|| execute_alone(ledger, &prepared))?;
    let (hash, block) = (prepared.hash(), prepared.block().clone());
    let verdict = add_to(&mut costs.check, || Ok(ledger.verify(&block)?))?;
    ensure!(verdict == Verdict::Valid, "{verdict:?}");
    let (holds, both) = timed(|| Ok(ledger.execute(&hash)?))?;
    ensure!(holds, "a block of our own does not hold");
    costs.root += both.without(again);
    let finalization = chain.finalization(&block)?;
    drop(add_to(&mut costs.commit, || Ok(ledger.commit(&[hash], &finalization)?))?);
    Ok(())
}

/// Imports the blocks as block sync does: while one is executed and committed, the next ones are decoded and verified, two side
/// by side.
/// What it takes to close the database is in the sum: it writes what was put off.
pub(crate) fn import(chain: &Chain, options: &Options, blocks: &[Vec<u8>]) -> anyhow::Result<Cost> {
    let path = copy(options, "import")?;
    let (mut cost, closing) = chain.with_ledger(&path, options, |ledger| {
        let ((), cost) = timed(|| import_all(ledger, blocks))?;
        let last = FinalizedBlock::decode(&mut blocks.last().context("no blocks")?.as_slice())?;
        ensure!(last.block.header.height() == ledger.reader().head().height, "the last block is not the head");
        Ok(cost)
    })?;
    cost += closing;
    remove(&path)?;
    Ok(cost)
}

fn import_all(ledger: &mut Ledger, blocks: &[Vec<u8>]) -> anyhow::Result<()> {
    let (signatures, reader) = (&ledger.signatures().behind_blocks(), &ledger.reader());
    thread::scope(|scope| {
        let (mut preparers, mut prepared) = (Vec::new(), Vec::new());
        for number in 0..PREPARED_TOGETHER {
            let (sender, receiver) = sync_channel(PREPARED_AHEAD);
            let own = blocks.iter().skip(number).step_by(PREPARED_TOGETHER);
            preparers.push(scope.spawn(|| prepare(own, signatures, reader, sender)));
            prepared.push(receiver);
        }
        // One after the other, as the blocks were dealt out; the first that has no more ends it, or has failed.
        for block in prepared.iter().cycle().map_while(|own| own.recv().ok()) {
            ledger.import_prepared(vec![block])?;
        }
        drop(prepared);
        preparers.into_iter().try_for_each(|preparer| {
            preparer.join().map_err(|_| anyhow::anyhow!("a preparing thread ended by a panic"))?
        })
    })
}

fn prepare<'a>(
    blocks: impl Iterator<Item = &'a Vec<u8>>,
    signatures: &SignatureChecker,
    reader: &Reader,
    sender: SyncSender<PreparedBlock>,
) -> anyhow::Result<()> {
    for bytes in blocks {
        let prepared = decode(receive(bytes)?, signatures);
        prepared.verify(signatures, reader)?;
        if sender.send(prepared).is_err() {
            break;
        }
    }
    Ok(())
}

/// A block from its bytes. Block sync compares the body with its root, which the block remembers, before it hands it on.
fn receive(bytes: &[u8]) -> anyhow::Result<FinalizedBlock> {
    let finalized = FinalizedBlock::decode(&mut &*bytes)?;
    ensure!(finalized.block.extrinsics_root() == finalized.block.header.extrinsics_root, "a body has another root");
    Ok(finalized)
}

fn decode(finalized: FinalizedBlock, signatures: &SignatureChecker) -> PreparedBlock {
    let mut prepared = PreparedBlock::new(finalized);
    prepared.decode(signatures);
    prepared
}

/// Executes a block on the committed state and throws the outcome away.
fn execute_alone(ledger: &Ledger, prepared: &PreparedBlock) -> anyhow::Result<()> {
    let header = &prepared.block().header;
    let context = header.context()?;
    let reader = ledger.reader();
    let proposer = reader.current_epoch().validators.get(context.proposer).context("no proposer")?.key.into();
    let context = BlockContext {
        genesis: reader.genesis_hash(),
        epoch: context.epoch,
        height: header.height(),
        parent_hash: header.parent_hash,
        timestamp: context.timestamp,
        proposer,
        rules: reader.rules().at(header.height())?,
        rules_begin: false,
    };
    let transactions = prepared.transactions().context("the block does not decode")?;
    drop(execute_block(&reader.state_at_head(), &context, transactions)?);
    Ok(())
}
