//! Metadata: the description of calls, events, storage and constants that clients decode everything with.
//!
//! ```text
//! model.rs: modules, extensions, runtime calls, once ─► v14.rs, v15.rs, v16.rs ─► paths.rs: names clients look for
//! ```
//! Types come from the code itself; only names of items, and types that exist for clients alone (`shapes.rs`), are
//! written out. What is served changes with the rules alone: golden files pin it for each of them, and whoever changes it
//! adds to [`crate::Rules`]. What newer rules added is taken out for older ones (`since.rs`).

mod model;
mod paths;
mod runtime_apis;
mod shapes;
mod since;
mod storage;
#[cfg(test)]
mod tests;
mod v14;
mod v15;
mod v16;

use crate::rules::Rules;
use frame_metadata::RuntimeMetadataPrefixed;
use parity_scale_codec::Encode;
use std::sync::OnceLock;

/// The metadata versions served, in order.
pub const METADATA_VERSIONS: [u32; 3] = [14, 15, 16];

/// The encoded metadata of rules in a version, from the magic number on; `None` for versions that are not served.
#[must_use]
pub fn metadata(rules: Rules, version: u32) -> Option<Vec<u8>> {
    encoded(rules, version).map(<[u8]>::to_vec)
}

/// Metadata of one version of the rules, each form encoded once, on first use.
#[derive(Debug)]
struct Served {
    v14: OnceLock<Vec<u8>>,
    v15: OnceLock<Vec<u8>>,
    v16: OnceLock<Vec<u8>>,
}

impl Served {
    const fn new() -> Self {
        Self { v14: OnceLock::new(), v15: OnceLock::new(), v16: OnceLock::new() }
    }
}

fn served(rules: Rules) -> &'static Served {
    static V3: Served = Served::new();
    static V4: Served = Served::new();
    match rules {
        Rules::V3 => &V3,
        Rules::V4 => &V4,
    }
}

/// The same, borrowed.
pub(crate) fn encoded(rules: Rules, version: u32) -> Option<&'static [u8]> {
    let served = served(rules);
    match version {
        14 => Some(v14_encoded(rules)),
        15 => Some(served.v15.get_or_init(|| RuntimeMetadataPrefixed::from(v15::build(rules)).encode())),
        16 => Some(served.v16.get_or_init(|| RuntimeMetadataPrefixed::from(v16::build(rules)).encode())),
        _ => None,
    }
}

/// Version 14: the one that is there under a name of its own.
pub(crate) fn v14_encoded(rules: Rules) -> &'static [u8] {
    served(rules).v14.get_or_init(|| RuntimeMetadataPrefixed::from(v14::build(rules)).encode())
}
