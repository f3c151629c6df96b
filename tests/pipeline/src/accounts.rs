//! The accounts and the transfers between them, all from fixed seeds.

use crate::Options;
use crate::chain::Chain;
use cairn_primitives::hash::sha256;
use cairn_primitives::{AccountId32, KeyPair, OpaqueExtrinsic};
use cairn_runtime::{Era, TransactionExtra, client};
use std::collections::BTreeMap;
use std::thread;

/// Accounts with a key, which may send. Those beyond only receive: nobody can tell them from others in the state.
pub(crate) const KEYED_MAX: u32 = 1_000_000;

/// The amount of a transfer, in base units.
const AMOUNT: u128 = 1_000;

/// The key of a sender.
pub(crate) fn key(number: u32) -> KeyPair {
    KeyPair::from_seed(&sha256(&[b"pipeline sender".as_slice(), &number.to_le_bytes()].concat()).0)
}

/// The account of an owner without a key.
pub(crate) fn keyless(number: u32) -> AccountId32 {
    AccountId32(sha256(&[b"pipeline account".as_slice(), &number.to_le_bytes()].concat()).0)
}

/// Runs `work` on equal parts of `0..count`, a thread each, and joins the results in order.
pub(crate) fn in_parts<T: Send>(count: u32, work: impl Fn(u32) -> T + Sync) -> anyhow::Result<Vec<T>> {
    let threads = u32::try_from(thread::available_parallelism()?.get())?;
    let part = count.div_ceil(threads).max(1);
    let mut all = Vec::with_capacity(usize::try_from(count)?);
    thread::scope(|scope| {
        let work = &work;
        let spawn = |first: u32| {
            let last = first.saturating_add(part).min(count);
            scope.spawn(move || (first..last).map(work).collect::<Vec<_>>())
        };
        let threads: Vec<_> = (0..count).step_by(usize::try_from(part)?).map(spawn).collect();
        for thread in threads {
            all.extend(thread.join().map_err(|_| anyhow::anyhow!("a thread ended by a panic"))?);
        }
        Ok(all)
    })
}

/// The next number of a fixed sequence (SplitMix64).
fn draw(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// The signed transfers of all blocks, each from a random account with a key to a random account.
pub(crate) fn sign(chain: &Chain, options: &Options) -> anyhow::Result<Vec<Vec<OpaqueExtrinsic>>> {
    let mut state = u64::from(options.accounts);
    let mut nonces = BTreeMap::new();
    let count = options.blocks * options.transfers;
    let mut plans = Vec::new();
    for _ in 0..count {
        let from = u32::try_from(draw(&mut state) % u64::from(options.accounts.min(KEYED_MAX)))?;
        let to = u32::try_from(draw(&mut state) % u64::from(options.accounts))?;
        let nonce: &mut u32 = nonces.entry(from).or_insert(0);
        plans.push((from, to, *nonce));
        *nonce += 1;
    }
    let genesis = chain.genesis_hash();
    let signed = in_parts(count, |place| {
        let (from, to, nonce) = *plans.get(usize::try_from(place).ok()?)?;
        let extra = TransactionExtra { era: Era::Immortal, nonce, tip: 0 };
        let call = client::transfer_keep_alive(chain.account(to), AMOUNT);
        Some(client::sign(&key(from), &call, extra, &genesis, &genesis))
    })?;
    let signed: Vec<_> = signed.into_iter().flatten().collect();
    Ok(signed.chunks(usize::try_from(options.transfers)?).map(<[_]>::to_vec).collect())
}
