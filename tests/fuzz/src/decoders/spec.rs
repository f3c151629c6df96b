//! Text that people write: chain specs and addresses.

use cairn_chain_spec::{ChainSpec, Document};
use cairn_primitives::AccountId32;

/// A chain spec that is accepted is accepted again as it is written out, and is the same chain.
pub(crate) fn chain_spec(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(document) = Document::parse(text) else { return };
    let again = Document::parse(&document.to_json()).expect("what was written is read");
    assert_eq!(again, document);
    match document.check() {
        Ok(spec) => {
            let again = ChainSpec::parse(&spec.to_json()).expect("what was accepted is accepted again");
            assert_eq!(again.spec_hash(), spec.spec_hash());
            assert!(!spec.validator_set().validators().is_empty());
        }
        Err(error) => {
            assert!(!error.issues().is_empty(), "a refusal without a reason");
            assert!(error.to_string().len() <= 64 * text.len() + (64 << 10), "a refusal out of proportion");
        }
    }
}

pub(crate) fn chain_spec_seeds() -> Vec<Vec<u8>> {
    let mut small = ChainSpec::local(1).unwrap().document().clone();
    small.balances.truncate(1);
    let mut broken = small.clone();
    broken.consensus.leader_timeout_ms = 0;
    broken.validators.clear();
    [ChainSpec::local(1).unwrap().to_json(), small.to_json(), broken.to_json()].map(String::into_bytes).to_vec()
}

/// An address that is read is written the same.
pub(crate) fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for prefix in [42, 0, 63, 64, 16_383] {
        if let Ok(account) = AccountId32::from_ss58(text, prefix) {
            assert_eq!(account.to_ss58(prefix), text, "one account, two addresses");
        }
    }
}

pub(crate) fn address_seeds() -> Vec<Vec<u8>> {
    [42, 0, 63, 64, 16_383].map(|prefix| AccountId32([9; 32]).to_ss58(prefix).into_bytes()).to_vec()
}
