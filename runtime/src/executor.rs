//! Execution of whole blocks.
//!
//! ```text
//! Timestamp.set (bare, equal to the header's time) ─► reports of equivocation (bare) ─► signed transactions in order
//!   ─► fees shared out ─► changes, events
//! ```
//! Evidence in a report must hold, or the *block* is invalid; a report of somebody who cannot be punished only fails.
//!
//! For each signed transaction: nonce, room and payment are checked (else the *block* is invalid); nonce and fee are
//! taken for good; the call is executed and undone where it fails; the last event says how it ended.
//!
//! Signatures, eras and the hashes of era blocks are the caller's business: they are checked in batches before.
//! Bounds: [`BLOCK_WEIGHT_MAX`], [`BLOCK_EVENTS_MAX`], [`BLOCK_REPORTS_MAX`], the caller's byte limit.

use crate::dispatch::{DispatchClass, DispatchError, DispatchEventInfo, DispatchResult, Fault, Origin, Pays};
use crate::event::{EventRecord, Phase};
use crate::invalid::{InvalidTransaction, ValidateError};
use crate::modules::system::{Event as SystemEvent, LAST_RUNTIME_UPGRADE, LastRuntimeUpgradeInfo};
use crate::modules::transaction_payment::exec::{CollectedFees, charge, settle};
use crate::modules::transaction_payment::{FeeParameters, PARAMETERS};
use crate::modules::validators::{self, BLOCK_REPORTS_MAX};
use crate::modules::{RuntimeCall, timestamp};
use crate::overlay::Overlay;
use crate::rules::Rules;
use crate::state::{StateReadError, StateReader};
use crate::transaction::{Transaction, TransactionError};
use crate::validity::check_signed;
use crate::version::SPEC_NAME;
use crate::weight::{BLOCK_WEIGHT_MAX, Weight};
use crate::{client, validity::Admission};
use cairn_primitives::extrinsic::SignedPart;
use cairn_primitives::{AccountId32, Epoch, Evidence, EvidenceError, Hash, Height, StateChanges, TimestampMs};

/// A block emits no more events than this: clients download the events of a block as one value.
pub const BLOCK_EVENTS_MAX: usize = 1 << 17;

/// So much evidence is looked at for one block, at two signature checks each.
const REPORTS_TRIED_MAX: usize = 8 * BLOCK_REPORTS_MAX;

/// What execution needs to know of the block besides its transactions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockContext {
    /// The chain.
    pub genesis: Hash,
    /// The epoch.
    pub epoch: Epoch,
    /// The height.
    pub height: Height,
    /// Hash of the parent.
    pub parent_hash: Hash,
    /// The time in the header; the first extrinsic must set the same.
    pub timestamp: TimestampMs,
    /// Who receives the fees: the account of the proposer's key.
    pub proposer: AccountId32,
    /// The rules at its height.
    pub rules: Rules,
    /// Whether the block before had others.
    pub rules_begin: bool,
}

/// Bounds of a block that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockLimits {
    /// Sum of the encoded extrinsics with their length prefixes, in bytes.
    pub bytes_max: usize,
    /// Sum of the weights; never above [`BLOCK_WEIGHT_MAX`].
    pub weight_max: Weight,
}

/// What a block did.
#[derive(Clone, Debug)]
pub struct BlockOutcome {
    /// New values by key, in order; `None` where the key is removed. Keys whose value is what it was are left out.
    pub changes: StateChanges,
    /// The events, in order.
    pub events: Vec<EventRecord>,
    /// How each extrinsic ended, in order.
    pub results: Vec<Result<(), DispatchError>>,
    /// The weight of all extrinsics.
    pub weight: Weight,
}

/// A block that was built and executed.
#[derive(Clone, Debug)]
pub struct BuiltBlock {
    /// All extrinsics of the block: `Timestamp.set`, reports of equivocation, the transactions that were included.
    pub transactions: Vec<Transaction>,
    /// What they did.
    pub outcome: BlockOutcome,
    /// Candidates that were left out by hash; those with [`InvalidTransaction::ExhaustsResources`] or
    /// [`InvalidTransaction::Future`] may fit a later block.
    pub rejected: Vec<(Hash, InvalidTransaction)>,
}

