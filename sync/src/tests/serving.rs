//! How much one request gets.

use super::*;
use crate::serve;
use cairn_primitives::message::{SYNC_RESPONSE_BYTES_MAX, SyncRequest, SyncResponse};
use parity_scale_codec::Encode;

fn served(chain: &Chain, from: u32, count: u32) -> Vec<u32> {
    match serve(chain, &SyncRequest::Blocks { from: Height(from), count }).unwrap() {
        SyncResponse::Blocks(blocks) => {
            assert!(blocks.last().is_some_and(|last| last.finalization.is_some()));
            heights(&blocks)
        }
        SyncResponse::Refused => Vec::new(),
        other @ (SyncResponse::Status { .. } | SyncResponse::Archive(_)) => panic!("{other:?} for blocks"),
    }
}

#[test]
fn status_is_the_highest_block_with_its_own_finalization() {
    let mut chain = Chain::new(6, 3);
    chain.push(vec![], false);
    let finalization = chain.block(6).finalization.clone();
    let expected = SyncResponse::Status { head: Height(6), finalization, lowest: Height::ZERO };
    assert_eq!(serve(&chain, &SyncRequest::Status).unwrap(), expected);
}

#[test]
fn status_at_genesis_has_no_finalization() {
    let expected = SyncResponse::Status { head: Height(0), finalization: None, lowest: Height::ZERO };
    assert_eq!(serve(&Chain::new(0, 1), &SyncRequest::Status).unwrap(), expected);
}

#[test]
fn blocks_end_in_a_finalization_within_the_count() {
    let chain = Chain::new(12, 4);
    assert_eq!(served(&chain, 2, 9), (2..=8).collect::<Vec<_>>());
    assert_eq!(served(&chain, 5, 4), [5, 6, 7, 8]);
}

#[test]
fn blocks_go_beyond_the_count_only_to_reach_a_finalization() {
    let chain = Chain::new(12, 4);
    assert_eq!(served(&chain, 1, 1), [1, 2, 3, 4]);
    assert_eq!(served(&chain, 4, 1), [4]);
}

#[test]
fn blocks_are_at_most_those_of_one_answer() {
    assert_eq!(served(&Chain::new(300, 1), 1, u32::MAX).len(), 256);
}

#[test]
fn blocks_outside_the_chain_are_refused() {
    let chain = Chain::new(4, 1);
    for (from, count) in [(0, 4), (5, 1), (1, 0), (u32::MAX, u32::MAX)] {
        assert_eq!(served(&chain, from, count), [0; 0]);
    }
}

#[test]
fn large_blocks_shorten_the_answer_but_one_always_fits() {
    let chain = Chain::with_extrinsics(6, 1, |_| vec![vec![0; 1 << 20]; 3]);
    assert_eq!(served(&chain, 1, 6), [1, 2]);
    let chain = Chain::with_extrinsics(2, 2, |_| vec![vec![0; (4 << 20) - 1_024]]);
    let response = serve(&chain, &SyncRequest::Blocks { from: Height(1), count: 1 }).unwrap();
    assert!(matches!(&response, SyncResponse::Blocks(blocks) if blocks.len() == 2));
    assert!(response.encoded_size() <= SYNC_RESPONSE_BYTES_MAX);
}
