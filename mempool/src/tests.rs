//! Tests of the pool: refusals, order, blocks, and a comparison with a naive model.
#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "tests may fail loudly")]

mod blocks;
mod model;
mod order;
mod refusals;

use crate::{AccountState, Input, Origin, Output, Pool, PoolConfig, PoolTransaction};
use cairn_primitives::{AccountId32, Hash, Height};

type TestPool = Pool<u64>;

const FOREVER: Height = Height(u32::MAX);
const RICH: u128 = 1_000_000;

fn account(number: u8) -> AccountId32 {
    AccountId32([number; 32])
}

/// A transaction whose payload and hash are `id`: 100 bytes, weight 10, tip 10, cost 100.
fn transaction(id: u64, sender: u8, nonce: u64) -> PoolTransaction<u64> {
    let mut hash = Hash::ZERO;
    hash.0[..8].copy_from_slice(&id.to_be_bytes());
    PoolTransaction {
        hash,
        sender: account(sender),
        nonce,
        priority: 10,
        cost_max: 100,
        valid_until: FOREVER,
        bytes_len: 100,
        weight: 10,
        payload: id,
    }
}

fn tipped(id: u64, sender: u8, nonce: u64, tip: u128) -> PoolTransaction<u64> {
    PoolTransaction { priority: tip, ..transaction(id, sender, nonce) }
}

fn pool(change: impl FnOnce(&mut PoolConfig)) -> TestPool {
    let mut config = PoolConfig::default();
    change(&mut config);
    Pool::new(config, Height(10))
}

fn step(pool: &mut TestPool, input: Input<u64>) -> Vec<Output> {
    let mut outputs = Vec::new();
    pool.step(1_000, input, &mut outputs);
    outputs
}

fn insert_with(pool: &mut TestPool, transaction: PoolTransaction<u64>, nonce: u64, spendable: u128) -> Vec<Output> {
    let account = AccountState { nonce, spendable };
    step(pool, Input::Insert { transaction, account, origin: Origin::Remote })
}

/// Inserts for a rich account at nonce 0.
fn insert(pool: &mut TestPool, transaction: PoolTransaction<u64>) -> Vec<Output> {
    insert_with(pool, transaction, 0, RICH)
}

fn hash(id: u64) -> Hash {
    transaction(id, 0, 0).hash
}

fn admitted(id: u64, ready: bool) -> Output {
    Output::Admitted { hash: hash(id), ready, propagate: false }
}

fn pending(pool: &TestPool) -> Vec<u64> {
    pool.pending().map(|transaction| transaction.payload).collect()
}

/// A small generator of test numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
