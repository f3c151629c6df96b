//! Each signature is verified once per node: what the mempool verified is remembered until the block comes.
//!
//! The verdict is kept with the decoded transaction, and [`KnownTransactions`] finds that by the bytes in a block. Signatures
//! are verified in batches on all cores; the answers do not depend on how many there are. The ledger has threads for it, and
//! pool and block sync have others, which stand behind: blocks that are proposed do not wait for transactions that come meanwhile.

use crate::error::LedgerError;
use crate::known::KnownTransactions;
use crate::reader::Reader;
use crate::signers::{FETCHED_AT_ONCE, Signers};
use cairn_primitives::crypto::{Scheme, SignedMessage, batch_size, sr25519, verify_batch_with};
use cairn_primitives::extrinsic::Era;
use cairn_primitives::{Hash, Height, OpaqueExtrinsic, PublicKey};
use cairn_runtime::{
    BLOCK_HASH_COUNT, InvalidTransaction, Rules, RulesSchedule, SignatureClaim, Transaction, TransactionError,
};
use cairn_storage_cpu::Workers;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Extrinsics that one thread decodes at a time.
const DECODED_TOGETHER: usize = 512;
/// More threads than this do not help a node whose writer is one thread.
const THREADS_MAX: usize = 16;
/// Pool and block sync may verify at the same time, behind the ledger.
const CALLERS_BEHIND: usize = 2;
/// Fewer signatures are not worth an equation, and a thread, of their own.
const SHARE_MIN: usize = 64;

/// Where the hashes of earlier blocks come from: a transaction's era names one of them.
pub(crate) trait Ancestors {
    /// The hash of the block at `height` on the branch in question.
    fn hash_at(&self, height: Height) -> Result<Option<Hash>, LedgerError>;
}

/// Decodes transactions, verifies their signatures in batches, and remembers those that hold.
#[derive(Clone)]
pub struct SignatureChecker {
    genesis: Hash,
    rules: RulesSchedule,
    signers: Signers,
    known: KnownTransactions,
    workers: Arc<Workers>,
    /// Those that stand behind who executes and commits blocks.
    behind: Arc<Workers>,
    /// Whether all that comes is in final blocks.
    is_final: bool,
}

/// A signature to verify: the transaction's place, and the block that its era names.
type Open = (usize, Hash);

impl SignatureChecker {
    pub(crate) fn new(genesis: Hash, rules: RulesSchedule, signers: Signers) -> Self {
        let threads = Workers::cores(THREADS_MAX);
        let workers = Arc::new(Workers::new("signatures", threads, 1));
        let behind = Arc::new(Workers::new("verifier", threads, CALLERS_BEHIND).behind());
        Self { genesis, rules, signers, known: KnownTransactions::default(), workers, behind, is_final: false }
    }

    /// One for the transactions of final blocks alone: it takes the word of the quorum that verified them.
    pub(crate) fn for_final_blocks(&self) -> Self {
        Self { is_final: true, ..self.clone() }
    }

    /// One whose threads leave the cores to those that execute and commit blocks, while whoever asks waits for them.
    #[must_use]
    pub fn behind_blocks(&self) -> Self {
        Self { workers: Arc::clone(&self.behind), ..self.clone() }
    }

