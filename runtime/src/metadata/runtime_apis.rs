//! The runtime calls as metadata describes them, from version 15 on; [`crate::call`] answers them.

use super::shapes::UncheckedExtrinsic;
use crate::runtime_api::{FeeDetails, RuntimeDispatchInfo, TransactionSource, ValidTransaction};
use crate::{RuntimeVersion, TransactionValidityError};
use cairn_primitives::{AccountId32, Hash};
use scale_info::{MetaType, meta_type};

/// A group of calls.
pub(super) struct RuntimeApi {
    pub(super) name: &'static str,
    pub(super) version: u32,
    pub(super) docs: &'static str,
    pub(super) methods: Vec<Method>,
}

/// A call.
pub(super) struct Method {
    pub(super) name: &'static str,
    pub(super) inputs: Vec<(&'static str, MetaType)>,
    pub(super) output: MetaType,
    pub(super) docs: &'static str,
}

/// Metadata bytes: an opaque value, encoded with its length.
type OpaqueMetadata = Vec<u8>;

fn method(name: &'static str, inputs: Vec<(&'static str, MetaType)>, output: MetaType, docs: &'static str) -> Method {
    Method { name, inputs, output, docs }
}

/// All groups; names, methods and versions as `Core_version` lists them.
pub(super) fn all() -> Vec<RuntimeApi> {
    let extrinsic = || vec![("uxt", meta_type::<UncheckedExtrinsic>()), ("len", meta_type::<u32>())];
    vec![
        RuntimeApi {
            name: "Core",
            version: 5,
            docs: "What the rules are.",
            methods: vec![method("version", vec![], meta_type::<RuntimeVersion>(), "The versions of the rules.")],
        },
        RuntimeApi {
            name: "Metadata",
            version: 2,
            docs: "How to decode everything.",
            methods: vec![
                method("metadata", vec![], meta_type::<OpaqueMetadata>(), "Metadata of version 14."),
                method(
                    "metadata_at_version",
                    vec![("version", meta_type::<u32>())],
                    meta_type::<Option<OpaqueMetadata>>(),
                    "Metadata of a version.",
                ),
                method("metadata_versions", vec![], meta_type::<Vec<u32>>(), "The versions served."),
            ],
        },
        RuntimeApi {
            name: "AccountNonceApi",
            version: 1,
            docs: "The nonces of accounts.",
            methods: vec![method(
                "account_nonce",
                vec![("account", meta_type::<AccountId32>())],
                meta_type::<u32>(),
                "The next nonce of an account.",
            )],
        },
        RuntimeApi {
            name: "TaggedTransactionQueue",
            version: 3,
            docs: "The validity of transactions.",
            methods: vec![method(
                "validate_transaction",
                vec![
                    ("source", meta_type::<TransactionSource>()),
                    ("tx", meta_type::<UncheckedExtrinsic>()),
                    ("block_hash", meta_type::<Hash>()),
                ],
                meta_type::<Result<ValidTransaction, TransactionValidityError>>(),
                "Whether a transaction may be in the next block or a later one.",
            )],
        },
        RuntimeApi {
            name: "TransactionPaymentApi",
            version: 4,
            docs: "The fees of transactions.",
            methods: vec![
                method("query_info", extrinsic(), meta_type::<RuntimeDispatchInfo>(), "Weight and fee."),
                method("query_fee_details", extrinsic(), meta_type::<FeeDetails>(), "The parts of the fee."),
            ],
        },
    ]
}
