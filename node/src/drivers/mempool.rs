//! The way into the pool: decode once, verify signatures in batches, look at the account, admit, tell the peers.
//!
//! ```text
//!  rpc ────┐ (waits for room, gets an answer)
//!          ├─► offers ─► admission thread: decode · verify as one batch · validate ─► pool ─► gossip
//!  gossip ─┘ (dropped when there is no room)                                           │
//!                                                        ledger: select, committed ◄───┘
//! ```
//!
//! Whatever arrives while a batch is verified makes the next batch, so batches grow with the load. The pool is behind a
//! lock that is held for memory reads and state reads of cached pages only, never across a write.

use crate::drivers::ledger::LedgerHandle;
use crate::drivers::tell_network;
use crate::drivers::watchers::Watchers;
use crate::metrics::Metrics;
use cairn_ledger::{CommittedBlock, LedgerError, Reader, SignatureChecker};
use cairn_mempool::{AccountState, Ancestors, Input, Known, Origin, Output, Pool, PoolTransaction, Selection, Status};
use cairn_network::{GossipId, Handle as Network, Offence, PeerId, Verdict};
use cairn_primitives::{AccountId32, Hash, OpaqueExtrinsic};
use cairn_rpc::{Refusal, SubmitError, TransactionStatus};
use cairn_runtime::{
    AccountInfo, Admittance, BlockLimits, Era, InvalidTransaction, Transaction, TransactionError, ValidateError,
    Validity,
};
use parity_scale_codec::Decode;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// Offers that may wait for admission.
const OFFERS_MAX: usize = 1_024;

/// Transactions admitted as one batch: signature batches gain little beyond this.
const BATCH_MAX: usize = 1_024;

/// Transactions inserted under one lock: it is held for some hundred microseconds at most.
const INSERTED_TOGETHER: usize = 64;

/// For so many blocks after a change of the rules, a peer may hold a transaction that was signed for the other ones.
const RULES_SETTLE_BLOCKS: u32 = cairn_runtime::BLOCK_HASH_COUNT;

/// How often the pool looks for transactions that nobody included.
const TICK_INTERVAL: Duration = Duration::from_secs(1);

/// One verdict on an offered transaction.
pub type Answer = Result<Hash, SubmitError>;

/// Transactions on their way into the pool.
struct Offer {
    extrinsics: Vec<OpaqueExtrinsic>,
    from: Source,
}

/// Who offers, and what it wants to know.
enum Source {
    /// A client of this node.
    Local { reply: oneshot::Sender<Vec<Answer>> },
    /// A peer, by gossip.
    Gossip { peer: PeerId, id: GossipId },
}

/// The way to the pool.
#[derive(Clone)]
pub struct MempoolHandle {
    offers: mpsc::Sender<Offer>,
    shared: Arc<Shared>,
}

struct Shared {
    pool: Mutex<Pool<Transaction>>,
    watchers: Watchers,
    limits: BlockLimits,
    reader: Reader,
    network: Network,
    metrics: Metrics,
    started: Instant,
}

/// What the admission thread works with.
pub struct MempoolDriver {
    offers: mpsc::Receiver<Offer>,
    shared: Arc<Shared>,
    signatures: SignatureChecker,
    ledger: LedgerHandle,
}

/// The parts of the node that the mempool talks to.
pub struct Surroundings {
    /// Committed blocks and state.
    pub reader: Reader,
    /// Remembered signatures, shared with the ledger.
    pub signatures: SignatureChecker,
    /// Where admitted transactions are gossiped.
    pub network: Network,
    /// Who is told that there is something to propose.
    pub ledger: LedgerHandle,
    /// What is measured.
    pub metrics: Metrics,
}

