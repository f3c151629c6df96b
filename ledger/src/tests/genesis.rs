//! The genesis block.

use super::fixture::{SPEC, START, genesis, genesis_config, open, validators};
use crate::{Genesis, Ledger, LedgerConfig, LedgerError, Signers};
use cairn_primitives::header::DigestItem;
use cairn_primitives::{EpochSchedule, Hash, Height, TimestampMs, ValidatorSet};
use cairn_runtime::weight::BLOCK_WEIGHT_MAX;
use cairn_runtime::{BlockLimits, RulesSchedule, genesis_state};
use cairn_storage::{HistoryMode, MemoryDatabase, StateConfig};
use std::sync::Arc;

#[test]
fn genesis_hash_is_pinned() {
    let expected = "0x880f26beca5be500a1321df9bc0b9c506da63c4ae34277c67042215a96ef3eda";
    assert_eq!(genesis().hash().to_string(), expected, "a change here starts another chain");
}

#[test]
fn genesis_hash_covers_state_validators_time_and_spec() {
    let state = genesis_state(&genesis_config()).unwrap();
    let build = |state, set, time, spec| Genesis::new(state, set, TimestampMs(time), spec).unwrap().hash();
    let base = build(state.clone(), validators(), START, SPEC);
    assert_eq!(base, genesis().hash());

    let mut richer = genesis_config();
    richer.balances[0].1 += 1;
    let fewer = ValidatorSet::new(validators().validators()[..3].to_vec()).unwrap();
    let mut smaller = genesis_config();
    smaller.validators = fewer.validators().to_vec();
    let others = [
        build(genesis_state(&richer).unwrap(), validators(), START, SPEC),
        build(genesis_state(&smaller).unwrap(), fewer.clone(), START, SPEC),
        build(state.clone(), validators(), START + 1, SPEC),
        build(state, validators(), START, Hash([6; 32])),
    ];
    for (position, other) in others.iter().enumerate() {
        assert_ne!(*other, base, "case {position}");
    }
    let state = genesis_state(&genesis_config()).unwrap();
    assert!(matches!(Genesis::new(state, fewer, TimestampMs(START), SPEC), Err(LedgerError::Genesis(_))));
}

#[test]
fn genesis_block_is_readable_after_open() {
    let reader = open(Arc::new(MemoryDatabase::new()), HistoryMode::Archive).reader();
    let head = reader.head();
    assert_eq!((head.height, head.hash, head.timestamp), (Height::ZERO, genesis().hash(), TimestampMs(START)));
    let block = reader.block(&head.hash).unwrap().unwrap();
    assert_eq!(&block.block, genesis().block());
    assert_eq!(block.finalization, None);
    assert_eq!(block.block.header.digest[1], DigestItem::Other(SPEC.0.to_vec()));
    assert_eq!(block.block.header.state_root, head.state_root);
    assert_eq!(reader.events(&head.hash).unwrap(), Some(vec![0]));
    assert_eq!(reader.finalization_for(Height::ZERO).unwrap(), None);
}

#[test]
fn database_of_another_chain_is_refused() {
    let database = Arc::new(MemoryDatabase::new());
    drop(open(database.clone(), HistoryMode::Archive));
    let state = genesis_state(&genesis_config()).unwrap();
    let other = Genesis::new(state, validators(), TimestampMs(START + 1), SPEC).unwrap();
    let limits = BlockLimits { bytes_max: 1 << 20, weight_max: BLOCK_WEIGHT_MAX };
    let config = LedgerConfig {
        genesis: other.clone(),
        schedule: EpochSchedule::new(0),
        rules: RulesSchedule::default(),
        spec_hash: SPEC,
        state: StateConfig::default(),
        limits,
        signers: Signers::default(),
    };
    match Ledger::open(database, config) {
        Err(LedgerError::OtherChain { found, expected }) => {
            assert_eq!((found, expected), (genesis().hash(), other.hash()));
        }
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened the database of another chain"),
    }
}
