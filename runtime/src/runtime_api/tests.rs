//! Tests of the runtime calls.

use super::*;
use crate::testing::{Chain, GENESIS, fee, id, key, signed};
use crate::{InvalidityCode, Rules, RuntimeVersion, TransactionExtra, Upgrade, client};
use proptest::prelude::*;

/// Knows the blocks up to height 100 by the hash of their height.
struct Hashes;

impl BlockHashes for Hashes {
    fn block_hash(&self, height: Height) -> Result<Option<Hash>, StateReadError> {
        Ok((height.0 <= 100).then(|| cairn_primitives::hash::blake2_256(&height.0.to_le_bytes())))
    }
}

const NAMES: [&str; 8] = [
    "Core_version",
    "Metadata_metadata",
    "Metadata_metadata_at_version",
    "Metadata_metadata_versions",
    "AccountNonceApi_account_nonce",
    "TaggedTransactionQueue_validate_transaction",
    "TransactionPaymentApi_query_info",
    "TransactionPaymentApi_query_fee_details",
];

fn ask(chain: &Chain, name: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
    ask_under(&RulesSchedule::default(), chain, name, input)
}

fn ask_under(schedule: &RulesSchedule, chain: &Chain, name: &str, input: &[u8]) -> Result<Vec<u8>, CallError> {
    let context = CallContext { height: Height(chain.height), genesis_hash: GENESIS, block_hashes: &Hashes, schedule };
    call(name, input, &chain.state, &context)
}

fn ask_as<T: Decode>(chain: &Chain, name: &str, input: &[u8]) -> T {
    T::decode(&mut &ask(chain, name, input).unwrap()[..]).unwrap()
}

fn validity(chain: &Chain, transaction: &Transaction) -> Result<ValidTransaction, TransactionValidityError> {
    let input = (TransactionSource::External, transaction.bytes(), Hash::ZERO).encode();
    ask_as(chain, "TaggedTransactionQueue_validate_transaction", &input)
}

#[test]
fn call_of_an_unknown_name_says_so_to_the_letter() {
    let error = ask(&Chain::new(), "Metadata_nothing", &[]).unwrap_err();
    assert_eq!(error.to_string(), "Exported method Metadata_nothing is not found");
}

#[test]
fn core_version_tells_the_versions() {
    let version: RuntimeVersion = ask_as(&Chain::new(), "Core_version", &[]);
    assert_eq!((version.spec_version, version.spec_name.as_str()), (Rules::NEWEST.spec_version(), "cairn"));
}

#[test]
fn calls_are_answered_by_the_rules_of_the_next_block() {
    let mut chain = Chain::new();
    let upgrade = |height, spec_version| Upgrade { height: Height(height), spec_version };
    let schedule = RulesSchedule::new(Rules::V3, vec![upgrade(3, 4), upgrade(5, u32::MAX)]);
    for (height, rules) in [(1, Rules::V3), (2, Rules::V4), (3, Rules::V4)] {
        chain.height = height;
        let told = ask_under(&schedule, &chain, "Core_version", &[]).unwrap();
        assert_eq!(told, runtime_version(rules).encode(), "{height}");
        let told = ask_under(&schedule, &chain, "Metadata_metadata_at_version", &15u32.encode()).unwrap();
        assert_eq!(Option::<Vec<u8>>::decode(&mut &told[..]).unwrap(), crate::metadata(rules, 15), "{height}");
    }
    chain.height = 4;
    let refused = ask_under(&schedule, &chain, "Core_version", &[]).unwrap_err();
    assert!(refused.to_string().contains("install a version"), "{refused}");
}

#[test]
fn transaction_lasts_no_longer_than_the_rules_it_was_signed_for() {
    let chain = Chain::new();
    let schedule = RulesSchedule::new(Rules::NEWEST, vec![Upgrade { height: Height(9), spec_version: u32::MAX }]);
    let transaction = signed(0, 0, 0, &client::remark(vec![]));
    let input = (TransactionSource::External, transaction.bytes(), Hash::ZERO).encode();
    let told = ask_under(&schedule, &chain, "TaggedTransactionQueue_validate_transaction", &input).unwrap();
    let told = Result::<ValidTransaction, TransactionValidityError>::decode(&mut &told[..]).unwrap();
    assert_eq!(told.unwrap().longevity, 8);
    let older = RulesSchedule::new(Rules::V3, Vec::new());
    let told = ask_under(&older, &chain, "TaggedTransactionQueue_validate_transaction", &input).unwrap();
    let told = Result::<ValidTransaction, TransactionValidityError>::decode(&mut &told[..]).unwrap();
    assert_eq!(told, Err(TransactionValidityError::Invalid(InvalidityCode::BadProof)));
}

#[test]
fn metadata_calls_serve_all_versions_and_no_other() {
    let chain = Chain::new();
    assert_eq!(ask_as::<Vec<u32>>(&chain, "Metadata_metadata_versions", &[]), METADATA_VERSIONS);
    assert_eq!(Some(ask_as::<Vec<u8>>(&chain, "Metadata_metadata", &[])), crate::metadata(Rules::NEWEST, 14));
    for version in [13u32, 14, 15, 16, 17] {
        let served: Option<Vec<u8>> = ask_as(&chain, "Metadata_metadata_at_version", &version.encode());
        assert_eq!(served, crate::metadata(Rules::NEWEST, version));
    }
}

#[test]
fn account_nonce_counts_transactions() {
    let mut chain = Chain::new();
    assert_eq!(chain.call(0, &client::remark(vec![])).0, Ok(()));
    assert_eq!(ask_as::<u32>(&chain, "AccountNonceApi_account_nonce", &id(0).encode()), 1);
    assert_eq!(ask_as::<u32>(&chain, "AccountNonceApi_account_nonce", &id(8).encode()), 0);
}

