//! The runtime calls that clients make by name through `state_call`: SCALE in, SCALE out, for any bytes.
//!
//! Nothing here trusts its input: it comes straight from the public. Each call costs a few reads at most; only
//! `validate_transaction` verifies a signature.

use crate::invalid::{InvalidTransaction, TransactionValidityError, ValidateError};
use crate::metadata::{METADATA_VERSIONS, encoded, v14_encoded};
use crate::modules::transaction_payment::{InclusionFee, PARAMETERS};
use crate::rules::RulesSchedule;
use crate::state::{StateReadError, StateReader};
use crate::transaction::{Transaction, TransactionError};
use crate::validity::{account, validate};
use crate::version::runtime_version;
use crate::weight::Weight;
use crate::{DispatchClass, Era};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::extrinsic::EXTRINSIC_BYTES_MAX;
use cairn_primitives::{AccountId32, Hash, Height, OpaqueExtrinsic};
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Input beyond this is refused: the largest extrinsic and what comes with it, in bytes.
const INPUT_BYTES_MAX: usize = EXTRINSIC_BYTES_MAX + 64;

/// Where the hashes of blocks below the one asked about come from.
pub trait BlockHashes {
    /// The hash of the block at `height`; `None` where it is not known any more.
    ///
    /// # Errors
    /// The hash cannot be read.
    fn block_hash(&self, height: Height) -> Result<Option<Hash>, StateReadError>;
}

/// The block that a call asks about.
#[derive(Clone, Copy)]
pub struct CallContext<'a> {
    /// Its height; the state is the one after it.
    pub height: Height,
    /// The chain.
    pub genesis_hash: Hash,
    /// The blocks up to and including this one.
    pub block_hashes: &'a dyn BlockHashes,
    /// Which rules hold at which height; answers are by those of the next one.
    pub schedule: &'a RulesSchedule,
}

/// Why a runtime call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CallError {
    /// No call has this name; clients compare the text.
    #[error("Exported method {name} is not found")]
    UnknownMethod {
        /// The name, cut to 80 characters.
        name: String,
    },
    /// The argument does not decode.
    #[error("bad input: {0}")]
    Input(#[from] DecodeError),
    /// The extrinsic in the argument does not decode.
    #[error("bad extrinsic: {0}")]
    Extrinsic(#[from] TransactionError),
    /// The state cannot be read.
    #[error(transparent)]
    State(#[from] StateReadError),
}

/// Where a transaction to validate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
#[allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]
pub enum TransactionSource {
    /// A block.
    InBlock,
    /// This node.
    Local,
    /// Elsewhere.
    External,
}

/// What clients learn of a valid transaction.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct ValidTransaction {
    /// The tip, cut to what fits.
    pub priority: u64,
    /// What must come before it: sender and nonce, encoded.
    pub requires: Vec<Vec<u8>>,
    /// What it makes possible: sender and nonce, encoded.
    pub provides: Vec<Vec<u8>>,
    /// For how many blocks it stays valid.
    pub longevity: u64,
    /// Whether it is told to others.
    pub propagate: bool,
}

/// Weight, class and fee of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct RuntimeDispatchInfo {
    /// Its weight.
    pub weight: Weight,
    /// Its class.
    pub class: DispatchClass,
    /// The fee without a tip, in base units.
    pub partial_fee: u128,
}

/// The parts of what a transaction pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct FeeDetails {
    /// The fee; none for a bare extrinsic.
    pub inclusion_fee: Option<InclusionFee>,
    /// The tip, in base units.
    pub tip: u128,
}

/// Answers a runtime call at a block.
///
/// # Errors
/// The name is unknown, the argument does not decode, or the state cannot be read.
pub fn call(
    name: &str,
    input: &[u8],
    state: &dyn StateReader,
    context: &CallContext<'_>,
) -> Result<Vec<u8>, CallError> {
    let rules = context.schedule.after(context.height).map_err(StateReadError::new)?;
    match name {
        "Core_version" => {
            decode::<()>("argument", input)?;
            Ok(runtime_version(rules).encode())
        }
        "Metadata_metadata" => {
            decode::<()>("argument", input)?;
            Ok(v14_encoded(rules).encode())
        }
        "Metadata_metadata_at_version" => Ok(encoded(rules, decode("version", input)?).encode()),
        "Metadata_metadata_versions" => {
            decode::<()>("argument", input)?;
            Ok(METADATA_VERSIONS.to_vec().encode())
        }
        "AccountNonceApi_account_nonce" => {
            let id: AccountId32 = decode("account", input)?;
            Ok(account(state, &id)?.nonce.encode())
        }
        "TaggedTransactionQueue_validate_transaction" => {
            let (_, extrinsic, _): (TransactionSource, OpaqueExtrinsic, Hash) =
                decode("source, extrinsic, block", input)?;
            Ok(validate_transaction(extrinsic, state, context)?.encode())
        }
        "TransactionPaymentApi_query_info" => Ok(query_info(&decode_extrinsic(input)?, state)?.encode()),
        "TransactionPaymentApi_query_fee_details" => Ok(query_fee_details(&decode_extrinsic(input)?, state)?.encode()),
        _ => Err(CallError::UnknownMethod { name: name.chars().take(80).collect() }),
    }
}

