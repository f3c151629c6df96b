//! Tests of Timestamp.

use super::Call;
use crate::modules::RuntimeCall;
use crate::testing::{Chain, bare};
use crate::{BlockError, DispatchError, client, execute_block, keys};
use parity_scale_codec::Encode;

fn set(now: u64) -> RuntimeCall {
    RuntimeCall::Timestamp(Call::set { now })
}

#[test]
fn set_as_first_extrinsic_stores_the_time() {
    let mut chain = Chain::new();
    chain.run(&[]);
    assert_eq!(chain.state[&keys::timestamp_now()], 1_000u64.encode());
}

#[test]
fn set_missing_makes_the_block_invalid() {
    let chain = Chain::new();
    let result = execute_block(&chain.state, &chain.context(), &[]);
    assert!(matches!(result, Err(BlockError::Timestamp { .. })));
    let transfer = chain.tx(0, &client::remark(vec![]));
    let result = execute_block(&chain.state, &chain.context(), &[transfer]);
    assert!(matches!(result, Err(BlockError::Timestamp { .. })));
}

#[test]
fn set_to_another_time_than_the_header_makes_the_block_invalid() {
    let chain = Chain::new();
    let result = execute_block(&chain.state, &chain.context(), &[bare(&set(999))]);
    assert!(matches!(result, Err(BlockError::Timestamp { .. })));
}

#[test]
fn set_twice_makes_the_block_invalid() {
    let chain = Chain::new();
    let result = chain.execute(&[chain.inherent()]);
    assert!(matches!(result, Err(BlockError::Bare { index: 1 })));
}

#[test]
fn set_at_the_parents_time_makes_the_block_invalid() {
    let mut chain = Chain::new();
    chain.run(&[]);
    chain.height = 0;
    assert!(matches!(chain.execute(&[]), Err(BlockError::TimestampOrder { .. })));
}

#[test]
fn set_signed_fails_with_bad_origin() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &set(5));
    assert_eq!((result, events.len()), (Err(DispatchError::BadOrigin), 0));
    let (result, _) = chain.call(0, &client::batch_all(vec![set(5)]));
    assert_eq!(result, Err(DispatchError::BadOrigin));
}
