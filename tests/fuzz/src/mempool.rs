//! The mempool under any order of insertions, blocks and refusals: its books balance after every step.

use crate::draw::Draw;
use cairn_mempool::{
    AccountState, Ancestors, Input, Known, Origin, Output, Pool, PoolConfig, PoolTransaction, Selection,
};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::{AccountId32, Hash, Height};
use std::collections::{BTreeMap, BTreeSet};

const CONFIG: PoolConfig = PoolConfig {
    transactions_max: 12,
    bytes_max: 600,
    transaction_bytes_max: 100,
    sender_transactions_max: 6,
    sender_bytes_max: 250,
    replacement_percent: 10,
    included_max: 16,
    propagate_again_ms: 100,
};

const SENDERS: usize = 5;

/// Outputs of one step: each of the transactions held may be told of a few times.
const OUTPUTS_MAX: usize = 8 * 12 + 64;

/// The pool, and what it must agree with.
struct World {
    pool: Pool<u64>,
    now_ms: u64,
    height: Height,
    accounts: BTreeMap<AccountId32, AccountState>,
    /// All transactions ever made, by the number that is their payload.
    made: Vec<PoolTransaction<u64>>,
    held: BTreeSet<Hash>,
}

fn sender(number: usize) -> AccountId32 {
    AccountId32([u8::try_from(number).unwrap_or(0); 32])
}

pub(crate) fn run(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let accounts = (0..SENDERS).map(|number| (sender(number), AccountState { nonce: 0, spendable: 1_000 }));
    let mut world = World {
        pool: Pool::new(CONFIG, Height(1)),
        now_ms: 0,
        height: Height(1),
        accounts: accounts.collect(),
        made: Vec::new(),
        held: BTreeSet::new(),
    };
    while !draw.is_empty() {
        match draw.below(8) {
            0..=4 => world.insert(&mut draw),
            5 => world.commit(&mut draw),
            6 => world.refuse(&mut draw),
            _ => world.tick(&mut draw),
        }
        world.check();
    }
}

