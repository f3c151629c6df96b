//! The rate at which this machine verifies signatures when it does nothing else.

use crate::meter::{Cost, timed};
use anyhow::{Context, ensure};
use cairn_primitives::crypto::{SignedMessage, batch_size, verify_batch};
use cairn_primitives::{Hash, OpaqueExtrinsic};
use cairn_runtime::{Rules, SignatureClaim, Transaction};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// How often all signatures are verified for one measurement.
const REPEATS: u32 = 4;

/// Signatures to verify, and what that has cost so far, measurement by measurement.
pub(crate) struct Limit {
    claims: Vec<SignatureClaim>,
    /// What each measurement has cost.
    pub(crate) costs: Vec<Cost>,
    /// On how many threads.
    pub(crate) threads: usize,
}

impl Limit {
    /// The signatures of the first blocks.
    pub(crate) fn new(transfers: &[Vec<OpaqueExtrinsic>]) -> anyhow::Result<Self> {
        let mut claims = Vec::new();
        for extrinsic in transfers.iter().take(10).flatten() {
            let transaction = Transaction::decode(extrinsic.clone())?;
            // All transfers are immortal; which chain it is makes no difference to the cost, so nothing here needs to hold.
            claims.push(transaction.signature_claim(Rules::NEWEST, &Hash::ZERO, &Hash::ZERO)?);
        }
        let threads = thread::available_parallelism()?.get();
        Ok(Self { claims: valid(claims)?, costs: Vec::new(), threads })
    }

    /// Verifies all of them some more times, from bytes, in batches, on all cores; the keys are decompressed each time. A machine
    /// that others use is sometimes faster and sometimes slower: before and after what is compared with it, this is nearest
    /// to it.
    pub(crate) fn measure(&mut self) -> anyhow::Result<()> {
        let ((), cost) = timed(|| (0..REPEATS).try_for_each(|_| verify_all(&self.claims, self.threads)))?;
        self.costs.push(cost);
        Ok(())
    }

    /// The signatures of one measurement.
    pub(crate) fn signatures(&self) -> f64 {
        self.claims.len() as f64 * f64::from(REPEATS)
    }
}

/// The same messages under signatures that hold: batches with wrong ones would be looked at again one by one.
fn valid(claims: Vec<SignatureClaim>) -> anyhow::Result<Vec<SignatureClaim>> {
    let count = u32::try_from(claims.len())?;
    crate::accounts::in_parts(count, |place| {
        let claim = usize::try_from(place).ok().and_then(|place| claims.get(place))?;
        let key = crate::accounts::key(place);
        let signature = key.sign(&claim.payload);
        Some(SignatureClaim { key: key.public(), signature, ..claim.clone() })
    })?
    .into_iter()
    .map(|claim| claim.context("a claim was lost"))
    .collect()
}

fn verify_all(claims: &[SignatureClaim], threads: usize) -> anyhow::Result<()> {
    let chunks: Vec<_> = claims.chunks(batch_size(claims.len(), threads)).collect();
    let (next, wrong) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(chunk) = chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let items: Vec<_> = chunk
                        .iter()
                        .map(|claim| SignedMessage {
                            key: claim.key,
                            message: &claim.payload,
                            signature: claim.signature,
                        })
                        .collect();
                    let refused = verify_batch(&items).into_iter().filter(|valid| !valid).count();
                    wrong.fetch_add(refused, Ordering::Relaxed);
                }
            });
        }
    });
    ensure!(wrong.into_inner() == 0, "signatures of our own do not hold");
    Ok(())
}
