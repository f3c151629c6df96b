//! Transactions of clients: transfers, burns and batches between a few accounts, signed for the state that a node shows.

use crate::node::Node;
use crate::plan::{Machine, PowerChange};
use crate::rng::Rng;
use crate::setup::Setup;
use cairn_primitives::{Hash, Height, OpaqueExtrinsic};
use cairn_runtime::{Era, RuntimeCall, TransactionExtra, client};

/// Transactions that name a block of their birth, of a hundred.
const MORTAL_PERCENT: u64 = 30;

/// The clients of a run.
pub(crate) struct Traffic {
    rng: Rng,
}

impl Traffic {
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::new(seed, "traffic") }
    }

    /// How long until the next submission.
    pub(crate) fn pause_ms(&mut self, setup: &Setup) -> u64 {
        self.rng.between(1, setup.plan.load.pause_ms_max.max(1))
    }

    /// How many transactions are submitted now.
    pub(crate) fn burst(&mut self, setup: &Setup) -> u64 {
        self.rng.between(1, setup.plan.load.burst_max)
    }

    /// One of the machines.
    pub(crate) fn machine(&mut self, among: &[Machine]) -> Option<Machine> {
        (!among.is_empty()).then(|| *self.rng.pick(among))
    }

    fn call(&mut self, setup: &Setup) -> RuntimeCall {
        // Two more accounts than are endowed: accounts are born and die, too.
        let to = self.rng.index(setup.accounts.len() + 2);
        let to = setup.account(to);
        let amount = u128::from(self.rng.below(3)) * 250_000_000_000 + u128::from(self.rng.below(1_000_000_000));
        match self.rng.below(12) {
            0 => client::transfer_all(to, self.rng.percent(50)),
            1 => client::burn(amount, true),
            2 => client::batch(vec![client::transfer_allow_death(to, amount), client::burn(1, true)]),
            3 => client::batch_all(vec![client::burn(1, true), client::transfer_keep_alive(to, amount)]),
            4 | 5 => client::transfer_allow_death(to, amount),
            _ => client::transfer_keep_alive(to, amount / 1_000),
        }
    }

    /// A transaction of some account, as a client of the node would make it.
    pub(crate) fn transaction(&mut self, setup: &Setup, node: &Node) -> Option<OpaqueExtrinsic> {
        let number = self.rng.index(setup.plan.load.accounts);
        let call = self.call(setup);
        let head = node.reader().head().height;
        let genesis = setup.genesis.hash();
        let (era, era_block) = if self.rng.percent(MORTAL_PERCENT) && head > Height::ZERO {
            let current = u64::from(head.0);
            let era = Era::mortal(8 << self.rng.below(4), current);
            let birth = Height(u32::try_from(era.birth(current)).ok()?);
            (era, node.reader().block_hash(birth).ok()??)
        } else {
            (Era::Immortal, genesis)
        };
        let tip = u128::from(self.rng.below(3)) * 1_000;
        sign(setup, node, number, &call, era, era_block, tip)
    }

    /// A transaction of the authority.
    pub(crate) fn change(setup: &Setup, node: &Node, change: &PowerChange) -> Option<OpaqueExtrinsic> {
        let call = client::set_validator(setup.keys.get(change.validator)?.public(), change.power);
        sign(setup, node, setup.accounts.len() - 2, &call, Era::Immortal, setup.genesis.hash(), 1_000_000)
    }

    /// The transaction of the liveness phase, from an account that sends nothing else.
    pub(crate) fn last_transaction(setup: &Setup, node: &Node) -> Option<OpaqueExtrinsic> {
        let call = client::transfer_keep_alive(setup.account(0), 1_000_000_000);
        sign(setup, node, setup.accounts.len() - 1, &call, Era::Immortal, setup.genesis.hash(), 0)
    }
}

fn sign(
    setup: &Setup,
    node: &Node,
    number: usize,
    call: &RuntimeCall,
    era: Era,
    era_block: Hash,
    tip: u128,
) -> Option<OpaqueExtrinsic> {
    let key = &setup.accounts[number];
    let account = setup.account(number);
    let committed = cairn_runtime::account(&node.reader().state_at_head(), &account).ok()?.nonce;
    let nonce = u32::try_from(node.mempool.next_nonce(&account, u64::from(committed))).ok()?;
    Some(client::sign(key, call, TransactionExtra { era, nonce, tip }, &setup.genesis.hash(), &era_block))
}
