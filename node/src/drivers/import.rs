//! From verified ranges to committed blocks: while the ledger commits one range, the next is decoded and its signatures are
//! verified, by threads that leave the cores to the ledger.
//!
//! ```text
//! sync ─► ranges ─► prepare two (blocking pool) ─► one range ahead ─► ledger ─► outcome, in order
//! ```

use crate::drivers::ledger::{Command, LedgerHandle};
use cairn_ledger::{LedgerError, PreparedBlock, Reader, SignatureChecker};
use cairn_primitives::{FinalizedBlock, Hash, Height};
use futures::StreamExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_stream::wrappers::ReceiverStream;

/// Ranges that are prepared side by side: near the end of one there is too little to do for all cores.
const PREPARED_TOGETHER: usize = 2;
/// Ranges that are ready before the ledger is free for them, beside those.
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
    ranges: mpsc::Receiver<Vec<FinalizedBlock>>,
    signatures: SignatureChecker,
    reader: Reader,
    prepared: mpsc::Sender<Range>,
) {
    let start = |range: Vec<FinalizedBlock>| {
        let (signatures, reader) = (signatures.clone(), reader.clone());
        spawn_blocking(move || prepare(range, &signatures, &reader))
    };
    let mut in_order = ReceiverStream::new(ranges).map(start).buffered(PREPARED_TOGETHER);
    // A panic in there has been told to the panic hook; the range is not imported, and no later one.
    while let Some(Ok(range)) = in_order.next().await {
        let Some(range) = range else { continue };
        if prepared.send(range).await.is_err() {
            return;
        }
    }
}

/// Prepares a range, unless it is empty.
fn prepare(range: Vec<FinalizedBlock>, signatures: &SignatureChecker, reader: &Reader) -> Option<Range> {
    let last = range.last()?;
    let (height, hash) = (last.block.header.height(), last.block.header.hash());
    let prepare = |finalized| {
        let mut block = PreparedBlock::new(finalized);
        block.decode(signatures);
        block.verify(signatures, reader).map(|()| block)
    };
    Some(Range { height, hash, blocks: range.into_iter().map(prepare).collect() })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drivers::ledger::tests::{chain, open};
    use cairn_primitives::Block;
    use std::sync::Arc;

    #[tokio::test]
    async fn ranges_are_handed_on_in_order_whichever_is_prepared_first() {
        let (ledger, blocks) = (open(), chain(3, 1));
        let entry = |block: &Arc<Block>| FinalizedBlock { block: Block::clone(block), finalization: None };
        let (sender, ranges) = mpsc::channel(4);
        // The first takes longest.
        for (block, count) in blocks.iter().zip([20_000, 0, 1]) {
            sender.send(vec![entry(block); count]).await.unwrap();
        }
        sender.send(vec![entry(&blocks[1])]).await.unwrap();
        drop(sender);
        let (prepared, mut received) = mpsc::channel(PREPARED_MAX);
        tokio::spawn(prepare_all(ranges, ledger.signatures().behind_blocks(), ledger.reader(), prepared));
        let mut came = Vec::new();
        while let Some(Range { hash, blocks, .. }) = received.recv().await {
            came.push((hash, blocks.unwrap().len()));
        }
        let hash = |number: usize| blocks[number].header.hash();
        assert_eq!(came, [(hash(0), 20_000), (hash(2), 1), (hash(1), 1)]);
    }
}
