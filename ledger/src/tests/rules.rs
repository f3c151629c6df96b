//! Each rule of a block, broken alone: refused at the right step, and nothing of it stays.

use super::fixture::{Node, START, finalized, id, key, tx_in_era, validators, with_context};
use crate::{LedgerError, Verdict};
use cairn_primitives::extrinsic::MultiSignature;
use cairn_primitives::header::DigestItem;
use cairn_primitives::{Block, FinalizedBlock, Hash, OpaqueExtrinsic, Signature, TimestampMs, ValidatorIndex};
use cairn_runtime::{Era, RuntimeCall, SignedPart, TransactionExtra, client};
use cairn_storage::{DatabaseView as _, Direction, KeyRange, Record, Table};
use parity_scale_codec::Encode;
use std::sync::Arc;

/// What becomes of a block.
enum Expected {
    /// Verification says that the parent is missing.
    NotYet,
    /// Verification refuses it with this in the reason.
    Invalid(&'static str),
    /// Verification passes, execution gives other roots.
    Fails,
}
use Expected::{Fails, Invalid, NotYet};

type Break = Box<dyn Fn(Block) -> Block>;

fn header(change: impl Fn(&mut cairn_primitives::Header) + 'static) -> Break {
    Box::new(move |mut block| {
        change(&mut block.header);
        block
    })
}

fn context(change: impl Fn(&mut cairn_primitives::ConsensusContext) + 'static) -> Break {
    Box::new(move |block| with_context(&block, &change))
}

/// Changes the body and makes the header commit to it.
fn body(change: impl Fn(&mut Vec<OpaqueExtrinsic>) + 'static) -> Break {
    Box::new(move |mut block| {
        change(&mut block.extrinsics);
        block.header.extrinsics_root = block.extrinsics_root();
        block
    })
}

fn call() -> RuntimeCall {
    client::transfer_keep_alive(id(1), 1_000_000_000)
}

/// A transaction with a signature of somebody else under it.
fn forged(genesis: Hash) -> OpaqueExtrinsic {
    let extra = TransactionExtra { era: Era::Immortal, nonce: 1, tip: 0 };
    let call = call().encode();
    let signature = MultiSignature::Ed25519(Signature(key(2).sign(b"something else").0));
    let signed = Some(SignedPart { signer: id(0), signature, extra });
    assert_ne!(genesis, Hash::ZERO);
    OpaqueExtrinsic::new(cairn_primitives::extrinsic::Envelope { signed, call: &call }.to_bytes())
}

fn rules(genesis: Hash) -> Vec<(&'static str, Break, Expected)> {
    let other = Hash([9; 32]);
    let nobody = ValidatorIndex(u16::try_from(validators().len()).unwrap());
    vec![
        ("parent", header(move |header| header.parent_hash = other), NotYet),
        ("height", header(|header| header.number += 1), Invalid("height")),
        ("extrinsics root", header(move |header| header.extrinsics_root = other), Invalid("extrinsics root")),
        ("no context", header(|header| header.digest.clear()), Invalid("no consensus context")),
        ("extra digest item", header(|h| h.digest.push(DigestItem::Other(vec![1]))), Invalid("digest has 2 items")),
        ("history root", context(move |context| context.history_root = other), Invalid("history root")),
        ("validators", context(move |context| context.validators_hash = other), Invalid("validators hash")),
        ("next", context(move |context| context.next_validators_hash = other), Fails),
        ("epoch", context(|context| context.epoch.0 += 1), Invalid("epoch of the header")),
        ("protocol version", context(|context| context.protocol_version += 1), Invalid("protocol version")),
        ("proposer", context(move |context| context.proposer = nobody), Invalid("not in the validator set")),
        ("same time", context(|context| context.timestamp = TimestampMs(START + 1_000)), Invalid("timestamp")),
        ("earlier time", context(|context| context.timestamp = TimestampMs(START)), Invalid("timestamp")),
        ("oversize", body(|body| body.push(OpaqueExtrinsic::new(vec![4; 4 << 20]))), Invalid("at most 4194304")),
        ("undecodable", body(|body| body.push(OpaqueExtrinsic::new(vec![1, 2]))), Invalid("extrinsic 2: ")),
        ("signature", body(move |body| body.push(forged(genesis))), Invalid("extrinsic 2: the signature")),
        (
            "era block",
            body(move |body| body.push(tx_in_era(0, 1, &call(), Era::mortal(4, 1), other).bytes().clone())),
            Invalid("extrinsic 2: the signature"),
        ),
        ("second time", body(|body| body.push(body[0].clone())), Fails),
        ("no time", body(|body| drop(body.remove(0))), Fails),
        ("empty", body(Vec::clear), Fails),
        ("other time", body(|body| body[0] = client::timestamp_extrinsic(TimestampMs(START + 2_001))), Fails),
        ("doubled transaction", body(|body| body.push(body[1].clone())), Fails),
        ("dropped transaction", body(|body| body.truncate(1)), Fails),
        ("state root", header(move |header| header.state_root = other), Fails),
        ("events root", context(move |context| context.events_root = other), Fails),
    ]
}

/// All that must not change: head, state root, state pages, number of certified blocks.
type Picture = (Hash, Hash, Vec<Record>, usize);

fn picture(node: &Node) -> Picture {
    let head = node.ledger.reader().head();
    let pages = node.database.scan(Table::StatePages, &KeyRange::all(), Direction::Forward, 1_000).unwrap();
    let pending = node.database.scan(Table::PendingBlocks, &KeyRange::all(), Direction::Forward, 1_000).unwrap();
    (head.hash, head.state_root, pages, pending.len())
}

#[test]
fn block_with_a_broken_rule_is_refused_and_leaves_nothing() {
    let mut leader = Node::new();
    let first = leader.grow(&[]);
    let genesis = leader.ledger.reader().genesis_hash();
    let second = leader.propose(first.header.hash(), 2, &[super::fixture::transfer(0, 0, 1, 1_000_000_000)]);
    let mut node = Node::new();
    node.ledger.import(&[finalized(&first)]).unwrap();
    let before = picture(&node);
    for (rule, break_it, expected) in rules(genesis) {
        let bad = Arc::new(break_it(Block::clone(&second)));
        let hash = bad.header.hash();
        let verdict = node.ledger.verify(&bad).unwrap();
        match (&expected, &verdict) {
            (NotYet, Verdict::NotYet) => {
                assert!(matches!(node.ledger.certify(&bad), Err(LedgerError::UnknownBlock(_))), "{rule}");
            }
            (Invalid(part), Verdict::Invalid(reason)) => {
                assert!(reason.contains(part), "{rule}: {reason}");
                assert!(!node.ledger.certify(&bad).unwrap(), "{rule}");
                assert!(node.ledger.pending_block(&hash).is_none(), "{rule}");
            }
            (Fails, Verdict::Valid) => {
                assert!(!node.ledger.execute(&hash).unwrap(), "{rule}");
                assert!(!node.ledger.certify(&bad).unwrap(), "{rule}");
                // Nothing can stand on it.
                let mut child = with_context(&second, |context| context.view.0 += 1);
                child.header.parent_hash = hash;
                assert_eq!(node.ledger.verify(&Arc::new(child)).unwrap(), Verdict::NotYet, "{rule}");
            }
            _ => panic!("{rule}: {verdict:?}"),
        }
        // Not even with a finalization.
        let final_bad = FinalizedBlock { block: Block::clone(&bad), finalization: None };
        let refused = node.ledger.import(&[final_bad]).map(|committed| committed.len());
        assert!(matches!(refused, Err(LedgerError::FinalizedInvalid { .. })), "{rule}: {refused:?}");
        assert_eq!(picture(&node), before, "{rule}");
    }
    node.certify(&second);
    node.commit(&[&second]);
    assert_eq!(node.head(), second.header.hash());
}
