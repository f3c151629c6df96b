//! What the rules call themselves and which version of them this is.

use crate::rules::Rules;
use parity_scale_codec::{Decode, Encode};
use scale_info::TypeInfo;

/// The name of the rules; unlike that of any chain that clients carry special types for.
pub const SPEC_NAME: &str = "cairn";

/// The runtime interfaces offered: the first eight bytes of BLAKE2b-64 of the name, and the version.
const APIS: [([u8; 8], u32); 5] = [
    (*b"\xdf\x6a\xcb\x68\x99\x07\x60\x9b", 5), // Core
    (*b"\x37\xe3\x97\xfc\x7c\x91\xf5\xe4", 2), // Metadata
    (*b"\xbc\x9d\x89\x90\x4f\x5b\x92\x3f", 1), // AccountNonceApi
    (*b"\xd2\xbc\x98\x97\xee\xd0\x8f\x15", 3), // TaggedTransactionQueue
    (*b"\x37\xc8\xbb\x13\x50\xa9\xa2\xa8", 4), // TransactionPaymentApi
];

/// The versions of the rules as clients ask for them.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode, TypeInfo)]
pub struct RuntimeVersion {
    /// The name of the rules.
    pub spec_name: String,
    /// The name of the implementation.
    pub impl_name: String,
    /// The version of block authoring.
    pub authoring_version: u32,
    /// The version of the rules.
    pub spec_version: u32,
    /// The version of the implementation of the same rules.
    pub impl_version: u32,
    /// The runtime interfaces: hashed name and version.
    pub apis: Vec<([u8; 8], u32)>,
    /// The version of call indices and extensions.
    pub transaction_version: u32,
    /// The version of the state layout that clients know; says nothing about our state tree.
    pub system_version: u8,
}

/// The versions of these rules as clients ask for them.
#[must_use]
pub fn runtime_version(rules: Rules) -> RuntimeVersion {
    RuntimeVersion {
        spec_name: SPEC_NAME.into(),
        impl_name: SPEC_NAME.into(),
        authoring_version: 1,
        spec_version: rules.spec_version(),
        impl_version: 1,
        apis: APIS.to_vec(),
        transaction_version: rules.transaction_version(),
        system_version: 1,
    }
}

/// What is served under the storage key `:code`: a marker that changes with the rules, since clients take a change of
/// its hash for an upgrade. There is no code behind it.
#[must_use]
pub fn code_marker(rules: Rules) -> Vec<u8> {
    let mut marker = b"cairn rules ".to_vec();
    marker.extend_from_slice(&rules.spec_version().to_le_bytes());
    marker
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apis_hashed_names_are_blake2b_64_of_the_names() {
        let names = ["Core", "Metadata", "AccountNonceApi", "TaggedTransactionQueue", "TransactionPaymentApi"];
        for ((hash, _), name) in APIS.iter().zip(names) {
            assert_eq!(hash, blake2b_simd::Params::new().hash_length(8).hash(name.as_bytes()).as_bytes(), "{name}");
        }
    }
}
