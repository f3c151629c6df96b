//! A chain of two epochs, what a node would answer about it, and what becomes of an answer that is changed.

mod chain;

use crate::{
    BlockAnswer, BlockRef, Encoded, EventAnswer, Finality, FinalityAnswer, HashText, ProofAnswer, SetAnswer,
    TransactionAnswer, Verifier, VerifyError,
};
use cairn_primitives::light::{LightError, TrustAnchor};
use cairn_primitives::list_tree::prove_place;
use cairn_primitives::{Epoch, Hash, Header, Height};
use chain::{ABSENT, Chain, EPOCH_LENGTH, KEY, VALUE, extrinsics, records};
use parity_scale_codec::Encode;
use serde::de::DeserializeOwned;

/// A block whose child is certified, and one of the second epoch.
const EARLY: u32 = 2;
const LATE: u32 = EPOCH_LENGTH + 2;

fn transaction(chain: &Chain, height: u32, index: u32, under: Option<u32>) -> TransactionAnswer {
    let extrinsics = extrinsics(height);
    TransactionAnswer {
        block: chain.block(height),
        index,
        extrinsic: crate::Bytes(extrinsics[index as usize].clone()),
        proof: Encoded(prove_place(&extrinsics, index.into()).unwrap()),
        finality: chain.finality(height, under),
    }
}

fn event(chain: &Chain, height: u32, index: u32) -> EventAnswer {
    let records = records(height);
    EventAnswer {
        block: chain.block(height),
        index,
        event: crate::Bytes(records[index as usize].clone()),
        proof: Encoded(prove_place(&records, index.into()).unwrap()),
        finality: chain.finality(height, None),
    }
}

fn state(chain: &Chain, height: u32, under: Option<u32>) -> ProofAnswer {
    ProofAnswer { block: chain.block(height), items: chain::items(), finality: chain.finality(height, under) }
}

fn finality(chain: &Chain, height: u32) -> FinalityAnswer {
    let handovers = if height > EPOCH_LENGTH { vec![chain.handover()] } else { Vec::new() };
    FinalityAnswer { block: chain.block(height), finality: chain.finality(height, None), handovers }
}

fn hash_of(extrinsic: &[u8]) -> Hash {
    cairn_primitives::hash::blake2_256(extrinsic)
}

fn wanted() -> [Vec<u8>; 2] {
    [KEY.to_vec(), ABSENT.to_vec()]
}

/// In the words of the answer, as it goes over the wire.
fn reread<T: DeserializeOwned + serde::Serialize>(answer: &T) -> T {
    serde_json::from_str(&serde_json::to_string(answer).unwrap()).unwrap()
}

#[test]
fn state_is_proved_from_genesis_alone() {
    let chain = Chain::new();
    let answer = reread(&state(&chain, EARLY, None));
    let block = chain.verifier().state(BlockRef::Height(Height(EARLY)), &wanted(), &answer).unwrap();
    assert_eq!((block.header.hash(), block.certified, block.signers), (chain.hash(EARLY), Height(EARLY + 1), 1));
    assert_eq!(answer.items[0].value.as_ref().map(|value| value.0.as_slice()), Some(VALUE));
    assert_eq!(answer.items[1].value, None);
}

#[test]
fn transaction_and_events_are_proved_at_their_places() {
    let chain = Chain::new();
    let verifier = chain.verifier();
    for (extrinsic, index) in extrinsics(EARLY).iter().zip(0..) {
        let answer = reread(&transaction(&chain, EARLY, index, None));
        verifier.transaction(&hash_of(extrinsic), &answer).unwrap();
        let other = TransactionAnswer { index: index + 1, ..answer };
        assert!(verifier.transaction(&hash_of(extrinsic), &other).is_err());
    }
    for index in 0..u32::try_from(records(EARLY).len()).unwrap() {
        let answer = reread(&event(&chain, EARLY, index));
        verifier.event(BlockRef::Hash(chain.hash(EARLY)), index, &answer).unwrap();
        assert!(verifier.event(BlockRef::Newest, index + 1, &answer).is_err());
    }
}

#[test]
fn later_epoch_is_reached_by_its_handover_alone() {
    let chain = Chain::new();
    let answer = reread(&finality(&chain, LATE));
    let mut verifier = chain.verifier();
    assert_eq!(verifier.epoch_needed(&answer.block, answer.finality.as_ref()), Epoch(1));
    let refused = verifier.block(BlockRef::Newest, &answer.block, answer.finality.as_ref()).unwrap_err();
    assert!(matches!(refused, VerifyError::Light(LightError::Epoch { .. })), "{refused}");
    let block = verifier.finality(BlockRef::Newest, &answer).unwrap();
    assert_eq!((block.header.hash(), verifier.anchor().epoch()), (chain.hash(LATE), Epoch(1)));
    assert!(verifier.follow(&chain.handover()).is_err(), "an epoch ends once");
}

