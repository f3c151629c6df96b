//! Weights: how long execution may take, in picoseconds of `ref_time`.
//!
//! The figures are estimates for one core of the reference machine, on the safe side, until the weight benchmark
//! replaces them. `proof_size` exists for clients and is always zero: nobody executes our blocks without the state.

use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// Picoseconds in a microsecond: what the constants below are written in.
pub const PICOSECONDS_PER_MICROSECOND: u64 = 1_000_000;

const fn microseconds(count: u64) -> u64 {
    count.saturating_mul(PICOSECONDS_PER_MICROSECOND)
}

/// What every signed extrinsic costs besides its call: its share of a signature batch, decoding, nonce, fee, events.
pub const EXTRINSIC_BASE: Weight = Weight::from_ref_time(microseconds(30));

/// What a transfer costs: two accounts read, two written and hashed into the state root.
pub const TRANSFER: Weight = Weight::from_ref_time(microseconds(20));

/// What destroying part of one's balance costs: an account and the issuance written.
pub const BURN: Weight = Weight::from_ref_time(microseconds(15));

/// What a remark costs besides its bytes.
pub const REMARK: Weight = Weight::from_ref_time(microseconds(1));

/// What hashing one byte of a remark costs, in picoseconds.
pub const REMARK_PER_BYTE: u64 = 2_000;

/// What an event costs that a call exists to emit: it is encoded, hashed into the events root and stored.
pub const EVENT: Weight = Weight::from_ref_time(microseconds(2));

/// What setting the time costs.
pub const TIMESTAMP_SET: Weight = Weight::from_ref_time(microseconds(10));

/// What punishing an equivocation costs: two signatures checked, the next epoch's validators read, written and hashed.
pub const REPORT_EQUIVOCATION: Weight = Weight::from_ref_time(microseconds(250));

/// What setting a validator costs: the next epoch's validators read, written and hashed.
pub const SET_VALIDATOR: Weight = Weight::from_ref_time(microseconds(100));

/// What changing a validator's key costs: two signatures checked, the next epoch's validators read, written and hashed.
pub const ROTATE_KEY: Weight = Weight::from_ref_time(microseconds(250));

/// What a batch costs besides its calls.
pub const BATCH: Weight = Weight::from_ref_time(microseconds(2));

/// What each call of a batch costs besides itself.
pub const BATCH_PER_CALL: Weight = Weight::from_ref_time(microseconds(1));

/// A block weighs no more than this: a second, so that one core keeps up with any block interval in use.
pub const BLOCK_WEIGHT_MAX: Weight = Weight::from_ref_time(microseconds(1_000_000));

/// The cost of executing something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Encode, Decode, TypeInfo)]
pub struct Weight {
    /// Picoseconds.
    #[codec(compact)]
    pub ref_time: u64,
    /// Bytes of proof; always zero.
    #[codec(compact)]
    pub proof_size: u64,
}

impl Weight {
    /// No cost.
    pub const ZERO: Self = Self::from_ref_time(0);

    /// A weight of `ref_time` picoseconds.
    #[must_use]
    pub const fn from_ref_time(ref_time: u64) -> Self {
        Self { ref_time, proof_size: 0 }
    }

    /// The sum, or the largest weight, which fits no block.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self {
            ref_time: self.ref_time.saturating_add(other.ref_time),
            proof_size: self.proof_size.saturating_add(other.proof_size),
        }
    }

    /// The multiple, or the largest weight, which fits no block.
    #[must_use]
    pub const fn saturating_mul(self, factor: u64) -> Self {
        Self { ref_time: self.ref_time.saturating_mul(factor), proof_size: self.proof_size.saturating_mul(factor) }
    }

    /// Whether both parts are within `limit`.
    #[must_use]
    pub const fn fits(self, limit: Self) -> bool {
        self.ref_time <= limit.ref_time && self.proof_size <= limit.proof_size
    }
}
