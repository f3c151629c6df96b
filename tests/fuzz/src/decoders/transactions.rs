//! Transactions, and the arguments of runtime calls that anybody may make.

use crate::draw::Draw;
use crate::fixture::{GENESIS, keys, set};
use crate::memory::bounded;
use cairn_primitives::extrinsic::{EXTRINSIC_BYTES_MAX, Envelope};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{AccountId32, Epoch, Evidence, Hash, Height, OpaqueExtrinsic, TimestampMs};
use cairn_runtime::client::{
    batch_all, remark, report_extrinsic, rotate_key, set_validator, sign, timestamp_extrinsic, transfer_keep_alive,
};
use cairn_runtime::{
    BlockHashes, CallContext, Era, GenesisConfig, Rules, RulesSchedule, StateReadError, Transaction, TransactionExtra,
    Upgrade, call, genesis_state,
};
use parity_scale_codec::{Decode as _, Encode as _};
use std::collections::BTreeMap;

/// The runtime calls.
const NAMES: [&str; 9] = [
    "Core_version",
    "Metadata_metadata",
    "Metadata_metadata_at_version",
    "Metadata_metadata_versions",
    "AccountNonceApi_account_nonce",
    "TaggedTransactionQueue_validate_transaction",
    "TransactionPaymentApi_query_info",
    "TransactionPaymentApi_query_fee_details",
    "Unknown_call",
];

/// Some extrinsics as clients make them.
pub(super) fn extrinsics() -> Vec<OpaqueExtrinsic> {
    let extra = |nonce| TransactionExtra { era: Era::mortal(64, 10), nonce, tip: 1_000 };
    let to = AccountId32([9; 32]);
    let calls = [
        transfer_keep_alive(to, 5_000_000_000),
        remark(vec![1; 40]),
        batch_all(vec![transfer_keep_alive(to, 1), batch_all(vec![remark(vec![])])]),
    ];
    let (key, power) = (keys()[1].public(), 7);
    let calls =
        calls.into_iter().chain([set_validator(key, power), rotate_key(&keys()[0], &keys()[1], Epoch(3), &GENESIS)]);
    let calls: Vec<_> = calls.collect();
    let signed = calls.iter().zip(0..).map(|(call, nonce)| sign(&keys()[0], call, extra(nonce), &GENESIS, &GENESIS));
    let evidence = Evidence::decode(&mut super::chain::evidence_seeds()[0].as_slice()).unwrap();
    signed.chain([timestamp_extrinsic(TimestampMs(1_700_000_000_000)), report_extrinsic(&evidence)]).collect()
}

/// What is done with every extrinsic that comes from outside.
pub(super) fn look_at_extrinsic(extrinsic: OpaqueExtrinsic) {
    let hash = extrinsic.hash();
    let bytes = extrinsic.bytes().to_vec();
    let Ok(transaction) = bounded(bytes.len(), || Transaction::decode(extrinsic)) else { return };
    assert!(bytes.len() <= EXTRINSIC_BYTES_MAX);
    assert_eq!(transaction.hash(), hash);
    let envelope = Envelope::parse(&bytes).expect("a transaction has an envelope");
    assert_eq!(envelope.to_bytes(), bytes, "one envelope, two encodings");
    assert_eq!(transaction.call().encode(), envelope.call, "one call, two encodings");
    assert_eq!(transaction.sender().is_some(), transaction.signed().is_some());
    let claim = transaction.signature_claim(Rules::NEWEST, &GENESIS, &Hash([1; 32]));
    assert!(claim.is_err() || transaction.signed().is_some());
}

pub(crate) fn transaction(bytes: &[u8]) {
    look_at_extrinsic(OpaqueExtrinsic::new(bytes.to_vec()));
}

pub(crate) fn transaction_seeds() -> Vec<Vec<u8>> {
    extrinsics().iter().map(|extrinsic| extrinsic.bytes().to_vec()).collect()
}

/// Knows the first hundred blocks.
struct Hashes;

impl BlockHashes for Hashes {
    fn block_hash(&self, height: Height) -> Result<Option<Hash>, StateReadError> {
        Ok((height.0 <= 100).then(|| blake2_256(&height.0.to_le_bytes())))
    }
}

fn state() -> BTreeMap<Vec<u8>, Vec<u8>> {
    let account = AccountId32::from(keys()[0].public());
    let config = GenesisConfig {
        balances: vec![(account, 1_000_000_000_000)],
        validators: set().validators().to_vec(),
        ..GenesisConfig::default()
    };
    genesis_state(&config).expect("the genesis holds")
}

/// The first byte chooses the call and the second the height; the rest is the argument.
pub(crate) fn runtime_api(bytes: &[u8]) {
    thread_local! {
        static STATE: BTreeMap<Vec<u8>, Vec<u8>> = state();
    }
    let mut draw = Draw::new(bytes);
    let name = draw.pick(&NAMES).copied().unwrap_or_default();
    let upgrade = Upgrade { height: Height(100), spec_version: Rules::V4.spec_version() };
    let schedule = RulesSchedule::new(Rules::V3, vec![upgrade]);
    let height = Height(u32::from(draw.byte()));
    let context = CallContext { height, genesis_hash: GENESIS, block_hashes: &Hashes, schedule: &schedule };
    let input = draw.rest();
    let first = STATE.with(|state| call(name, input, state, &context)).ok();
    let second = STATE.with(|state| call(name, input, state, &context)).ok();
    assert_eq!(first, second, "one question, two answers");
}

pub(crate) fn runtime_api_seeds() -> Vec<Vec<u8>> {
    let account = AccountId32::from(keys()[0].public());
    let mut inputs: Vec<(u8, Vec<u8>)> = vec![(0, vec![]), (1, vec![]), (3, vec![]), (4, account.encode())];
    inputs.extend([13u32, 14, 15, 16].map(|version| (2, version.encode())));
    for extrinsic in extrinsics() {
        inputs.push((5, (2u8, extrinsic.clone(), Hash::ZERO).encode()));
        inputs.push((6, (extrinsic.clone(), 7u32).encode()));
        inputs.push((7, (extrinsic, 7u32).encode()));
    }
    inputs.into_iter().map(|(name, input)| [vec![name, 20], input].concat()).collect()
}
