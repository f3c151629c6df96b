//! From verified ranges to committed blocks: while the ledger commits one range, the next is decoded and its signatures are
//! verified, by threads that leave the cores to the ledger.
//!
//! ```text
//! sync ─► ranges ─► prepare (blocking pool) ─► one range ahead ─► ledger ─► outcome, in order
//! ```

use crate::drivers::ledger::{Command, LedgerHandle};
use cairn_ledger::{LedgerError, PreparedBlock, Reader, SignatureChecker};
use cairn_primitives::{FinalizedBlock, Hash, Height};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Ranges that are prepared before the ledger is free for them.
const PREPARED_MAX: usize = 1;

/// What came of a range: its last block, and whether all of it is committed.
pub(super) struct Imported {
    pub(super) height: Height,
    pub(super) hash: Hash,
    pub(super) outcome: Result<(), LedgerError>,
}

/// What importing takes.
pub(super) struct Importer {
    pub(super) ledger: LedgerHandle,
    pub(super) signatures: SignatureChecker,
    pub(super) reader: Reader,
}

/// A range on its way.
struct Range {
    height: Height,
    hash: Hash,
    blocks: Result<Vec<PreparedBlock>, LedgerError>,
}

impl Importer {
    /// Takes ranges in order until either end is gone; dropping the set ends it at once.
    pub(super) fn start(
        self,
        ranges: mpsc::Receiver<Vec<FinalizedBlock>>,
        imported: mpsc::Sender<Imported>,
    ) -> JoinSet<()> {
        let Self { ledger, signatures, reader } = self;
        let signatures = signatures.behind_blocks();
        let (sender, prepared) = mpsc::channel(PREPARED_MAX);
        let mut tasks = JoinSet::new();
        tasks.spawn(prepare_all(ranges, signatures, reader, sender));
        tasks.spawn(import_all(prepared, ledger, imported));
        tasks
    }
}

async fn prepare_all(
    mut ranges: mpsc::Receiver<Vec<FinalizedBlock>>,
    signatures: SignatureChecker,
    reader: Reader,
    prepared: mpsc::Sender<Range>,
) {
    while let Some(range) = ranges.recv().await {
        let Some(last) = range.last() else { continue };
        let (height, hash) = (last.block.header.height(), last.block.header.hash());
        let (signatures, reader) = (signatures.clone(), reader.clone());
        let work = tokio::task::spawn_blocking(move || prepare(range, &signatures, &reader));
        // A panic in there has been told to the panic hook; the range is not imported, and no later one.
        let Ok(blocks) = work.await else { return };
        if prepared.send(Range { height, hash, blocks }).await.is_err() {
            return;
        }
    }
}

fn prepare(
    range: Vec<FinalizedBlock>,
    signatures: &SignatureChecker,
    reader: &Reader,
) -> Result<Vec<PreparedBlock>, LedgerError> {
    let prepare = |finalized| {
        let mut block = PreparedBlock::new(finalized);
        block.decode(signatures);
        block.verify(signatures, reader).map(|()| block)
    };
    range.into_iter().map(prepare).collect()
}

async fn import_all(mut prepared: mpsc::Receiver<Range>, ledger: LedgerHandle, imported: mpsc::Sender<Imported>) {
    while let Some(Range { height, hash, blocks }) = prepared.recv().await {
        let outcome = match blocks {
            Ok(blocks) => {
                let (reply, outcome) = oneshot::channel();
                if ledger.send(Command::Import { blocks, reply }).await.is_err() {
                    return;
                }
                let Ok(outcome) = outcome.await else { return };
                outcome
            }
            Err(error) => Err(error),
        };
        if imported.send(Imported { height, hash, outcome }).await.is_err() {
            return;
        }
    }
}
