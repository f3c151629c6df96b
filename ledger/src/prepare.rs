//! What of a final block can be done before its turn comes, on other threads than the writer's.

use crate::error::LedgerError;
use crate::reader::Reader;
use crate::signatures::SignatureChecker;
use cairn_primitives::{Block, Certificate, FinalizedBlock, Hash};
use cairn_runtime::Transaction;
use std::sync::Arc;

/// A final block, decoded, its signatures looked at: what [`crate::Ledger::import_prepared`] takes.
///
/// It says nothing about validity: the ledger judges the block, and finds the verdicts on signatures with the transactions.
#[derive(Clone, Debug)]
pub struct PreparedBlock {
    pub(crate) block: Arc<Block>,
    pub(crate) hash: Hash,
    pub(crate) finalization: Option<Certificate>,
    /// The transactions; left to the ledger where one does not decode.
    pub(crate) transactions: Option<Vec<Transaction>>,
}

impl PreparedBlock {
    /// A block as it came.
    #[must_use]
    pub fn new(finalized: FinalizedBlock) -> Self {
        let FinalizedBlock { block, finalization } = finalized;
        let hash = block.header.hash();
        Self { block: Arc::new(block), hash, finalization, transactions: None }
    }

    /// The block.
    #[must_use]
    pub const fn block(&self) -> &Arc<Block> {
        &self.block
    }

    /// Its hash.
    #[must_use]
    pub const fn hash(&self) -> Hash {
        self.hash
    }

    /// The transactions, where they were decoded and all could be.
    #[must_use]
    pub fn transactions(&self) -> Option<&[Transaction]> {
        self.transactions.as_deref()
    }

    /// Decodes the transactions.
    pub fn decode(&mut self, signatures: &SignatureChecker) {
        self.transactions = signatures.decode(&self.block.extrinsics).ok();
    }

    /// Verifies the signatures of the decoded transactions; those whose era begins in a block that is not committed yet
    /// are left to the ledger.
    ///
    /// # Errors
    /// The hash of an era's block could not be read.
    pub fn verify(&self, signatures: &SignatureChecker, reader: &Reader) -> Result<(), LedgerError> {
        let Some(transactions) = &self.transactions else { return Ok(()) };
        // What does not hold is found again by the ledger, which says so.
        match signatures.check_once(transactions, self.block.header.height(), reader, drop) {
            Err(LedgerError::UnknownRules(_)) => Ok(()),
            checked => checked.map(drop),
        }
    }
}