impl World {
    fn step(&mut self, input: Input<u64>) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.pool.step(self.now_ms, input, &mut outputs);
        assert!(outputs.len() <= OUTPUTS_MAX, "{} outputs of one step", outputs.len());
        for output in &outputs {
            match output {
                Output::Admitted { hash, .. } => assert!(self.held.insert(*hash), "admitted twice"),
                Output::Replaced { old, .. } => assert!(self.held.remove(old), "replaced what was not there"),
                Output::Dropped { hash, .. } | Output::Included { hash, .. } => {
                    assert!(self.held.remove(hash), "{output:?} of what was not there");
                }
                Output::Promoted { .. }
                | Output::Demoted { .. }
                | Output::Propagate { .. }
                | Output::Refused { .. } => {}
            }
        }
        outputs
    }

    fn insert(&mut self, draw: &mut Draw<'_>) {
        let transaction = if draw.below(8) == 0 { draw.pick(&self.made).cloned() } else { None };
        let transaction = transaction.unwrap_or_else(|| {
            let sender = sender(draw.below(SENDERS));
            let number = u64::try_from(self.made.len()).unwrap_or(0);
            let nonce = self.accounts[&sender].nonce.saturating_add(u64::from(draw.byte() & 7)).saturating_sub(1);
            let made = PoolTransaction {
                hash: blake2_256(&number.to_le_bytes()),
                sender,
                nonce,
                priority: u128::from(draw.byte() & 31),
                cost_max: u128::from(draw.u16() & 0x1ff),
                valid_until: if draw.happens() { Height(u32::MAX) } else { Height(u32::from(draw.byte() & 15)) },
                bytes_len: usize::from(draw.byte() & 127),
                weight: u64::from(draw.byte()),
                payload: number,
            };
            self.made.push(made.clone());
            made
        });
        let account = self.accounts[&transaction.sender];
        let origin = if draw.happens() { Origin::Local } else { Origin::Remote };
        let hash = transaction.hash;
        let outputs = self.step(Input::Insert { transaction, account, origin });
        let answers = outputs.iter().filter(|output| match output {
            Output::Admitted { hash: about, .. } | Output::Refused { hash: about, .. } => *about == hash,
            Output::Replaced { .. }
            | Output::Promoted { .. }
            | Output::Demoted { .. }
            | Output::Included { .. }
            | Output::Dropped { .. }
            | Output::Propagate { .. } => false,
        });
        assert_eq!(answers.count(), 1, "an insertion has one answer");
    }

    /// A block of what the pool would choose, or of some other transactions; balances change besides.
    fn commit(&mut self, draw: &mut Draw<'_>) {
        self.height = self.height.next();
        let mut included = Vec::new();
        if draw.happens() {
            let chosen = self.select(draw);
            included.extend(chosen.into_iter().take(draw.below(6)));
        }
        if draw.happens() {
            included.extend(draw.pick(&self.made).map(|one| one.payload));
        }
        let mut changed = BTreeSet::new();
        let mut hashes = Vec::new();
        for number in included {
            let Some(one) = usize::try_from(number).ok().and_then(|place| self.made.get(place)) else { continue };
            if let Some(account) = self.accounts.get_mut(&one.sender).filter(|account| account.nonce == one.nonce) {
                account.nonce = account.nonce.saturating_add(1);
                account.spendable = account.spendable.saturating_sub(one.cost_max / 2);
                changed.insert(one.sender);
                hashes.push(one.hash);
            }
        }
        for _ in 0..draw.below(3) {
            let name = sender(draw.below(SENDERS));
            if let Some(account) = self.accounts.get_mut(&name) {
                account.spendable = u128::from(draw.u16() & 0x7ff);
                changed.insert(name);
            }
        }
        let accounts = changed.into_iter().map(|name| (name, self.accounts[&name])).collect();
        self.step(Input::BlockCommitted { height: self.height, included: hashes, accounts });
    }

    fn refuse(&mut self, draw: &mut Draw<'_>) {
        if let Some(hash) = draw.pick(&self.made).map(|one| one.hash) {
            self.step(Input::Invalid { hash, reason: "because".into() });
            assert!(!self.held.contains(&hash));
        }
    }

    fn tick(&mut self, draw: &mut Draw<'_>) {
        self.now_ms = self.now_ms.saturating_add(u64::from(draw.byte()));
        let outputs = self.step(Input::Tick);
        for output in outputs {
            if let Output::Propagate { hash } = output {
                assert!(self.held.contains(&hash), "what is gone is propagated");
            }
        }
    }

    /// Chooses for a block, and checks the choice: in bounds, each sender's nonces without a gap from its account's.
    fn select(&self, draw: &mut Draw<'_>) -> Vec<u64> {
        let selection = Selection {
            height: self.height,
            bytes_max: usize::from(draw.u16() & 0x3ff),
            weight_max: u64::from(draw.u16() & 0x7ff),
            count_max: draw.below(14),
        };
        let chosen = self.pool.select(&selection, &Ancestors::default());
        let all: Vec<_> = chosen.iter().map(|number| &self.made[usize::try_from(*number).unwrap()]).collect();
        assert!(all.len() <= selection.count_max);
        assert!(all.iter().map(|one| one.bytes_len).sum::<usize>() <= selection.bytes_max);
        assert!(all.iter().map(|one| one.weight).sum::<u64>() <= selection.weight_max);
        let mut next: BTreeMap<AccountId32, u64> = BTreeMap::new();
        for one in all {
            let expected = next.entry(one.sender).or_insert(self.accounts[&one.sender].nonce);
            assert_eq!(one.nonce, *expected, "a gap in the nonces of a block");
            assert!(one.valid_until >= selection.height && self.held.contains(&one.hash));
            *expected = expected.saturating_add(1);
        }
        chosen
    }

    fn check(&self) {
        let status = self.pool.status();
        assert_eq!(status.ready.saturating_add(status.future), self.held.len(), "the pool's count and its news differ");
        assert!(self.held.len() <= CONFIG.transactions_max && status.bytes <= CONFIG.bytes_max);
        let mut bytes = 0;
        let mut queues: BTreeMap<AccountId32, (usize, usize)> = BTreeMap::new();
        for one in &self.made {
            let is_held = self.held.contains(&one.hash);
            assert_eq!(self.pool.get(&one.hash).is_some(), is_held);
            assert_eq!(self.pool.known(&one.hash) == Some(Known::Pending), is_held);
            if is_held {
                bytes += one.bytes_len;
                let (count, length) = queues.entry(one.sender).or_default();
                (*count, *length) = (*count + 1, *length + one.bytes_len);
            }
        }
        assert_eq!((bytes, queues.len()), (status.bytes, status.senders));
        assert!(
            queues.values().all(|(count, length)| {
                *count <= CONFIG.sender_transactions_max && *length <= CONFIG.sender_bytes_max
            })
        );
        assert_eq!(self.pool.pending().count(), status.ready, "what is ready is pending");
    }
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let busy: Vec<u8> = (0..=255).collect();
    let inserts = (0..20u8).flat_map(|turn| [1, 1, turn, 1, turn, 9, 0, 1, 20, 5, 1]).collect();
    let blocks =
        (0..20u8).flat_map(|turn| [1, 1, 0, turn, 1, 9, 0, 1, 20, 5, 1, 5, 1, 255, 1, 255, 1, 9, 3, 0, 0]).collect();
    vec![busy, inserts, blocks]
}