#[test]
fn checkpoint_proves_what_is_older_by_history() {
    let chain = Chain::new();
    let (genesis, schedule) = (chain.hash(0), chain.schedule());
    let header = chain.header(LATE).clone();
    let anchor = TrustAnchor::from_checkpoint(genesis, schedule, chain.hash(LATE), &header, chain.set(1)).unwrap();
    let verifier = Verifier::new(anchor);
    for height in [0, 1, EARLY, EPOCH_LENGTH, LATE - 1] {
        let answer = reread(&state(&chain, height, Some(LATE)));
        let block = verifier.state(BlockRef::Height(Height(height)), &wanted(), &answer).unwrap();
        assert_eq!((block.header.hash(), block.under), (chain.hash(height), Some(chain.hash(LATE))));
    }
    let answer = transaction(&chain, EARLY, 1, Some(LATE));
    verifier.transaction(&hash_of(&extrinsics(EARLY)[1]), &answer).unwrap();
    // What the first epoch signed says nothing to who begins later.
    assert!(verifier.state(BlockRef::Newest, &wanted(), &state(&chain, EARLY, None)).is_err());
    for (trusted, header, set) in
        [(chain.hash(LATE), chain.header(LATE - 1), chain.set(1)), (chain.hash(LATE), chain.header(LATE), chain.set(0))]
    {
        assert!(TrustAnchor::from_checkpoint(genesis, schedule, trusted, header, set).is_err());
    }
}

