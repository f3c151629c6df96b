//! Metadata: the description of calls, events, storage and constants that clients decode everything with.
//!
//! ```text
//! model.rs: modules, extensions, runtime calls, once ─► v14.rs, v15.rs, v16.rs ─► paths.rs: names clients look for
//! ```
//! Types come from the code itself; only names of items, and types that exist for clients alone (`shapes.rs`), are
//! written out. What is served changes with the rules alone: golden files pin it, and whoever changes them raises
//! [`crate::SPEC_VERSION`].

mod model;
mod paths;
mod runtime_apis;
mod shapes;
mod storage;
#[cfg(test)]
mod tests;
mod v14;
mod v15;
mod v16;

use frame_metadata::RuntimeMetadataPrefixed;
use parity_scale_codec::Encode;
use std::sync::OnceLock;

/// The metadata versions served, in order.
pub const METADATA_VERSIONS: [u32; 3] = [14, 15, 16];

/// The encoded metadata of a version, from the magic number on; `None` for versions that are not served.
#[must_use]
pub fn metadata(version: u32) -> Option<Vec<u8>> {
    encoded(version).map(<[u8]>::to_vec)
}

/// The same, borrowed: encoded once, on first use.
pub(crate) fn encoded(version: u32) -> Option<&'static [u8]> {
    static V15: OnceLock<Vec<u8>> = OnceLock::new();
    static V16: OnceLock<Vec<u8>> = OnceLock::new();
    match version {
        14 => Some(v14_encoded()),
        15 => Some(V15.get_or_init(|| RuntimeMetadataPrefixed::from(v15::build()).encode())),
        16 => Some(V16.get_or_init(|| RuntimeMetadataPrefixed::from(v16::build()).encode())),
        _ => None,
    }
}

/// Version 14: the one that is there under a name of its own.
pub(crate) fn v14_encoded() -> &'static [u8] {
    static V14: OnceLock<Vec<u8>> = OnceLock::new();
    V14.get_or_init(|| RuntimeMetadataPrefixed::from(v14::build()).encode())
}