impl MempoolHandle {
    /// A handle and the driver behind it.
    #[must_use]
    pub fn new(pool: Pool<Transaction>, limits: BlockLimits, around: Surroundings) -> (Self, MempoolDriver) {
        let (sender, offers) = mpsc::channel(OFFERS_MAX);
        let Surroundings { reader, signatures, network, ledger, metrics } = around;
        let shared = Arc::new(Shared {
            pool: Mutex::new(pool),
            watchers: Watchers::default(),
            limits,
            reader,
            network,
            metrics,
            started: Instant::now(),
        });
        let signatures = signatures.behind_blocks();
        (Self { offers: sender, shared: shared.clone() }, MempoolDriver { offers, shared, signatures, ledger })
    }

    /// Offers a client's transactions and waits for the verdicts, one each, in order.
    pub async fn submit(&self, extrinsics: Vec<OpaqueExtrinsic>) -> Vec<Answer> {
        let count = extrinsics.len();
        let stopping = || SubmitError { refusal: Refusal::Unavailable, detail: "the node is stopping".into() };
        let (reply, answers) = oneshot::channel();
        if self.offers.send(Offer { extrinsics, from: Source::Local { reply } }).await.is_err() {
            return vec![Err(stopping()); count];
        }
        answers.await.unwrap_or_else(|_| vec![Err(stopping()); count])
    }

    /// Offers what a peer gossiped; dropped if there is no room.
    pub fn gossiped(&self, peer: PeerId, id: GossipId, extrinsics: Vec<OpaqueExtrinsic>) {
        if let Err(mpsc::error::TrySendError::Full(offer)) =
            self.offers.try_send(Offer { extrinsics, from: Source::Gossip { peer, id } })
        {
            self.shared.metrics.gossip_dropped(offer.extrinsics.len());
        }
    }

    /// The states of a transaction, from before it is offered on.
    #[must_use]
    pub fn watch(&self, hash: Hash) -> mpsc::Receiver<TransactionStatus> {
        self.shared.watchers.watch(hash)
    }

    /// The best transactions for a block on top of blocks with `ancestors`, at most `count_max`.
    #[must_use]
    pub fn select(&self, ancestors: &[Transaction], count_max: usize) -> Vec<Transaction> {
        let mut used = Ancestors::default();
        for transaction in ancestors {
            if let Some(signed) = transaction.signed() {
                used.add(signed.signer, u64::from(signed.extra.nonce));
            }
        }
        let height = self.shared.reader.head().height.next();
        let selection = Selection {
            height,
            bytes_max: self.shared.limits.bytes_max,
            weight_max: self.shared.limits.weight_max.ref_time,
            count_max,
        };
        self.shared.pool().select(&selection, &used)
    }

    /// Drops transactions that the executor found impossible.
    pub fn reject(&self, rejected: &[(Hash, InvalidTransaction)]) {
        for (hash, invalid) in rejected {
            // One that came too early or does not fit this block stays; one that was included leaves with its block.
            if matches!(
                invalid,
                InvalidTransaction::Future { .. }
                    | InvalidTransaction::Stale { .. }
                    | InvalidTransaction::ExhaustsResources { .. }
            ) {
                continue;
            }
            self.shared.step(Input::Invalid { hash: *hash, reason: invalid.to_string() });
        }
    }

    /// Takes the transactions of a committed block out and looks again at those of the accounts it changed.
    pub fn committed(&self, block: &CommittedBlock) {
        let mut accounts = Vec::new();
        {
            let pool = self.shared.pool();
            for (key, value) in block.changes.changes().iter() {
                let Some(account) = cairn_runtime::keys::owner_of_system_account(key) else { continue };
                if pool.is_sender(&account) {
                    // Key and value were encoded by this very runtime; `None` is an account that is gone.
                    let info = value.and_then(|mut bytes| AccountInfo::decode(&mut bytes).ok());
                    accounts.push((account, account_state(&info.unwrap_or_default())));
                }
            }
        }
        let included = block.transactions.clone();
        self.shared.watchers.included(&block.hash, &included);
        self.shared.step(Input::BlockCommitted { height: block.height, included, accounts });
        self.shared.metrics.pool(&self.status());
    }