#[test]
fn validators_are_those_the_header_names() {
    let chain = Chain::new();
    let mut verifier = chain.verifier();
    let block = verifier.finality(BlockRef::Newest, &finality(&chain, LATE)).unwrap();
    let answer = SetAnswer::new(Epoch(1), &chain.set(1), Some(chain.hash(LATE)));
    assert_eq!(verifier.validators(&block, &reread(&answer)).unwrap(), chain.set(1));
    for wrong in [
        SetAnswer::new(Epoch(1), &chain.set(0), Some(chain.hash(LATE))),
        SetAnswer::new(Epoch(0), &chain.set(1), Some(chain.hash(LATE))),
        SetAnswer::new(Epoch(1), &chain.set(1), Some(chain.hash(EARLY))),
        SetAnswer { quorum: crate::Number(0), ..answer },
    ] {
        assert!(verifier.validators(&block, &wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn block_that_nothing_proves_final_is_refused() {
    let chain = Chain::new();
    let verifier = chain.verifier();
    let bare = verifier.block(BlockRef::Newest, &chain.block(EARLY), None);
    assert_eq!(bare, Err(VerifyError::NoFinality(Height(EARLY))));
    assert!(verifier.block(BlockRef::Newest, &chain.block(0), None).is_ok());
    let other = Chain::with_seed(9);
    assert!(verifier.block(BlockRef::Newest, &other.block(0), None).is_err());
    assert!(verifier.block(BlockRef::Newest, &other.block(EARLY), other.finality(EARLY, None).as_ref()).is_err());
    let finality = chain.finality(EARLY, None).unwrap();
    let long = Finality { links: vec![Encoded(chain.header(1).clone()); 257], ..finality.clone() };
    let refused = verifier.block(BlockRef::Newest, &chain.block(EARLY), Some(&long));
    assert_eq!(refused, Err(VerifyError::TooManyLinks { found: 257 }));
    let cut = Finality { links: Vec::new(), ..finality };
    assert!(verifier.block(BlockRef::Newest, &chain.block(EARLY), Some(&cut)).is_err());
}

#[test]
fn history_of_another_length_or_place_is_refused() {
    let chain = Chain::new();
    let verifier = chain.verifier();
    let check = |change: &dyn Fn(&mut Finality)| {
        let mut finality = chain.finality(1, Some(EARLY + 1)).unwrap();
        change(&mut finality);
        verifier.block(BlockRef::Newest, &chain.block(1), Some(&finality))
    };
    check(&|_| {}).unwrap();
    check(&|finality| finality.history.as_mut().unwrap().proof.0.index = 0).unwrap_err();
    check(&|finality| finality.history.as_mut().unwrap().proof.0.count += 1).unwrap_err();
    check(&|finality| finality.history.as_mut().unwrap().under = chain.block(EARLY)).unwrap_err();
    // A history proof of one block shows nothing of another.
    let finality = chain.finality(1, Some(EARLY + 1));
    assert!(verifier.block(BlockRef::Newest, &chain.block(EARLY), finality.as_ref()).is_err());
}

#[test]
fn fields_that_repeat_something_are_compared() {
    let chain = Chain::new();
    let check = |change: &dyn Fn(&mut BlockAnswer)| {
        let mut block = chain.block(EARLY);
        change(&mut block);
        chain.verifier().block(BlockRef::Newest, &block, chain.finality(EARLY, None).as_ref())
    };
    check(&|_| {}).unwrap();
    check(&|block| block.height += 1).unwrap_err();
    check(&|block| block.hash = HashText(Hash::ZERO)).unwrap_err();
    check(&|block| block.state_root = HashText(Hash::ZERO)).unwrap_err();
    check(&|block| block.header.0.number += 1).unwrap_err();
    let asked = chain.verifier().block(BlockRef::Height(Height(1)), &chain.block(EARLY), None).unwrap_err();
    assert!(matches!(asked, VerifyError::Mismatch { what: "block", .. }), "{asked}");
}

/// Every text that differs from the answer in one bit is refused: it is no JSON, of another shape, or does not verify.
fn assert_every_bit_counts<T: DeserializeOwned + serde::Serialize>(answer: &T, accepts: impl Fn(&T) -> bool) {
    let text = serde_json::to_vec(answer).unwrap();
    assert!(accepts(&serde_json::from_slice(&text).unwrap()));
    for bit in 0..text.len() * 8 {
        let mut forged = text.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let Ok(answer) = serde_json::from_slice::<T>(&forged) else { continue };
        assert!(!accepts(&answer), "bit {bit} of {}: {}", text.len() * 8, String::from_utf8_lossy(&forged));
    }
}

#[test]
fn state_answer_with_any_bit_flipped_is_refused() {
    let chain = Chain::new();
    let at = BlockRef::Height(Height(EARLY));
    let accepts = |answer: &ProofAnswer| chain.verifier().state(at, &wanted(), answer).is_ok();
    assert_every_bit_counts(&state(&chain, EARLY, None), accepts);
    assert_every_bit_counts(&state(&chain, EARLY, Some(EARLY + 1)), accepts);
}

#[test]
fn transaction_answer_with_any_bit_flipped_is_refused() {
    let chain = Chain::new();
    for (extrinsic, index) in extrinsics(EARLY).iter().zip(0..) {
        let hash = hash_of(extrinsic);
        let accepts = |answer: &TransactionAnswer| chain.verifier().transaction(&hash, answer).is_ok();
        assert_every_bit_counts(&transaction(&chain, EARLY, index, None), accepts);
    }
}

#[test]
fn event_answer_with_any_bit_flipped_is_refused() {
    let chain = Chain::new();
    let last = u32::try_from(records(EARLY).len()).unwrap() - 1;
    for index in [0, last] {
        let accepts = |answer: &EventAnswer| chain.verifier().event(BlockRef::Newest, index, answer).is_ok();
        assert_every_bit_counts(&event(&chain, EARLY, index), accepts);
    }
}

#[test]
fn finality_answer_with_any_bit_flipped_is_refused() {
    let chain = Chain::new();
    let at = BlockRef::Hash(chain.hash(LATE));
    assert_every_bit_counts(&finality(&chain, LATE), |answer| chain.verifier().finality(at, answer).is_ok());
}

#[test]
fn surplus_fields_and_other_forms_of_bytes_are_refused() {
    let chain = Chain::new();
    let text = serde_json::to_string(&chain.block(1)).unwrap();
    let hash = chain.hash(1).to_string();
    for (from, to) in [
        ("{", "{\"more\":1,".to_owned()),
        (hash.as_str(), hash[2..].to_owned()),
        (hash.as_str(), format!("{hash}00")),
        (hash.as_str(), format!("0x{}", hash[2..].to_uppercase().replacen(|c: char| c.is_ascii_digit(), "A", 1))),
    ] {
        assert!(serde_json::from_str::<BlockAnswer>(&text.replacen(from, &to, 1)).is_err(), "{to}");
    }
    for number in ["\"+1\"", "\"01\"", "\"\"", "\"-1\"", "\"18446744073709551616\"", "1"] {
        assert!(serde_json::from_str::<crate::Number>(number).is_err(), "{number}");
    }
    let header: &Header = chain.header(1);
    let longer = format!("\"0x{}00\"", hex::encode(header.encode()));
    assert!(serde_json::from_str::<Encoded<Header>>(&longer).is_err(), "trailing bytes");
}
