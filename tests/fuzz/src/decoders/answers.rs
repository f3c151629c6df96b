//! What clients verify of a node's answers: one that is accepted tells the truth.

use super::proofs::proved;
use crate::draw::Draw;
use crate::fixture::{GENESIS, context, proposal, quorum, set};
use cairn_primitives::hash::blake2_256;
use cairn_primitives::light::TrustAnchor;
use cairn_primitives::list_tree::{ListAccumulator, prove, prove_place, root};
use cairn_primitives::{Block, ConsensusContext, Epoch, Hash, Header, Height, Subject};
use cairn_verifier::{
    BlockAnswer, BlockRef, Bytes, Encoded, EventAnswer, Finality, FinalityAnswer, HashText, HistoryAnswer, ItemAnswer,
    ProofAnswer, SetAnswer, TransactionAnswer, VerifiedBlock, Verifier,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Blocks of the chain; only the last has a finalization.
const LENGTH: u32 = 3;

/// Keys that are asked for: one that is there and one that is not.
const KEYS: [usize; 2] = [3, 22];

/// Encoded extrinsics and events of every block.
fn list() -> Vec<Vec<u8>> {
    (0..5u8).map(|item| vec![item, 1, 2, 3]).collect()
}

struct Chain {
    headers: Vec<Header>,
    items: Vec<ItemAnswer>,
}

impl Chain {
    fn new() -> Self {
        let mut items = Vec::new();
        let mut state_root = Hash::ZERO;
        for (key, value, root, proof) in KEYS.map(proved) {
            state_root = root;
            let ics23 = Bytes(proof.to_ics23(&key));
            items.push(ItemAnswer { key: Bytes(key), value: value.map(Bytes), proof: Encoded(proof), ics23 });
        }
        let mut history = ListAccumulator::default();
        let mut parent = GENESIS;
        let mut headers = Vec::new();
        for height in 1..=LENGTH {
            history.push(&parent.0);
            let context = ConsensusContext {
                events_root: root(list()),
                history_root: history.root(),
                ..context(height.into(), u64::from(height) * 1_000)
            };
            let header = Header::new(parent, Height(height), state_root, root(list()), &context);
            parent = header.hash();
            headers.push(header);
        }
        Self { headers, items }
    }

    fn header(&self, height: u32) -> &Header {
        &self.headers[usize::try_from(height).unwrap() - 1]
    }

    fn block(&self, height: u32) -> BlockAnswer {
        BlockAnswer::new(self.header(height).clone(), self.header(height).hash())
    }

    /// What makes the block at a height final, itself or as an ancestor of the last.
    fn finality(&self, height: u32, in_history: bool) -> Finality {
        let last = self.header(LENGTH);
        let hashes: Vec<Hash> = std::iter::once(GENESIS).chain(self.headers.iter().map(Header::hash)).collect();
        let block = Block { header: last.clone(), extrinsics: Vec::new().into() };
        Finality {
            history: in_history.then(|| HistoryAnswer {
                under: self.block(LENGTH),
                proof: Encoded(prove(&hashes[..usize::try_from(LENGTH).unwrap()], height.into()).unwrap()),
            }),
            height: LENGTH,
            hash: HashText(last.hash()),
            links: if in_history {
                Vec::new()
            } else {
                (height + 1..=LENGTH).map(|link| Encoded(self.header(link).clone())).collect()
            },
            certificate: Encoded(quorum(Subject::Finalize(proposal(&block)))),
        }
    }

    /// That what was verified is a block of the chain.
    fn assert_known(&self, block: &VerifiedBlock) {
        assert!(self.headers.contains(block.header.header()), "a forged block");
    }
}

fn verifier() -> Verifier {
    Verifier::new(TrustAnchor::new(GENESIS, set().clone()))
}

/// The answer in a text, if it is one; written again it is one too.
fn read<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(text: &[u8]) -> Option<T> {
    let answer: T = serde_json::from_slice(text).ok()?;
    let again = serde_json::to_vec(&answer).expect("an answer is written");
    assert_eq!(serde_json::from_slice::<T>(&again).expect("what was written is read"), answer);
    Some(answer)
}

/// The first byte chooses the method; the rest is the text of its answer.
pub(crate) fn run(bytes: &[u8]) {
    thread_local! {
        static CHAIN: Chain = Chain::new();
    }
    let mut draw = Draw::new(bytes);
    let kind = draw.below(5);
    let index = u32::try_from(draw.below(6)).unwrap();
    let text = draw.rest();
    CHAIN.with(|chain| match kind {
        0 => {
            let Some(answer) = read::<ProofAnswer>(text) else { return };
            let keys = KEYS.map(|number| proved(number).0);
            let Ok(block) = verifier().state(BlockRef::Newest, &keys, &answer) else { return };
            chain.assert_known(&block);
            assert_eq!(answer.items, chain.items, "a forged state");
        }
        1 => {
            let Some(answer) = read::<TransactionAnswer>(text) else { return };
            let hash = list().get(usize::try_from(index).unwrap()).map_or(Hash::ZERO, |item| blake2_256(item));
            let Ok(block) = verifier().transaction(&hash, &answer) else { return };
            chain.assert_known(&block);
            assert_eq!(answer.index, index, "a transaction in another place");
        }
        2 => {
            let Some(answer) = read::<EventAnswer>(text) else { return };
            let Ok(block) = verifier().event(BlockRef::Newest, index, &answer) else { return };
            chain.assert_known(&block);
            assert_eq!(Some(&answer.event.0), list().get(usize::try_from(index).unwrap()), "a forged event");
        }
        3 => {
            let Some(answer) = read::<FinalityAnswer>(text) else { return };
            let mut verifier = verifier();
            let Ok(block) = verifier.finality(BlockRef::Newest, &answer) else { return };
            chain.assert_known(&block);
            assert_eq!(verifier.anchor().epoch(), Epoch(0), "a forged end of an epoch");
        }
        _ => {
            let Some(answer) = read::<SetAnswer>(text) else { return };
            let Ok(found) = answer.set() else { return };
            assert_eq!(found.hash(), answer.hash.0, "a set with another hash");
        }
    });
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let chain = Chain::new();
    let list = list();
    let text =
        |kind: u8, index: u8, answer: serde_json::Value| [vec![kind, index], answer.to_string().into_bytes()].concat();
    let mut seeds = Vec::new();
    for height in 1..=LENGTH {
        for in_history in [false, height < LENGTH] {
            let (block, finality) = (chain.block(height), Some(chain.finality(height, in_history)));
            let answer = ProofAnswer { block: block.clone(), items: chain.items.clone(), finality: finality.clone() };
            seeds.push(text(0, 0, serde_json::to_value(answer).unwrap()));
            for index in [0u8, 4] {
                let (item, proof) =
                    (Bytes(list[usize::from(index)].clone()), Encoded(prove_place(&list, index.into()).unwrap()));
                let place = u32::from(index);
                let (block, finality) = (block.clone(), finality.clone());
                let transaction = TransactionAnswer {
                    block: block.clone(),
                    index: place,
                    extrinsic: item.clone(),
                    proof: proof.clone(),
                    finality: finality.clone(),
                };
                seeds.push(text(1, index, serde_json::to_value(transaction).unwrap()));
                let event = EventAnswer { block, index: place, event: item, proof, finality };
                seeds.push(text(2, index, serde_json::to_value(event).unwrap()));
            }
            let answer = FinalityAnswer { block, finality, handovers: Vec::new() };
            seeds.push(text(3, 0, serde_json::to_value(answer).unwrap()));
        }
    }
    let answer = SetAnswer::new(Epoch(0), set(), Some(chain.header(1).hash()));
    seeds.push(text(4, 0, serde_json::to_value(answer).unwrap()));
    seeds
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_answers_that_are_accepted() {
        let chain = Chain::new();
        for (height, in_history) in [(1, false), (1, true), (LENGTH, false)] {
            let (block, finality) = (chain.block(height), Some(chain.finality(height, in_history)));
            let answer = ProofAnswer { block, items: chain.items.clone(), finality };
            let keys = KEYS.map(|number| proved(number).0);
            verifier().state(BlockRef::Height(Height(height)), &keys, &answer).unwrap();
        }
    }
}
