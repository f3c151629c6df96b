//! The JSON shapes of blocks, headers and versions, as Substrate clients read them.

use serde::{Serialize, Serializer};

/// Runtime interfaces as pairs of hexadecimal id and version.
pub(crate) fn apis<S: Serializer>(apis: &[([u8; 8], u32)], serializer: S) -> Result<S::Ok, S::Error> {
    apis.iter().map(|(id, version)| (to_hex(id), version)).collect::<Vec<_>>().serialize(serializer)
}

/// Bytes as hexadecimal text with 0x.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    text.push_str("0x");
    text.push_str(&hex::encode(bytes));
    text
}
