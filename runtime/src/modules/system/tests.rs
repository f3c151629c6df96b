//! Tests of System.

use super::Event;
use crate::modules::RuntimeEvent;
use crate::testing::{Chain, bare, id};
use crate::{BlockError, client};
use cairn_primitives::hash::blake2_256;

#[test]
fn remark_signed_changes_nothing_but_nonce_and_fee() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &client::remark(vec![1, 2, 3]));
    assert_eq!((result, events.len()), (Ok(()), 0));
    assert_eq!(chain.account(0).nonce, 1);
}

#[test]
fn remark_with_event_emits_the_hash() {
    let mut chain = Chain::new();
    let (result, events) = chain.call(0, &client::remark_with_event(b"hello".to_vec()));
    assert_eq!(result, Ok(()));
    assert_eq!(events, [RuntimeEvent::System(Event::Remarked { sender: id(0), hash: blake2_256(b"hello") })]);
}

#[test]
fn remark_bare_makes_the_block_invalid() {
    let chain = Chain::new();
    let result = chain.execute(&[bare(&client::remark(vec![]))]);
    assert!(matches!(result, Err(BlockError::Bare { index: 1 })));
}

#[test]
fn remark_weight_grows_with_bytes() {
    let light = client::remark(vec![0; 10]).weight();
    let heavy = client::remark(vec![0; 1_000]).weight();
    assert_eq!(heavy.ref_time - light.ref_time, 990 * crate::weight::REMARK_PER_BYTE);
    assert!(client::remark_with_event(vec![0; 10]).weight() > light);
}
