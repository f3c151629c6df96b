//! What the runtime promises about money holds through the ledger, too.

use super::fixture::{ACCOUNTS, ENDOWMENT, Node, id, tx};
use crate::{StateAt, Verdict};
use cairn_primitives::hash::sha256_concat;
use cairn_runtime::{AccountInfo, RuntimeCall, Transaction, client, keys};
use parity_scale_codec::DecodeAll;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 += 1;
        let hash = sha256_concat(&[b"dice", &self.0.to_le_bytes()]);
        u64::from_le_bytes(*hash.0.first_chunk().unwrap()) % limit
    }

    fn account(&mut self) -> u8 {
        // Two more than there are: accounts are born, too.
        u8::try_from(self.below(u64::from(ACCOUNTS) + 2)).unwrap()
    }

    fn call(&mut self) -> RuntimeCall {
        let to = id(self.account());
        let amount = u128::from(self.below(3)) * ENDOWMENT / 4 + u128::from(self.below(1_000_000_000));
        match self.below(8) {
            0 => client::transfer_all(to, self.below(2) == 0),
            1 => client::burn(amount, self.below(2) == 0),
            2 => client::batch(vec![client::transfer_allow_death(to, amount), client::burn(1, true)]),
            3 => client::batch_all(vec![client::burn(1, true), client::transfer_keep_alive(to, amount)]),
            4 => client::transfer_keep_alive(to, amount),
            _ => client::transfer_allow_death(to, amount),
        }
    }
}

fn number(state: &StateAt, key: &[u8]) -> u128 {
    u128::decode_all(&mut state.get(key).unwrap().unwrap().as_slice()).unwrap()
}

fn check_issuance(state: &StateAt) {
    let mut sum = 0;
    for key in state.keys(&keys::SYSTEM_ACCOUNT, None, 1_000).unwrap() {
        let info = AccountInfo::decode_all(&mut state.get(&key).unwrap().unwrap().as_slice()).unwrap();
        sum += info.data.free + info.data.reserved;
    }
    let issuance = number(state, &keys::BALANCES_TOTAL_ISSUANCE);
    assert_eq!(issuance, sum, "height {}", state.height());
    let issued = issuance + number(state, &keys::BALANCES_BURNT);
    assert_eq!(issued, u128::from(ACCOUNTS) * ENDOWMENT, "height {}", state.height());
}

#[test]
fn issuance_equals_balances_and_burnt_after_every_random_block() {
    for seed in 0..4u64 {
        let mut dice = Dice(seed << 32);
        let (mut leader, mut follower) = (Node::new(), Node::new());
        let mut included = 0;
        for view in 1..=30 {
            let mut nonces = [0, 1, 2, 3, 4, 5, 6].map(|n| leader.account(n).nonce);
            let candidates: Vec<Transaction> = (0..dice.below(8))
                .map(|_| {
                    let sender = dice.account();
                    let nonce = &mut nonces[usize::from(sender)];
                    *nonce += 1;
                    tx(sender, *nonce - 1, &dice.call())
                })
                .collect();
            let block = leader.try_propose(leader.head(), view, &candidates).block;
            included += block.extrinsics.len() - 1;
            assert_eq!(follower.ledger.verify(&block).unwrap(), Verdict::Valid);
            for node in [&mut leader, &mut follower] {
                node.certify(&block);
                node.commit(&[&block]);
                check_issuance(&node.ledger.reader().state_at(&block.header.hash()).unwrap());
            }
        }
        assert!(included > 30, "seed {seed}: only {included} transactions were included");
    }
}