    /// The transactions of a block, remembered or decoded; at fault, the place of the first that does not decode.
    pub(crate) fn decode(&self, extrinsics: &[OpaqueExtrinsic]) -> Result<Vec<Transaction>, (usize, TransactionError)> {
        let mut found = self.known.find(extrinsics);
        let missing: Vec<_> = (0usize..)
            .zip(&found)
            .zip(extrinsics)
            .filter_map(|((place, known), extrinsic)| known.is_none().then_some((place, extrinsic)))
            .collect();
        let missing: Vec<_> = missing.chunks(DECODED_TOGETHER).collect();
        let decoded = self.workers.map(&missing, |chunk| {
            let transactions = Transaction::decode_each(chunk.iter().map(|(_, extrinsic)| *extrinsic));
            let placed = chunk.iter().zip(transactions).map(|((place, _), transaction)| {
                transaction.map(|transaction| (*place, transaction)).map_err(|error| (*place, error))
            });
            placed.collect::<Result<Vec<_>, _>>()
        });
        for chunk in decoded {
            for (place, transaction) in chunk? {
                if let Some(entry) = found.get_mut(place) {
                    *entry = Some(transaction);
                }
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Checks the signatures of transactions for a block at `height`; one answer each, in order. Those that hold are found again
    /// by their bytes.
    ///
    /// Bare extrinsics have none and pass.
    ///
    /// # Errors
    /// The hash of an era's block could not be read, or the rules at `height` are not here.
    pub(crate) fn check(
        &self,
        transactions: &[Transaction],
        height: Height,
        ancestors: &dyn Ancestors,
    ) -> Result<Vec<Result<(), InvalidTransaction>>, LedgerError> {
        let mut verified = Vec::new();
        let answers = self.check_once(transactions, height, ancestors, |transaction| verified.push(transaction))?;
        self.known.remember(verified.into_iter());
        Ok(answers)
    }

    /// The same of transactions that come once, in a final block. What is verified just now is handed out.
    ///
    /// # Errors
    /// The same.
    pub(crate) fn check_once<'a>(
        &self,
        transactions: &'a [Transaction],
        height: Height,
        ancestors: &dyn Ancestors,
        mut on_verified: impl FnMut(&'a Transaction),
    ) -> Result<Vec<Result<(), InvalidTransaction>>, LedgerError> {
        let rules = self.rules.at(height)?;
        if self.is_final {
            return Ok(vec![Ok(()); transactions.len()]);
        }
        let mut results: Vec<Result<(), InvalidTransaction>> = Vec::with_capacity(transactions.len());
        let mut open: Vec<Open> = Vec::new();
        let mut era_blocks = BTreeMap::new();
        for (position, transaction) in transactions.iter().enumerate() {
            results.push(Ok(()));
            let Some(signed) = transaction.signed() else { continue };
            match era_block(&signed.extra.era, height, self.genesis, ancestors, &mut era_blocks)? {
                Ok(hash) if transaction.is_signature_known(rules, &self.genesis, &hash) => {}
                Ok(hash) => open.push((position, hash)),
                Err(invalid) => set(&mut results, position, invalid),
            }
        }
        let share = batch_size(open.len(), self.workers.count()).max(SHARE_MIN);
        let batches: Vec<_> = open.chunks(share).collect();
        let verdicts = self.workers.map(&batches, |batch| self.verify(rules, transactions, batch));
        for ((position, era_block), verdict) in open.into_iter().zip(verdicts.into_iter().flatten()) {
            match (verdict, transactions.get(position)) {
                (Ok(()), Some(transaction)) => {
                    transaction.remember_signature(rules, &self.genesis, &era_block);
                    on_verified(transaction);
                }
                (Ok(()), None) => {}
                (Err(invalid), _) => set(&mut results, position, invalid),
            }
        }
        Ok(results)
    }

    /// Checks the signatures of transactions for the block after the committed head.
    ///
    /// # Errors
    /// The hash of an era's block could not be read, or the rules of that block are not here.
    pub fn check_on_head(
        &self,
        transactions: &[Transaction],
        reader: &Reader,
    ) -> Result<Vec<Result<(), InvalidTransaction>>, LedgerError> {
        self.check(transactions, reader.head().height.next(), reader)
    }

    /// Forgets the transactions of a committed block: they do not come again.
    pub(crate) fn forget(&self, transactions: &[Transaction]) {
        self.known.forget(transactions);
    }

    /// Verifies one batch; the answers in its order.
    fn verify(
        &self,
        rules: Rules,
        transactions: &[Transaction],
        batch: &[Open],
    ) -> Vec<Result<(), InvalidTransaction>> {
        let claims: Vec<Result<SignatureClaim, InvalidTransaction>> = batch
            .iter()
            .map(|(position, era_block)| {
                let transaction = transactions.get(*position).ok_or(InvalidTransaction::BadProof)?;
                transaction.signature_claim(rules, &self.genesis, era_block)
            })
            .collect();
        let mut valid = vec![false; claims.len()];
        for scheme in [Scheme::Ed25519, Scheme::Sr25519] {
            let signed = || {
                let claims = claims.iter().zip(0_usize..);
                claims.filter_map(|(claim, place)| Some((claim.as_ref().ok()?, place)))
            };
            let of_scheme = || signed().filter(|(claim, _)| claim.scheme == scheme);
            let messages: Vec<_> = of_scheme()
                .map(|(claim, _)| SignedMessage { key: claim.key, message: &claim.payload, signature: claim.signature })
                .collect();
            let verdicts = match scheme {
                Scheme::Ed25519 => self.verify_ed25519(&messages),
                Scheme::Sr25519 => sr25519::verify_batch(&messages),
            };
            for ((_, place), verdict) in of_scheme().zip(verdicts) {
                if let Some(valid) = valid.get_mut(place) {
                    *valid = verdict;
                }
            }
        }
        let verdict = |(claim, valid): (Result<SignatureClaim, InvalidTransaction>, bool)| {
            claim.and(if valid { Ok(()) } else { Err(InvalidTransaction::BadProof) })
        };
        claims.into_iter().zip(valid).map(verdict).collect()
    }

    /// Verifies signatures with the points of keys that are remembered.
    fn verify_ed25519(&self, messages: &[SignedMessage<'_>]) -> Vec<bool> {
        // The keys are asked for one after the other.
        let mut groups = messages.chunks(FETCHED_AT_ONCE);
        let mut fetched = 0_usize;
        let mut point = |key: &PublicKey| {
            if fetched == 0 {
                let group = groups.next().unwrap_or_default();
                self.signers.fetch_ahead(group.iter().map(|message| &message.key));
                fetched = group.len();
            }
            fetched = fetched.saturating_sub(1);
            self.signers.point(key)
        };
        verify_batch_with(messages, &mut point)
    }
}

fn set(results: &mut [Result<(), InvalidTransaction>], position: usize, invalid: InvalidTransaction) {
    if let Some(result) = results.get_mut(position) {
        *result = Err(invalid);
    }
}

/// The hash that a transaction of `era` signs when it goes into a block at `height`.
fn era_block(
    era: &Era,
    height: Height,
    genesis: Hash,
    ancestors: &dyn Ancestors,
    known: &mut BTreeMap<u64, Hash>,
) -> Result<Result<Hash, InvalidTransaction>, LedgerError> {
    if *era == Era::Immortal {
        return Ok(Ok(genesis));
    }
    let birth = era.birth(u64::from(height.0));
    if let Some(hash) = known.get(&birth) {
        return Ok(Ok(*hash));
    }
    let age = u64::from(height.0).saturating_sub(birth);
    let Ok(birth_height) = u32::try_from(birth).map(Height) else {
        return Ok(Err(InvalidTransaction::AncientBirthBlock));
    };
    if age > u64::from(BLOCK_HASH_COUNT) || birth_height >= height {
        return Ok(Err(InvalidTransaction::AncientBirthBlock));
    }
    let Some(hash) = ancestors.hash_at(birth_height)? else {
        return Ok(Err(InvalidTransaction::AncientBirthBlock));
    };
    known.insert(birth, hash);
    Ok(Ok(hash))
}

#[cfg(test)]
mod tests;