/// Why a block cannot be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlockError {
    /// It does not begin with its time.
    #[error("the first extrinsic must be a bare Timestamp.set({expected})")]
    Timestamp {
        /// The time in the header, in milliseconds.
        expected: TimestampMs,
    },
    /// The time does not lie after that of the parent.
    #[error("the time {actual} does not lie after the previous block's {previous}")]
    TimestampOrder {
        /// The time in the header.
        actual: TimestampMs,
        /// The time in the state.
        previous: TimestampMs,
    },
    /// An extrinsic has no signature where it needs one.
    #[error(
        "extrinsic {index} has no signature: only Timestamp.set, once and first, and reports of equivocation right after \
         it may be bare"
    )]
    Bare {
        /// Its place.
        index: usize,
    },
    /// More reports of equivocation than allowed.
    #[error("{0} reports of equivocation, at most {BLOCK_REPORTS_MAX} are allowed")]
    Reports(usize),
    /// Reported evidence proves nothing.
    #[error("extrinsic {index}: {source}")]
    Evidence {
        /// Its place.
        index: usize,
        /// Why.
        source: EvidenceError,
    },
    /// A transaction may not be in this block.
    #[error("extrinsic {index}: {source}")]
    Invalid {
        /// Its place.
        index: usize,
        /// Why.
        source: InvalidTransaction,
    },
    /// An extrinsic of our own making does not decode.
    #[error("the block's own extrinsic is malformed: {0}")]
    Inherent(#[from] TransactionError),
    /// An amount left its range: the state breaks an invariant.
    #[error("the fees of the block cannot be shared out ({0:?}): the state breaks an invariant")]
    Settlement(DispatchError),
    /// This node cannot read its state; the block may be fine.
    #[error(transparent)]
    State(#[from] StateReadError),
}

impl BlockError {
    /// Whether the block itself is at fault, at every node, for ever.
    #[must_use]
    pub const fn is_invalid_block(&self) -> bool {
        match self {
            Self::Timestamp { .. }
            | Self::TimestampOrder { .. }
            | Self::Bare { .. }
            | Self::Reports(_)
            | Self::Evidence { .. }
            | Self::Invalid { .. } => true,
            Self::Inherent(_) | Self::Settlement(_) | Self::State(_) => false,
        }
    }
}

/// Executes a whole block on `state`.
///
/// # Errors
/// The block breaks a rule, or the state cannot be read.
pub fn execute_block(
    state: &dyn StateReader,
    context: &BlockContext,
    transactions: &[Transaction],
) -> Result<BlockOutcome, BlockError> {
    let mut execution = Execution::new(state, context)?;
    let (first, rest) = transactions.split_first().ok_or(BlockError::Timestamp { expected: context.timestamp })?;
    execution.apply_inherent(first)?;
    execution.prepare(rest)?;
    let reports = rest.iter().take_while(|transaction| reported(transaction).is_some()).count();
    if reports > BLOCK_REPORTS_MAX {
        return Err(BlockError::Reports(reports));
    }
    for (index, transaction) in (1usize..).zip(rest) {
        if let Some(evidence) = reported(transaction).filter(|_| index <= reports) {
            evidence.verify(&context.genesis).map_err(|source| BlockError::Evidence { index, source })?;
            execution.apply_report(transaction)?;
            continue;
        }
        let signed = transaction.signed().ok_or(BlockError::Bare { index })?;
        execution.overlay.begin_transaction(index.saturating_sub(1));
        execution.apply(transaction, signed, BLOCK_WEIGHT_MAX).map_err(|error| match error {
            ValidateError::Invalid(source) => BlockError::Invalid { index, source },
            ValidateError::State(error) => BlockError::State(error),
        })?;
    }
    execution.finish()
}

/// The evidence in a report of the block's own.
fn reported(transaction: &Transaction) -> Option<&Evidence> {
    let RuntimeCall::Validators(validators::Call::report_equivocation { evidence }) = transaction.call() else {
        return None;
    };
    transaction.signed().is_none().then_some(evidence)
}

/// Builds a block: `Timestamp.set` first, then reports of those among `evidence` that hold and punish somebody, up to
/// [`BLOCK_REPORTS_MAX`], then the candidates in order while they fit.
///
/// # Errors
/// The time does not lie after the parent's, or the state cannot be read. A candidate never makes it fail.
pub fn build_block(
    state: &dyn StateReader,
    context: &BlockContext,
    evidence: &[Evidence],
    candidates: &[Transaction],
    limits: BlockLimits,
) -> Result<BuiltBlock, BlockError> {
    let mut execution = Execution::new(state, context)?;
    let inherent = Transaction::decode(client::timestamp_extrinsic(context.timestamp))?;
    execution.apply_inherent(&inherent)?;
    let weight_max = Weight::from_ref_time(limits.weight_max.ref_time.min(BLOCK_WEIGHT_MAX.ref_time));
    let mut bytes_left = limits.bytes_max.saturating_sub(inherent.encoded_len());
    let mut transactions = vec![inherent];
    for evidence in evidence.iter().take(REPORTS_TRIED_MAX) {
        if transactions.len() > BLOCK_REPORTS_MAX {
            break;
        }
        if let Some(report) = execution.try_report(evidence, bytes_left)? {
            bytes_left = bytes_left.saturating_sub(report.encoded_len());
            transactions.push(report);
        }
    }
    let mut rejected = Vec::new();
    execution.prepare(candidates)?;
    for (place, candidate) in candidates.iter().enumerate() {
        let Some(signed) = candidate.signed() else {
            rejected.push((candidate.hash(), InvalidTransaction::Unsigned));
            continue;
        };
        let Some(left) = bytes_left.checked_sub(candidate.encoded_len()) else {
            rejected.push((candidate.hash(), InvalidTransaction::ExhaustsResources { resource: "bytes" }));
            continue;
        };
        execution.overlay.begin_transaction(place);
        match execution.apply(candidate, signed, weight_max) {
            Ok(()) => {
                bytes_left = left;
                transactions.push(candidate.clone());
            }
            Err(ValidateError::Invalid(invalid)) => rejected.push((candidate.hash(), invalid)),
            Err(ValidateError::State(error)) => return Err(error.into()),
        }
    }
    Ok(BuiltBlock { transactions, outcome: execution.finish()?, rejected })
}

/// A block in the middle of its execution.
struct Execution<'a> {
    context: &'a BlockContext,
    overlay: Overlay<'a>,
    parameters: FeeParameters,
    fees: CollectedFees,
    weight: Weight,
    results: Vec<Result<(), DispatchError>>,
}