#[test]
fn query_info_ignores_the_signature_and_leaves_out_the_tip() {
    let chain = Chain::new();
    let transaction = signed(0, 0, 5_000, &client::transfer_keep_alive(id(1), 5));
    let mut bytes = transaction.bytes().bytes().to_vec();
    bytes[34] = 1; // sr25519 with nonsense in it, as clients send for an estimate
    let input = (OpaqueExtrinsic::new(bytes), 0u32).encode();
    let info: RuntimeDispatchInfo = ask_as(&chain, "TransactionPaymentApi_query_info", &input);
    assert_eq!((info.partial_fee, info.weight), (fee(&transaction), transaction.weight()));
    assert_eq!(info.class, DispatchClass::Normal);
    let details: FeeDetails = ask_as(&chain, "TransactionPaymentApi_query_fee_details", &input);
    assert_eq!((details.inclusion_fee.unwrap().total(), details.tip), (info.partial_fee, 5_000));
}

#[test]
fn query_info_of_a_bare_extrinsic_is_free() {
    let chain = Chain::new();
    let input = (chain.inherent().bytes(), 0u32).encode();
    let info: RuntimeDispatchInfo = ask_as(&chain, "TransactionPaymentApi_query_info", &input);
    assert_eq!((info.partial_fee, info.class), (0, DispatchClass::Mandatory));
}

#[test]
fn validate_transaction_links_nonces() {
    let chain = Chain::new();
    let first = validity(&chain, &signed(0, 0, 9, &client::remark(vec![]))).unwrap();
    let second = validity(&chain, &signed(0, 1, 0, &client::remark(vec![]))).unwrap();
    assert_eq!((first.requires.len(), first.priority, first.propagate), (0, 9, true));
    assert_eq!(second.requires, first.provides);
}

#[test]
fn validate_transaction_of_a_mortal_one_uses_the_era_block() {
    let mut chain = Chain::new();
    chain.height = 50;
    let era = crate::Era::mortal(64, 40);
    let birth = Hashes.block_hash(Height(40)).unwrap().unwrap();
    let extra = TransactionExtra { era, nonce: 0, tip: 0 };
    let sign =
        |era_block| Transaction::decode(client::sign(&key(0), &client::remark(vec![]), extra, &GENESIS, era_block));
    assert_eq!(validity(&chain, &sign(&birth).unwrap()).unwrap().longevity, 40 + 63 - 50);
    let wrong = validity(&chain, &sign(&GENESIS).unwrap());
    assert_eq!(wrong, Err(TransactionValidityError::Invalid(InvalidityCode::BadProof)));
}

#[test]
fn validate_transaction_tells_each_reason_by_its_code() {
    let mut chain = Chain::new();
    let stale = chain.tx(0, &client::remark(vec![]));
    chain.run(std::slice::from_ref(&stale));
    let unpayable = signed(5, 0, 0, &client::remark(vec![]));
    let mut forged = chain.tx(0, &client::remark(vec![])).bytes().bytes().to_vec();
    forged[40] ^= 1;
    let forged = Transaction::decode(OpaqueExtrinsic::new(forged)).unwrap();
    let cases =
        [(stale, InvalidityCode::Stale), (unpayable, InvalidityCode::Payment), (forged, InvalidityCode::BadProof)];
    for (transaction, code) in cases {
        assert_eq!(validity(&chain, &transaction), Err(TransactionValidityError::Invalid(code)));
    }
    let bare = validity(&chain, &chain.inherent());
    assert_eq!(bare, Err(TransactionValidityError::Unknown(crate::UnknownCode::NoUnsignedValidator)));
    let garbage = (TransactionSource::Local, OpaqueExtrinsic::new(vec![1, 2, 3]), Hash::ZERO).encode();
    let answer: Result<ValidTransaction, TransactionValidityError> =
        ask_as(&chain, "TaggedTransactionQueue_validate_transaction", &garbage);
    assert_eq!(answer, Err(TransactionValidityError::Invalid(InvalidityCode::Call)));
}

#[test]
fn codes_encode_as_clients_know_them() {
    let future = InvalidTransaction::Future { expected: 1, actual: 2 };
    assert_eq!(future.to_validity_error().encode(), [0, 2]);
    assert_eq!(InvalidTransaction::BadProof.to_validity_error().encode(), [0, 4]);
    assert_eq!(InvalidTransaction::BadSigner.to_validity_error().encode(), [0, 10]);
    assert_eq!(InvalidTransaction::Unsigned.to_validity_error().encode(), [1, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn call_with_any_bytes_ends_without_a_panic(
        name in proptest::sample::select(&NAMES[..]),
        input in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let chain = Chain::new();
        if let Err(error) = ask(&chain, name, &input) {
            prop_assert!(matches!(error, CallError::Input(_) | CallError::Extrinsic(_)));
        }
    }

    #[test]
    fn call_with_a_damaged_extrinsic_ends_without_a_panic(position in 0usize..200, byte in any::<u8>()) {
        let chain = Chain::new();
        let mut bytes = signed(0, 0, 0, &client::batch(vec![client::remark(vec![1; 30])])).bytes().bytes().to_vec();
        let length = bytes.len();
        bytes[position % length] = byte;
        let input = (TransactionSource::Local, OpaqueExtrinsic::new(bytes.clone()), Hash::ZERO).encode();
        prop_assert!(ask(&chain, "TaggedTransactionQueue_validate_transaction", &input).is_ok());
        let input = (OpaqueExtrinsic::new(bytes), 3u32).encode();
        let answer = ask(&chain, "TransactionPaymentApi_query_info", &input);
        prop_assert!(matches!(answer, Ok(_) | Err(CallError::Extrinsic(_))));
    }
}
