//! Metadata: the description of calls, events, storage and constants that clients decode everything with.

/// The metadata versions served, in order.
pub const METADATA_VERSIONS: [u32; 3] = [14, 15, 16];

/// The encoded metadata of a version; `None` for versions that are not served.
#[must_use]
pub fn metadata(_version: u32) -> Option<Vec<u8>> {
    None
}
