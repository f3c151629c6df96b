//! Each signature is verified once per node: what the mempool verified is remembered until the block comes.

use crate::error::LedgerError;
use crate::key_points::KeyPoints;
use crate::reader::Reader;
use cairn_primitives::crypto::{SignedMessage, verify_batch_with};
use cairn_primitives::extrinsic::Era;
use cairn_primitives::{Hash, Height};
use cairn_runtime::{BLOCK_HASH_COUNT, InvalidTransaction, SignatureClaim, Transaction};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many verified signatures are remembered: more than the mempool and the blocks above the head hold together,
/// at 64 bytes each.
pub const SIGNATURES_REMEMBERED_MAX: usize = 1 << 17;

/// Where the hashes of earlier blocks come from: a transaction's era names one of them.
pub(crate) trait Ancestors {
    /// The hash of the block at `height` on the branch in question.
    fn hash_at(&self, height: Height) -> Result<Option<Hash>, LedgerError>;
}

/// Verifies transactions' signatures in batches and remembers which hold.
#[derive(Clone)]
pub struct SignatureChecker {
    genesis: Hash,
    keys: Arc<KeyPoints>,
    verified: Arc<Mutex<Verified>>,
}

/// Pairs of transaction and era block, oldest first.
#[derive(Default)]
struct Verified {
    known: BTreeSet<(Hash, Hash)>,
    order: VecDeque<(Hash, Hash)>,
}

impl Verified {
    fn remember(&mut self, entry: (Hash, Hash)) {
        if self.known.insert(entry) {
            self.order.push_back(entry);
        }
        while self.order.len() > SIGNATURES_REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.known.remove(&oldest);
            }
        }
    }
}

impl SignatureChecker {
    pub(crate) fn new(genesis: Hash) -> Self {
        Self { genesis, keys: Arc::default(), verified: Arc::default() }
    }

    /// Checks the signatures of transactions for a block at `height`; one answer each, in order.
    ///
    /// Bare extrinsics have none and pass.
    ///
    /// # Errors
    /// The hash of an era's block could not be read.
    pub(crate) fn check(
        &self,
        transactions: &[Transaction],
        height: Height,
        ancestors: &dyn Ancestors,
    ) -> Result<Vec<Result<(), InvalidTransaction>>, LedgerError> {
        let mut results: Vec<Result<(), InvalidTransaction>> = Vec::with_capacity(transactions.len());
        let mut claims: Vec<(usize, (Hash, Hash), SignatureClaim)> = Vec::new();
        let mut era_blocks = BTreeMap::new();
        for (position, transaction) in transactions.iter().enumerate() {
            results.push(Ok(()));
            let Some(signed) = transaction.signed() else { continue };
            let era_block = match era_block(&signed.extra.era, height, self.genesis, ancestors, &mut era_blocks)? {
                Ok(hash) => hash,
                Err(invalid) => {
                    set(&mut results, position, invalid);
                    continue;
                }
            };
            let entry = (transaction.hash(), era_block);
            if self.lock().known.contains(&entry) {
                continue;
            }
            match transaction.signature_claim(&self.genesis, &era_block) {
                Ok(claim) => claims.push((position, entry, claim)),
                Err(invalid) => set(&mut results, position, invalid),
            }
        }
        self.verify_claims(&claims, &mut results);
        Ok(results)
    }

    /// Checks the signatures of transactions for the block after the committed head.
    ///
    /// # Errors
    /// The hash of an era's block could not be read.
    pub fn check_on_head(
        &self,
        transactions: &[Transaction],
        reader: &Reader,
    ) -> Result<Vec<Result<(), InvalidTransaction>>, LedgerError> {
        self.check(transactions, reader.head().height.next(), reader)
    }

    fn verify_claims(
        &self,
        claims: &[(usize, (Hash, Hash), SignatureClaim)],
        results: &mut [Result<(), InvalidTransaction>],
    ) {
        let messages: Vec<_> = claims
            .iter()
            .map(|(_, _, claim)| SignedMessage { key: claim.key, message: &claim.payload, signature: claim.signature })
            .collect();
        let verdicts = verify_batch_with(&messages, &mut |key| self.keys.point(key));
        let mut verified = self.lock();
        for ((position, entry, _), valid) in claims.iter().zip(verdicts) {
            if valid {
                verified.remember(*entry);
            } else {
                set(results, *position, InvalidTransaction::BadProof);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Verified> {
        // A panic elsewhere cannot leave a half-made entry that would pass for verified.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
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
