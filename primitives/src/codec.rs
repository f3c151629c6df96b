//! Strict SCALE decoding: what does not re-encode to the same bytes is refused.
//!
//! SCALE itself accepts unsorted maps, overlong compact numbers in places and trailing bytes; bytes that are hashed or
//! signed must have one form only.

use parity_scale_codec::{Compact, Decode, DecodeLimit, Encode, Error, Input, Output};

/// Nesting deeper than this is refused before it can exhaust the stack. The deepest legal value is a batch of batches,
/// which the runtime bounds lower.
pub const DEPTH_MAX: u32 = 32;

/// Why bytes were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// More bytes than the type may have.
    #[error("{what}: {actual} bytes, at most {limit} are allowed")]
    TooLarge {
        /// The name of the type.
        what: &'static str,
        /// Bytes received.
        actual: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The bytes are not an encoding of the type.
    #[error("{what}: malformed encoding: {reason}")]
    Malformed {
        /// The name of the type.
        what: &'static str,
        /// What the decoder met.
        reason: String,
    },
    /// The bytes decode, but are not the one encoding of the value: trailing bytes, unsorted or overlong parts.
    #[error("{what}: the encoding is not canonical")]
    NotCanonical {
        /// The name of the type.
        what: &'static str,
    },
}

/// Decodes a value that fills `bytes` exactly and re-encodes to them.
///
/// # Errors
/// The bytes exceed `limit`, are malformed, nest deeper than [`DEPTH_MAX`] or are not canonical.
pub fn decode_strict<T: Decode + Encode>(what: &'static str, bytes: &[u8], limit: usize) -> Result<T, DecodeError> {
    if bytes.len() > limit {
        return Err(DecodeError::TooLarge { what, actual: bytes.len(), limit });
    }
    let value = T::decode_all_with_depth_limit(DEPTH_MAX, &mut &*bytes)
        .map_err(|error| DecodeError::Malformed { what, reason: error.to_string() })?;
    if encodes_to(&value, bytes) { Ok(value) } else { Err(DecodeError::NotCanonical { what }) }
}

/// Whether `bytes` are the encoding of the value; compares on the way and allocates nothing.
pub(crate) fn encodes_to(value: &impl Encode, bytes: &[u8]) -> bool {
    let mut comparison = Comparison { rest: bytes, equal: true };
    value.encode_to(&mut comparison);
    comparison.equal && comparison.rest.is_empty()
}

/// Takes an encoding and compares it with what is expected.
struct Comparison<'a> {
    rest: &'a [u8],
    equal: bool,
}

impl Output for Comparison<'_> {
    fn write(&mut self, bytes: &[u8]) {
        match self.rest.strip_prefix(bytes) {
            Some(rest) => self.rest = rest,
            None => self.equal = false,
        }
    }
}

/// Decodes a list of at most `limit` items; a longer one is refused before anything is allocated.
pub(crate) fn decode_bounded<T: Decode, I: Input>(
    input: &mut I,
    limit: usize,
    reason: &'static str,
) -> Result<Vec<T>, Error> {
    let count = Compact::<u32>::decode(input)?.0;
    if usize::try_from(count).map_or(true, |count| count > limit) {
        return Err(reason.into());
    }
    (0..count).map(|_| T::decode(input)).collect()
}

#[cfg(test)]
mod tests;