impl<'a> Execution<'a> {
    fn new(state: &'a dyn StateReader, context: &'a BlockContext) -> Result<Self, BlockError> {
        let mut overlay = Overlay::new(state, context);
        let previous = overlay.value(&timestamp::NOW)?;
        if context.timestamp.0 <= previous {
            return Err(BlockError::TimestampOrder { actual: context.timestamp, previous: TimestampMs(previous) });
        }
        if context.rules_begin {
            let (spec_version, spec_name) = (context.rules.spec_version(), SPEC_NAME.into());
            overlay.set_value(&LAST_RUNTIME_UPGRADE, &LastRuntimeUpgradeInfo { spec_version, spec_name })?;
        }
        let parameters = overlay.value(&PARAMETERS)?;
        let (fees, weight, results) = (CollectedFees::default(), Weight::ZERO, Vec::new());
        Ok(Self { context, overlay, parameters, fees, weight, results })
    }

    /// Makes room for what these transactions will do, and reads their accounts ahead.
    fn prepare(&mut self, transactions: &[Transaction]) -> Result<(), StateReadError> {
        self.results.reserve(transactions.len());
        self.overlay.prepare(transactions.iter().map(Transaction::accounts))
    }

    /// Executes the extrinsic that sets the time.
    fn apply_inherent(&mut self, transaction: &Transaction) -> Result<(), BlockError> {
        let expected = self.context.timestamp;
        let wanted = RuntimeCall::Timestamp(timestamp::Call::set { now: expected.0 });
        if transaction.signed().is_some() || *transaction.call() != wanted {
            return Err(BlockError::Timestamp { expected });
        }
        self.overlay.enter(Phase::ApplyExtrinsic(0));
        let result = self.overlay.transactional(|overlay| transaction.call().dispatch(overlay, Origin::Block));
        self.conclude(result, DispatchClass::Mandatory, Pays::No, transaction.weight())?;
        Ok(())
    }

    /// Executes a report whose evidence was verified; whether it punished somebody.
    fn apply_report(&mut self, report: &Transaction) -> Result<bool, StateReadError> {
        self.overlay.enter(Phase::ApplyExtrinsic(u32::try_from(self.results.len()).unwrap_or(u32::MAX)));
        let result = self.overlay.transactional(|overlay| report.call().dispatch(overlay, Origin::Block));
        self.conclude(result, DispatchClass::Mandatory, Pays::No, report.weight())?;
        Ok(self.results.last().is_some_and(Result::is_ok))
    }

