//! Targets for the decoders.

pub(crate) mod answers;
pub(crate) mod chain;
pub(crate) mod messages;
pub(crate) mod proofs;
pub(crate) mod snapshot;
pub(crate) mod spec;
pub(crate) mod transactions;

use crate::memory::bounded;
use cairn_primitives::codec::decode_strict;
use parity_scale_codec::{Decode, Encode};
use std::fmt::Debug;

/// Decodes as the network does; what decodes has one encoding, and that encoding has one value.
fn strict<T: Decode + Encode + Debug + PartialEq>(what: &'static str, bytes: &[u8], limit: usize) -> Option<T> {
    let value = bounded(bytes.len(), || decode_strict::<T>(what, bytes, limit)).ok()?;
    assert!(bytes.len() <= limit, "{what}: more bytes than allowed were decoded");
    assert_eq!(value.encode(), bytes, "{what}: the value has another encoding");
    let again: T = decode_strict(what, &value.encode(), limit).expect("what was encoded decodes");
    assert_eq!(again, value, "{what}: one encoding, two values");
    Some(value)
}
