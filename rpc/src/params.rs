//! Parameters from outside as checked types.
//!
//! Parameters come as a list, or as an object with the names of `docs/rpc.md`. Missing trailing parameters and `params: null` mean `null`, hexadecimal text is taken with and without 0x, surplus
//! parameters are ignored: some clients rely on each.

use crate::error::RpcError;
use cairn_primitives::extrinsic::EXTRINSIC_BYTES_MAX;
use cairn_primitives::{Hash, Height, OpaqueExtrinsic};
use jsonrpsee::types::Params;
use jsonrpsee::types::params::ParamsSequence;
use parity_scale_codec::{Compact, Decode};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The longest storage key, in bytes; the longest of the runtime has under 200.
const KEY_BYTES_MAX: usize = 1024;

/// Parameters, read one after the other.
pub(crate) struct Args<'a> {
    given: Given<'a>,
    position: usize,
}

/// How the parameters came.
enum Given<'a> {
    /// Not at all.
    Nothing,
    /// By position.
    List(ParamsSequence<'a>),
    /// By name.
    Named(BTreeMap<Cow<'a, str>, &'a RawValue>),
}

impl<'a> Args<'a> {
    /// Begins with the first parameter.
    pub(crate) fn new(params: &'a Params<'_>) -> Result<Self, RpcError> {
        let text = params.as_str().unwrap_or("null").trim();
        let given = if text == "null" {
            Given::Nothing
        } else if let Some(inner) = text.strip_prefix('[') {
            if inner.trim() == "]" { Given::Nothing } else { Given::List(params.sequence()) }
        } else {
            let named = serde_json::from_str(text);
            Given::Named(named.map_err(|_| RpcError::invalid_params("parameters are a list or an object"))?)
        };
        Ok(Self { given, position: 0 })
    }

    /// The next parameter, which must be there.
    pub(crate) fn required<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<T, RpcError> {
        self.optional(name)?
            .ok_or_else(|| RpcError::invalid_params(format!("parameter {} `{name}` is missing", self.position)))
    }

    /// The next parameter, if it is there and not `null`.
    pub(crate) fn optional<T: Deserialize<'a>>(&mut self, name: &'static str) -> Result<Option<T>, RpcError> {
        self.position = self.position.saturating_add(1);
        let refused =
            |reason: &str| RpcError::invalid_params(format!("parameter {} `{name}`: {reason}", self.position));
        match &mut self.given {
            Given::Nothing => Ok(None),
            Given::List(sequence) => sequence
                .optional_next()
                .map_err(|error| refused(error.data().map_or("malformed", |data| data.get().trim_matches('"')))),
            Given::Named(named) => match named.get(name) {
                None => Ok(None),
                Some(raw) => serde_json::from_str(raw.get()).map_err(|error| refused(&error.to_string())),
            },
        }
    }
}

/// Bytes from hexadecimal text.
pub(crate) struct Bytes(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HexVisitor;
        impl Visitor<'_> for HexVisitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("hexadecimal text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                hex::decode(text.strip_prefix("0x").unwrap_or(text))
                    .map(Bytes)
                    .map_err(|error| E::custom(format!("not hexadecimal text: {error}")))
            }
        }
        deserializer.deserialize_str(HexVisitor)
    }
}

/// A storage key or prefix from hexadecimal text, bounded.
#[derive(Clone)]
pub(crate) struct Key(pub(crate) Vec<u8>);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(deserializer)?;
        if bytes.len() > KEY_BYTES_MAX {
            return Err(D::Error::custom(format!("the key has {} bytes, at most {KEY_BYTES_MAX}", bytes.len())));
        }
        Ok(Self(bytes))
    }
}

/// A hash from 64 hexadecimal digits.
pub(crate) struct HashArg(pub(crate) Hash);

impl<'de> Deserialize<'de> for HashArg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes(bytes) = Bytes::deserialize(deserializer)?;
        <[u8; 32]>::try_from(bytes)
            .map(|bytes| Self(Hash(bytes)))
            .map_err(|bytes| D::Error::custom(format!("a hash has 32 bytes, not {}", bytes.len())))
    }
}