    /// Reports an equivocation where that punishes somebody and fits; otherwise nothing remains of it.
    fn try_report(&mut self, evidence: &Evidence, bytes_max: usize) -> Result<Option<Transaction>, BlockError> {
        let report = Transaction::decode(client::report_extrinsic(evidence))?;
        if report.encoded_len() > bytes_max || evidence.verify(&self.context.genesis).is_err() {
            return Ok(None);
        }
        let (mark, weight_before) = (self.overlay.mark(), self.weight);
        if self.apply_report(&report)? {
            return Ok(Some(report));
        }
        self.overlay.rollback(mark);
        self.weight = weight_before;
        self.results.pop();
        Ok(None)
    }

    /// Executes a signed transaction; where it may not be in the block, nothing of it remains.
    fn apply(
        &mut self,
        transaction: &Transaction,
        signed: &SignedPart,
        weight_max: Weight,
    ) -> Result<(), ValidateError> {
        let weight = transaction.weight();
        if !self.weight.saturating_add(weight).fits(weight_max) {
            return Err(InvalidTransaction::ExhaustsResources { resource: "weight" }.into());
        }
        let sender = self.overlay.load(&signed.signer)?;
        let mut info = self.overlay.account(sender).unwrap_or_default();
        let Admission { fee, next_nonce } =
            check_signed(transaction, signed, &info, (&self.parameters, self.context.rules))?;
        if signed.extra.nonce != info.nonce {
            return Err(InvalidTransaction::Future { expected: info.nonce, actual: signed.extra.nonce }.into());
        }
        let index = u32::try_from(self.results.len())
            .map_err(|_| InvalidTransaction::ExhaustsResources { resource: "extrinsic count" })?;
        self.overlay.enter(Phase::ApplyExtrinsic(index));
        let (mark, fees, weight_before) = (self.overlay.mark(), self.fees, self.weight);
        info.nonce = next_nonce;
        self.overlay.set_account(sender, Some(info));
        let tip = signed.extra.tip;
        charge(&mut self.overlay, &mut self.fees, &self.parameters, sender, fee, tip).map_err(|fault| match fault {
            Fault::State(error) => ValidateError::State(error),
            // The payment was checked; only a state that breaks the issuance invariant gets here.
            Fault::Failed(error) => ValidateError::State(StateReadError::new(format!("fees overflow: {error}"))),
        })?;
        let origin = Origin::Signed(signed.signer);
        let result = self.overlay.transactional(|overlay| transaction.call().dispatch(overlay, origin));
        self.overlay.emit(crate::modules::transaction_payment::Event::TransactionFeePaid {
            who: signed.signer,
            actual_fee: fee.saturating_add(tip),
            tip,
        });
        self.conclude(result, DispatchClass::Normal, Pays::Yes, weight)?;
        if self.overlay.event_count() > BLOCK_EVENTS_MAX {
            self.overlay.rollback(mark);
            (self.fees, self.weight) = (fees, weight_before);
            self.results.pop();
            return Err(InvalidTransaction::ExhaustsResources { resource: "events" }.into());
        }
        self.overlay.seal();
        Ok(())
    }

    /// Records how an extrinsic ended.
    fn conclude(
        &mut self,
        result: DispatchResult,
        class: DispatchClass,
        pays_fee: Pays,
        weight: Weight,
    ) -> Result<(), StateReadError> {
        let dispatch_info = DispatchEventInfo { weight, class, pays_fee };
        let result = match result {
            Ok(()) => Ok(()),
            Err(Fault::Failed(error)) => Err(error),
            Err(Fault::State(error)) => return Err(error),
        };
        self.overlay.emit(match result {
            Ok(()) => SystemEvent::ExtrinsicSuccess { dispatch_info },
            Err(dispatch_error) => SystemEvent::ExtrinsicFailed { dispatch_error, dispatch_info },
        });
        self.weight = self.weight.saturating_add(weight);
        self.results.push(result);
        Ok(())
    }

    fn finish(mut self) -> Result<BlockOutcome, BlockError> {
        self.overlay.enter(Phase::Finalization);
        settle(&mut self.overlay, &self.context.proposer, self.fees).map_err(|fault| match fault {
            Fault::State(error) => BlockError::State(error),
            Fault::Failed(error) => BlockError::Settlement(error),
        })?;
        let (changes, events) = self.overlay.finish();
        Ok(BlockOutcome { changes, events, results: self.results, weight: self.weight })
    }
}

#[cfg(test)]
mod tests;
