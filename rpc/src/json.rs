//! The JSON shapes of blocks, headers and versions, as Substrate clients read them.

use cairn_primitives::header::ENGINE_ID;
use cairn_primitives::{Block, Certificate, Header};
use parity_scale_codec::Encode;
use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Bytes as hexadecimal text with 0x.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len().saturating_mul(2).saturating_add(2));
    text.push_str("0x");
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().map_or('0', char::from));
        }
    }
    text
}

/// Runtime interfaces as pairs of hexadecimal id and version.
pub(crate) fn apis<S: Serializer>(apis: &[([u8; 8], u32)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(apis.iter().map(|(id, version)| (to_hex(id), version)))
}

/// A header, its number in hexadecimal and its digest items as SCALE.
pub(crate) struct HeaderJson<'a>(pub(crate) &'a Header);

impl Serialize for HeaderJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Digest {
            logs: Vec<String>,
        }
        let header = self.0;
        let logs = header.digest.iter().map(|item| to_hex(&item.encode())).collect();
        let mut fields = serializer.serialize_struct("Header", 5)?;
        fields.serialize_field("parentHash", &header.parent_hash.to_string())?;
        fields.serialize_field("number", &format!("0x{:x}", header.number))?;
        fields.serialize_field("stateRoot", &header.state_root.to_string())?;
        fields.serialize_field("extrinsicsRoot", &header.extrinsics_root.to_string())?;
        fields.serialize_field("digest", &Digest { logs })?;
        fields.end()
    }
}

/// A block with the justification that its finalization is.
pub(crate) fn signed_block(
    block: &Block,
    finalization: Option<&Certificate>,
) -> Result<Box<RawValue>, serde_json::Error> {
    #[derive(Serialize)]
    struct BlockJson<'a> {
        header: HeaderJson<'a>,
        extrinsics: Vec<String>,
    }
    #[derive(Serialize)]
    struct SignedBlock<'a> {
        block: BlockJson<'a>,
        justifications: Option<[([u8; 4], Vec<u8>); 1]>,
    }
    let extrinsics = block.extrinsics.iter().map(|extrinsic| to_hex(&extrinsic.encode())).collect();
    serde_json::value::to_raw_value(&SignedBlock {
        block: BlockJson { header: HeaderJson(&block.header), extrinsics },
        justifications: finalization.map(|certificate| [(ENGINE_ID, certificate.encode())]),
    })
}

/// A value, or `null`, as hexadecimal text.
pub(crate) fn hex_or_null(value: Option<&[u8]>) -> Value {
    value.map_or(Value::Null, |bytes| Value::String(to_hex(bytes)))
}