fn decode<T: Decode + Encode>(what: &'static str, input: &[u8]) -> Result<T, DecodeError> {
    decode_strict(what, input, INPUT_BYTES_MAX)
}

/// The extrinsic with its length after it; the length is counted here anew.
fn decode_extrinsic(input: &[u8]) -> Result<Transaction, CallError> {
    let (extrinsic, _): (OpaqueExtrinsic, u32) = decode("extrinsic, length", input)?;
    Ok(Transaction::decode(extrinsic)?)
}

fn inclusion_fee(transaction: &Transaction, state: &dyn StateReader) -> Result<Option<InclusionFee>, StateReadError> {
    if transaction.signed().is_none() {
        return Ok(None);
    }
    let parameters = PARAMETERS.read(state)?;
    Ok(Some(InclusionFee::new(&parameters, transaction.encoded_len(), transaction.weight())))
}

fn query_info(transaction: &Transaction, state: &dyn StateReader) -> Result<RuntimeDispatchInfo, StateReadError> {
    let class = if transaction.signed().is_some() { DispatchClass::Normal } else { DispatchClass::Mandatory };
    let partial_fee = inclusion_fee(transaction, state)?.map_or(0, |fee| fee.total());
    Ok(RuntimeDispatchInfo { weight: transaction.weight(), class, partial_fee })
}

fn query_fee_details(transaction: &Transaction, state: &dyn StateReader) -> Result<FeeDetails, StateReadError> {
    let tip = transaction.signed().map_or(0, |signed| signed.extra.tip);
    Ok(FeeDetails { inclusion_fee: inclusion_fee(transaction, state)?, tip })
}

fn validate_transaction(
    extrinsic: OpaqueExtrinsic,
    state: &dyn StateReader,
    context: &CallContext<'_>,
) -> Result<Result<ValidTransaction, TransactionValidityError>, StateReadError> {
    match judge(extrinsic, state, context) {
        Ok(valid) => Ok(Ok(valid)),
        Err(ValidateError::Invalid(invalid)) => Ok(Err(invalid.to_validity_error())),
        Err(ValidateError::State(error)) => Err(error),
    }
}

fn judge(
    extrinsic: OpaqueExtrinsic,
    state: &dyn StateReader,
    context: &CallContext<'_>,
) -> Result<ValidTransaction, ValidateError> {
    let transaction = Transaction::decode(extrinsic).map_err(InvalidTransaction::from)?;
    let next_height = context.height.next();
    let rules = context.schedule.at(next_height).map_err(StateReadError::new)?;
    let validity = validate(state, &transaction, next_height, context.schedule)?;
    let signed = transaction.signed().ok_or(InvalidTransaction::Unsigned)?;
    let era_block = match signed.extra.era {
        Era::Immortal => Some(context.genesis_hash),
        Era::Mortal { .. } => match u32::try_from(signed.extra.era.birth(u64::from(next_height.0))) {
            Ok(birth) => context.block_hashes.block_hash(Height(birth))?,
            Err(_) => None,
        },
    };
    let era_block = era_block.ok_or(InvalidTransaction::AncientBirthBlock)?;
    let claim = transaction.signature_claim(rules, &context.genesis_hash, &era_block)?;
    if !claim.holds() {
        return Err(InvalidTransaction::BadProof.into());
    }
    let nonce = signed.extra.nonce;
    let requires = match nonce.checked_sub(1) {
        Some(previous) if nonce > validity.account_nonce => vec![(signed.signer, previous).encode()],
        _ => Vec::new(),
    };
    Ok(ValidTransaction {
        priority: u64::try_from(validity.priority).unwrap_or(u64::MAX),
        requires,
        provides: vec![(signed.signer, nonce).encode()],
        longevity: u64::from(validity.valid_until.0.saturating_sub(context.height.0)),
        propagate: true,
    })
}

#[cfg(test)]
mod tests;