/// One hash or a list of them.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum HashArgs {
    /// One.
    One(HashArg),
    /// A list.
    Many(Vec<HashArg>),
}

/// A block's height: a number, or hexadecimal text with 0x.
#[derive(Clone, Copy)]
pub(crate) struct HeightArg(pub(crate) Height);

/// A height from a number; what no block can have is beyond every head.
fn height_from(number: u64) -> HeightArg {
    HeightArg(Height(u32::try_from(number).unwrap_or(u32::MAX)))
}

struct HeightVisitor;

impl Visitor<'_> for HeightVisitor {
    type Value = HeightArg;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block number or its hexadecimal text")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<HeightArg, E> {
        Ok(height_from(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<HeightArg, E> {
        let digits = text.strip_prefix("0x").ok_or_else(|| E::custom("a block number in text begins with 0x"))?;
        u64::from_str_radix(digits, 16).map(height_from).map_err(|error| E::custom(format!("block number: {error}")))
    }
}

impl<'de> Deserialize<'de> for HeightArg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(HeightVisitor)
    }
}

/// One height or a list of them.
pub(crate) enum Heights {
    /// One.
    One(HeightArg),
    /// A list.
    Many(Vec<HeightArg>),
}

impl<'de> Deserialize<'de> for Heights {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeightsVisitor;
        impl<'de> Visitor<'de> for HeightsVisitor {
            type Value = Heights;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a block number, its hexadecimal text, or a list of those")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Heights, E> {
                HeightVisitor.visit_u64(number).map(Heights::One)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Heights, E> {
                HeightVisitor.visit_str(text).map(Heights::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Heights, A::Error> {
                let mut heights = Vec::new();
                while let Some(height) = list.next_element()? {
                    heights.push(height);
                }
                Ok(Heights::Many(heights))
            }
        }
        deserializer.deserialize_any(HeightsVisitor)
    }
}

/// A block by hash or by height.
pub(crate) enum BlockArg {
    /// By hash.
    Hash(Hash),
    /// By height.
    Height(Height),
}

impl<'de> Deserialize<'de> for BlockArg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BlockVisitor;
        impl Visitor<'_> for BlockVisitor {
            type Value = BlockArg;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a block hash or a block number")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<BlockArg, E> {
                Ok(BlockArg::Height(height_from(number).0))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BlockArg, E> {
                text.parse().map(BlockArg::Hash).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(BlockVisitor)
    }
}

/// An extrinsic of a batch, or why its text is none: one bad text does not refuse the batch.
pub(crate) struct BatchItem(pub(crate) Result<OpaqueExtrinsic, String>);

impl<'de> Deserialize<'de> for BatchItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemVisitor;
        impl Visitor<'_> for ItemVisitor {
            type Value = BatchItem;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an extrinsic as hexadecimal text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<BatchItem, E> {
                let bytes = hex::decode(text.strip_prefix("0x").unwrap_or(text));
                let bytes = bytes.map_err(|error| format!("not hexadecimal text: {error}"));
                Ok(BatchItem(bytes.and_then(|bytes| extrinsic(&bytes))))
            }
        }
        deserializer.deserialize_str(ItemVisitor)
    }
}

/// An extrinsic from its bytes with the length prefix.
pub(crate) fn extrinsic(bytes: &[u8]) -> Result<OpaqueExtrinsic, String> {
    let mut input = bytes;
    let Compact(len) =
        Compact::<u32>::decode(&mut input).map_err(|_| "the bytes do not begin with a compact length".to_owned())?;
    if usize::try_from(len).ok() != Some(input.len()) {
        return Err(format!("the length prefix says {len} bytes, {} follow", input.len()));
    }
    if input.len() > EXTRINSIC_BYTES_MAX {
        return Err(format!("{len} bytes, at most {EXTRINSIC_BYTES_MAX} are allowed"));
    }
    Ok(OpaqueExtrinsic::new(input))
}