    /// Offers local transactions that nobody included to the peers again, now and then, until the mempool is gone.
    pub fn keep_ticking(&self) -> impl Future<Output = ()> + Send + use<> {
        let shared = Arc::downgrade(&self.shared);
        async move {
            let mut ticks = tokio::time::interval(TICK_INTERVAL);
            loop {
                ticks.tick().await;
                let Some(shared) = shared.upgrade() else { return };
                shared.step(Input::Tick);
            }
        }
    }

    /// How full the pool is.
    #[must_use]
    pub fn status(&self) -> Status {
        self.shared.pool().status()
    }

    /// The transactions that may be included next, in order, at most `limit`.
    #[must_use]
    pub fn pending(&self, limit: usize) -> Vec<OpaqueExtrinsic> {
        self.shared.pool().pending().take(limit).map(|transaction| transaction.payload.bytes().clone()).collect()
    }

    /// The nonce after the account's last waiting transaction.
    #[must_use]
    pub fn next_nonce(&self, account: &AccountId32, committed: u64) -> u64 {
        self.shared.pool().next_nonce(account, committed)
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool<Transaction>> {
        // A panic in the pool stops the node through its thread; until then its indexes are still memory-safe.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// One step of the pool; what follows goes to the watchers and to the peers.
    fn step(&self, input: Input<Transaction>) {
        let mut outputs = Vec::new();
        let mut again = Vec::new();
        {
            let mut pool = self.pool();
            pool.step(self.now_ms(), input, &mut outputs);
            for output in &outputs {
                if let Output::Propagate { hash } = output {
                    again.extend(pool.get(hash).map(|transaction| transaction.payload.bytes().clone()));
                }
            }
        }
        self.watchers.tell(&outputs);
        self.gossip(again);
    }

    fn gossip(&self, extrinsics: Vec<OpaqueExtrinsic>) {
        if extrinsics.is_empty() {
            return;
        }
        if let Err(error) = self.network.publish_transactions(extrinsics) {
            tracing::debug!(%error, "transactions were not gossiped; they are offered again later");
        }
    }
}

impl MempoolDriver {
    /// Runs until every handle is gone.
    ///
    /// # Errors
    /// Committed blocks or state cannot be read.
    pub fn run(mut self) -> anyhow::Result<()> {
        while let Some(first) = self.offers.blocking_recv() {
            let mut count = first.extrinsics.len();
            let mut offers = vec![first];
            while count < BATCH_MAX {
                let Ok(offer) = self.offers.try_recv() else { break };
                count = count.saturating_add(offer.extrinsics.len());
                offers.push(offer);
            }
            self.admit(offers)?;
        }
        Ok(())
    }

    /// Decodes, verifies and admits one batch, then answers everyone.
    fn admit(&self, offers: Vec<Offer>) -> anyhow::Result<()> {
        let mut verdicts: Vec<Vec<Option<Refused>>> = Vec::with_capacity(offers.len());
        let mut hashes: Vec<Vec<Hash>> = Vec::with_capacity(offers.len());
        let mut candidates: Vec<Candidate> = Vec::new();
        for (offer_index, offer) in offers.iter().enumerate() {
            let mut verdict = Vec::with_capacity(offer.extrinsics.len());
            let mut offer_hashes = Vec::with_capacity(offer.extrinsics.len());
            for (index, extrinsic) in offer.extrinsics.iter().enumerate() {
                match self.decode(extrinsic) {
                    Ok(transaction) => {
                        offer_hashes.push(transaction.hash());
                        verdict.push(None);
                        candidates.push(Candidate { offer_index, index, transaction, origin: offer.from.origin() });
                    }
                    Err((hash, refused)) => {
                        offer_hashes.push(hash);
                        verdict.push(Some(refused));
                    }
                }
            }
            hashes.push(offer_hashes);
            verdicts.push(verdict);
        }
        let transactions: Vec<_> = candidates.iter().map(|candidate| candidate.transaction.clone()).collect();
        let signed = match self.signatures.check_on_head(&transactions, &self.shared.reader) {
            Ok(signed) => signed,
            // The node is about to stop: nobody is answered any more.
            Err(LedgerError::UnknownRules(_)) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let head = self.shared.reader.head().height;
        let rules_are_settled = self.shared.reader.rules().are_settled(head, RULES_SETTLE_BLOCKS);
        let mut local = Vec::new();
        let mut admitted = false;
        let mut good = Vec::with_capacity(candidates.len());
        for (candidate, signature) in candidates.into_iter().zip(signed) {
            match signature {
                Ok(()) => good.push(candidate),
                Err(invalid) => {
                    let refused = Refused::of_signature(&candidate.transaction, invalid, rules_are_settled);
                    refuse(&mut verdicts, &candidate, refused);
                }
            }
        }
        for group in good.chunks(INSERTED_TOGETHER) {
            for (candidate, outcome) in group.iter().zip(self.insert(group)?) {
                match outcome {
                    Ok(bytes) => {
                        admitted = true;
                        local.extend(bytes);
                    }
                    Err(refused) => refuse(&mut verdicts, candidate, refused),
                }
            }
        }
        if admitted {
            self.ledger.pool_changed();
        }
        self.shared.gossip(local);
        self.shared.metrics.pool(&self.shared.pool().status());
        for ((offer, hashes), verdict) in offers.into_iter().zip(hashes).zip(verdicts) {
            self.answer(offer.from, hashes, verdict);
        }
        Ok(())
    }

    /// Decodes an extrinsic that the pool does not know yet.
    fn decode(&self, extrinsic: &OpaqueExtrinsic) -> Result<Transaction, (Hash, Refused)> {
        let transaction =
            Transaction::decode(extrinsic.clone()).map_err(|error| (extrinsic.hash(), Refused::Malformed(error)))?;
        let hash = transaction.hash();
        match self.shared.pool().known(&hash) {
            Some(Known::Pending) => Err((hash, Refused::Pool(cairn_mempool::Refusal::Duplicate))),
            Some(Known::Included(height)) => {
                Err((hash, Refused::Pool(cairn_mempool::Refusal::AlreadyIncluded { height })))
            }
            None => Ok(transaction),
        }
    }

    /// Puts transactions with good signatures into the pool; the bytes of each that this node is to gossip.
    fn insert(&self, candidates: &[Candidate]) -> anyhow::Result<Vec<Result<Option<OpaqueExtrinsic>, Refused>>> {
        let mut outcomes = Vec::with_capacity(candidates.len());
        let mut outputs = Vec::new();
        // The state is read under the lock: a block committed meanwhile is announced to the pool after this insertion.
        let mut pool = self.shared.pool();
        let next = self.shared.reader.head().height.next();
        let state = self.shared.reader.state_at_head();
        let admittance = Admittance::read(&state, next, self.shared.reader.rules())?;
        for candidate in candidates {
            let entry = match admittance.validate(&state, &candidate.transaction) {
                Ok(validity) => entry(&candidate.transaction, &validity),
                Err(ValidateError::State(error)) => return Err(error.into()),
                Err(ValidateError::Invalid(invalid)) => Err(invalid),
            };
            let (transaction, account) = match entry {
                Ok(entry) => entry,
                Err(invalid) => {
                    outcomes.push(Err(Refused::Invalid(invalid)));
                    continue;
                }
            };
            let input = Input::Insert { transaction, account, origin: candidate.origin };
            pool.step(self.shared.now_ms(), input, &mut outputs);
            outcomes.push(match outputs.last() {
                Some(Output::Admitted { propagate, .. }) => {
                    Ok(propagate.then(|| candidate.transaction.bytes().clone()))
                }
                Some(Output::Refused { reason, .. }) => Err(Refused::Pool(reason.clone())),
                _ => Ok(None),
            });
        }
        drop(pool);
        self.shared.watchers.tell(&outputs);
        Ok(outcomes)
    }

    fn answer(&self, from: Source, hashes: Vec<Hash>, verdicts: Vec<Option<Refused>>) {
        match from {
            Source::Local { reply } => {
                let answers = hashes.into_iter().zip(verdicts);
                let answers = answers.map(|(hash, refused)| refused.map_or(Ok(hash), |refused| Err(refused.into())));
                // A client that left needs no answer.
                drop(reply.send(answers.collect()));
            }
            Source::Gossip { peer, id } => {
                let network = &self.shared.network;
                let verdict = if verdicts.iter().flatten().any(Refused::is_misbehaviour) {
                    tell_network(network.report(peer, Offence::Malformed));
                    Verdict::Reject
                } else if verdicts.iter().any(Option::is_none) {
                    Verdict::Accept
                } else {
                    Verdict::Ignore
                };
                tell_network(network.verdict(id, verdict));
            }
        }
    }
}

impl Source {
    const fn origin(&self) -> Origin {
        match self {
            Self::Local { .. } => Origin::Local,
            Self::Gossip { .. } => Origin::Remote,
        }
    }
}

/// A decoded transaction and whose it is.
struct Candidate {
    offer_index: usize,
    index: usize,
    transaction: Transaction,
    origin: Origin,
}

/// Notes why a candidate was not admitted.
fn refuse(verdicts: &mut [Vec<Option<Refused>>], candidate: &Candidate, refused: Refused) {
    let verdict = verdicts.get_mut(candidate.offer_index).and_then(|verdict| verdict.get_mut(candidate.index));
    if let Some(place) = verdict {
        *place = Some(refused);
    }
}

/// A transaction and its sender as the pool takes them.
fn entry(
    transaction: &Transaction,
    validity: &Validity,
) -> Result<(PoolTransaction<Transaction>, AccountState), InvalidTransaction> {
    let signed = transaction.signed().ok_or(InvalidTransaction::Unsigned)?;
    let entry = PoolTransaction {
        hash: transaction.hash(),
        sender: signed.signer,
        nonce: u64::from(signed.extra.nonce),
        priority: validity.priority,
        cost_max: validity.cost_max,
        valid_until: validity.valid_until,
        bytes_len: transaction.bytes().bytes().len(),
        weight: validity.weight.ref_time,
        payload: transaction.clone(),
    };
    let account = AccountState { nonce: u64::from(validity.account_nonce), spendable: validity.spendable };
    Ok((entry, account))
}

/// Why a transaction was not admitted.
enum Refused {
    Malformed(TransactionError),
    /// Its signature holds at no height.
    Forged,
    Invalid(InvalidTransaction),
    Pool(cairn_mempool::Refusal),
}

impl Refused {
    /// Whether an honest peer cannot have forwarded it: its bytes or its signature are wrong whatever the state is.
    const fn is_misbehaviour(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::Forged)
    }

    /// A signature that was not accepted at the height of now.
    ///
    /// A mortal transaction signs the hash of a block that depends on the height, and an honest peer may be at another one;
    /// what an immortal one signs is the same everywhere, but where the rules change, which are signed too. A scheme that is
    /// not accepted here may be so in a later version.
    fn of_signature(transaction: &Transaction, invalid: InvalidTransaction, rules_are_settled: bool) -> Self {
        let is_immortal = transaction.signed().is_some_and(|signed| signed.extra.era == Era::Immortal);
        let is_forged = is_immortal && rules_are_settled && invalid == InvalidTransaction::BadProof;
        if is_forged { Self::Forged } else { Self::Invalid(invalid) }
    }
}

impl From<Refused> for SubmitError {
    fn from(refused: Refused) -> Self {
        let (refusal, detail) = match refused {
            Refused::Malformed(error) => (Refusal::Malformed, error.to_string()),
            Refused::Forged => (Refusal::BadSignature, InvalidTransaction::BadProof.to_string()),
            Refused::Invalid(invalid) => (refusal_of_invalid(&invalid), invalid.to_string()),
            Refused::Pool(reason) => (refusal_of_pool(&reason), reason.to_string()),
        };
        Self { refusal, detail }
    }
}

const fn refusal_of_invalid(invalid: &InvalidTransaction) -> Refusal {
    match invalid {
        InvalidTransaction::BadProof
        | InvalidTransaction::BadSigner
        | InvalidTransaction::UnsupportedSignature { .. } => Refusal::BadSignature,
        InvalidTransaction::Stale { .. } => Refusal::Stale,
        InvalidTransaction::Future { .. } => Refusal::Future,
        InvalidTransaction::Payment { .. } => Refusal::Unaffordable,
        InvalidTransaction::AncientBirthBlock => Refusal::EraEnded,
        InvalidTransaction::ExhaustsResources { .. } => Refusal::TooLarge,
        InvalidTransaction::Malformed { .. } | InvalidTransaction::Unsigned => Refusal::BadCall,
    }
}

const fn refusal_of_pool(reason: &cairn_mempool::Refusal) -> Refusal {
    use cairn_mempool::Refusal as Pool;
    match reason {
        Pool::Duplicate => Refusal::AlreadyKnown,
        Pool::AlreadyIncluded { .. } => Refusal::AlreadyIncluded,
        Pool::Stale { .. } => Refusal::Stale,
        Pool::TooFarFuture { .. } => Refusal::Future,
        Pool::Unaffordable { .. } => Refusal::Unaffordable,
        Pool::Oversized { .. } => Refusal::TooLarge,
        Pool::Expired { .. } => Refusal::EraEnded,
        Pool::PoolFull { .. } | Pool::PoolFullOfReady { .. } | Pool::SenderFull { .. } => Refusal::PoolFull,
        Pool::ReplacementTooCheap { .. } => Refusal::PriorityTooLow,
    }
}

fn account_state(info: &AccountInfo) -> AccountState {
    AccountState { nonce: u64::from(info.nonce), spendable: info.data.free }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::KeyPair;
    use cairn_runtime::TransactionExtra;
    use cairn_runtime::client::{sign, transfer_keep_alive};

    const GENESIS: Hash = Hash([1; 32]);

    fn transaction(era: Era) -> Transaction {
        let key = KeyPair::from_seed(&[3; 32]);
        let call = transfer_keep_alive(key.public().into(), 1);
        let signed = sign(&key, &call, TransactionExtra { era, nonce: 0, tip: 0 }, &GENESIS, &GENESIS);
        Transaction::decode(signed).unwrap()
    }

    #[test]
    fn only_a_wrong_signature_that_no_height_makes_right_is_blamed_on_its_sender() {
        let mortal = Era::mortal(64, 5);
        let unsupported = InvalidTransaction::UnsupportedSignature { scheme: "ecdsa" };
        for (era, invalid, is_misbehaviour) in [
            (Era::Immortal, InvalidTransaction::BadProof, true),
            (mortal, InvalidTransaction::BadProof, false),
            (mortal, InvalidTransaction::AncientBirthBlock, false),
            (Era::Immortal, unsupported, false),
        ] {
            let refused = |settled| Refused::of_signature(&transaction(era), invalid.clone(), settled);
            assert_eq!(refused(true).is_misbehaviour(), is_misbehaviour, "{era:?}, {invalid}");
            assert!(!refused(false).is_misbehaviour(), "where rules change, an honest peer may be behind");
        }
    }

    #[test]
    fn client_is_told_of_a_wrong_signature_in_the_same_way_for_every_era() {
        let told =
            |era| SubmitError::from(Refused::of_signature(&transaction(era), InvalidTransaction::BadProof, true));
        let (immortal, mortal) = (told(Era::Immortal), told(Era::mortal(64, 5)));
        assert_eq!((immortal.refusal, immortal.detail), (Refusal::BadSignature, mortal.detail));
    }
}
