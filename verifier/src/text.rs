//! How values stand in JSON: bytes as lower-case hexadecimal text with 0x, amounts as decimal text.

use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::codec::decode_strict;
use cairn_primitives::list_tree::{InclusionProof, PlaceProof};
use cairn_primitives::state_proof::{PROOF_BYTES_MAX, StateProof};
use cairn_primitives::{Certificate, Hash, Header};
use parity_scale_codec::{Decode, Encode};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;

/// A value with a largest encoding.
pub trait Bounded: Encode + Decode {
    /// What it is called in errors.
    const NAME: &'static str;
    /// The most bytes of its encoding.
    const BYTES_MAX: usize;
}

impl Bounded for Header {
    const NAME: &'static str = "header";
    const BYTES_MAX: usize = 64 << 10;
}

impl Bounded for Certificate {
    const NAME: &'static str = "finalization";
    const BYTES_MAX: usize = CERTIFICATE_BYTES_MAX;
}

impl Bounded for StateProof {
    const NAME: &'static str = "state proof";
    const BYTES_MAX: usize = PROOF_BYTES_MAX;
}

impl Bounded for InclusionProof {
    const NAME: &'static str = "history proof";
    const BYTES_MAX: usize = 4 << 10;
}

impl Bounded for PlaceProof {
    const NAME: &'static str = "place proof";
    // Items of one block with their paths.
    const BYTES_MAX: usize = BLOCK_BYTES_MAX + (1 << 20);
}

/// Bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bytes(pub Vec<u8>);

/// A hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashText(pub Hash);

/// A value in SCALE, decoded strictly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded<T>(pub T);

/// A number as decimal text: those of JavaScript end at 2^53.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub u64);

fn from_hex(text: &str) -> Result<Vec<u8>, String> {
    let digits = text.strip_prefix("0x").ok_or("bytes begin with 0x")?;
    if digits.bytes().any(|digit| digit.is_ascii_uppercase()) {
        return Err("hexadecimal digits are lower-case".to_owned());
    }
    hex::decode(digits).map_err(|error| format!("not hexadecimal text: {error}"))
}

fn write_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("0x{}", hex::encode(bytes)))
}

fn read<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl FnOnce(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    let text = Cow::<'de, str>::deserialize(deserializer)?;
    parse(&text).map_err(D::Error::custom)
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_hex(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, from_hex).map(Self)
    }
}

impl Serialize for HashText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        write_hex(&self.0.0, serializer)
    }
}

impl<'de> Deserialize<'de> for HashText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |text| {
            let bytes = from_hex(text)?;
            let bytes = <[u8; 32]>::try_from(bytes).map_err(|bytes| format!("a hash of {} bytes", bytes.len()))?;
            Ok(Self(Hash(bytes)))
        })
    }
}

impl<T: Bounded> Serialize for Encoded<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.using_encoded(|bytes| write_hex(bytes, serializer))
    }
}

impl<'de, T: Bounded> Deserialize<'de> for Encoded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |text| {
            decode_strict(T::NAME, &from_hex(text)?, T::BYTES_MAX).map(Self).map_err(|error| error.to_string())
        })
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(deserializer, |text| {
            let number = text.parse::<u64>().map_err(|error| format!("not a number: {error}"))?;
            // One form only: no sign, no leading zeros.
            if number.to_string() == text { Ok(Self(number)) } else { Err("not a plain decimal number".to_owned()) }
        })
    }
}
