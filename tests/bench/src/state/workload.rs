//! Accounts and blocks, the same for every peer.

use cairn_primitives::hash::{blake2_128, sha256, twox_128};
use std::collections::BTreeSet;

/// Accounts that a block changes.
pub const UPDATES: u64 = 10_000;
/// Accounts that a block adds.
pub const INSERTS: u64 = 1_000;
/// Accounts in one block while a database is filled.
pub const FILL: u64 = 50_000;

/// A storage key and its value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// The storage key of an account's record, as the runtime builds it: 80 bytes.
pub fn key(account: u64) -> Vec<u8> {
    let id = sha256(&account.to_le_bytes());
    let mut key = Vec::with_capacity(80);
    key.extend_from_slice(&twox_128(b"System"));
    key.extend_from_slice(&twox_128(b"Account"));
    key.extend_from_slice(&blake2_128(&id.0));
    key.extend_from_slice(&id.0);
    key
}

/// The first value of an account: 48 bytes of a nonce, a few counters and balances.
pub fn value(account: u64) -> Vec<u8> {
    let mut value = vec![0; 48];
    value[16..24].copy_from_slice(&(account.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes());
    value
}

/// A value after one more transaction.
pub fn bump(value: &mut [u8]) {
    if let Some(nonce) = value.first_chunk_mut::<8>() {
        *nonce = (u64::from_le_bytes(*nonce) + 1).to_le_bytes();
    }
}

/// What a block does.
pub struct Block {
    /// Keys that it reads and writes back.
    pub updates: Vec<Vec<u8>>,
    /// New accounts.
    pub inserts: Vec<Entry>,
}

/// A block by its number, from 1 on, over a state that began with `accounts`.
pub fn block(number: u64, accounts: u64) -> Block {
    let existing = accounts + (number - 1) * INSERTS;
    let mut random = Random(number);
    let mut chosen = BTreeSet::new();
    let mut updates = Vec::new();
    while (updates.len() as u64) < UPDATES.min(existing) {
        let account = random.next() % existing;
        if chosen.insert(account) {
            updates.push(key(account));
        }
    }
    let inserts = (existing..existing + INSERTS).map(|account| (key(account), value(account))).collect();
    Block { updates, inserts }
}

/// A generator with a seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
