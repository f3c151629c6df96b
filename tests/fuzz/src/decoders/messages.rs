//! What nodes send each other.

use super::chain::{look_at_block, look_at_certificate};
use super::strict;
use super::transactions::look_at_extrinsic;
use crate::fixture::{GENESIS, certificate, chain, proposal, quorum, set, vote};
use cairn_primitives::authority::{Answer, AuthorityRecord, HANDSHAKE_BYTES_MAX, Hello, Lane, Refusal, Statement};
use cairn_primitives::block::BLOCK_BYTES_MAX;
use cairn_primitives::certificate::CERTIFICATE_BYTES_MAX;
use cairn_primitives::message::{
    CONSENSUS_MESSAGE_BYTES_MAX, ConsensusMessage, STATE_REQUEST_BYTES_MAX, STATE_RESPONSE_BYTES_MAX,
    SYNC_REQUEST_BYTES_MAX, SYNC_RESPONSE_BYTES_MAX, StateRequest, StateResponse, SyncRequest, SyncResponse,
    TRANSACTIONS_BYTES_MAX, TransactionGossip,
};
use cairn_primitives::snapshot::SnapshotOffer;
use cairn_primitives::{
    ArchivedBlock, Certificate, Epoch, EpochSchedule, Evidence, FinalizedBlock, Hash, Height, KeyPair, OpaqueExtrinsic,
    Subject, ValidatorSet, View, VoteKind,
};
use cairn_sync::{ArchiveRules, ArchivedRange, BlockSource, ValidatorSets, serve, verify_range};
use parity_scale_codec::Encode;
use std::convert::Infallible;
use std::sync::Arc;

pub(crate) fn consensus_message(bytes: &[u8]) {
    let Some(message) = strict::<ConsensusMessage>("consensus message", bytes, CONSENSUS_MESSAGE_BYTES_MAX) else {
        return;
    };
    match message {
        ConsensusMessage::Proposal { block, .. } | ConsensusMessage::Block(block) => look_at_block(&block),
        ConsensusMessage::Certificate(certificate) => look_at_certificate(&certificate),
        ConsensusMessage::Standing { entry, .. } => entry.iter().for_each(look_at_certificate),
        ConsensusMessage::Evidence(evidence) => super::chain::look_at_evidence(&evidence),
        ConsensusMessage::Vote(_)
        | ConsensusMessage::FetchCertificate { .. }
        | ConsensusMessage::FetchBlock(_)
        | ConsensusMessage::Probe { .. } => {}
    }
}

pub(crate) fn consensus_message_seeds() -> Vec<Vec<u8>> {
    let block = Arc::new(chain(1).remove(0).block);
    let subject = Subject::Notarize(proposal(&block));
    let nullify = Subject::Nullify { epoch: Epoch(0), view: View(9) };
    let first = vote(set(), subject, 0).unwrap();
    let second = vote(set(), Subject::Notarize(proposal(&chain(2)[1].block)), 0).unwrap();
    let finalize = vote(set(), Subject::Finalize(proposal(&block)), 0).unwrap();
    let other = vote(set(), Subject::Nullify { epoch: Epoch(0), view: View(1) }, 0).unwrap();
    let offender = set().validators()[0].key;
    let messages = [
        ConsensusMessage::Proposal { proposal: proposal(&block), block: Arc::clone(&block), vote: first.clone() },
        ConsensusMessage::Vote(second),
        ConsensusMessage::Certificate(quorum(nullify)),
        ConsensusMessage::FetchCertificate { kind: VoteKind::Finalize, epoch: Epoch(1), view: View(5) },
        ConsensusMessage::FetchBlock(Hash([5; 32])),
        ConsensusMessage::Block(block),
        ConsensusMessage::Evidence(Box::new(Evidence::new(offender, &finalize, &other).unwrap())),
        ConsensusMessage::Probe { epoch: Epoch(3) },
        ConsensusMessage::Standing { epoch: Epoch(0), view: View(2), entry: Some(quorum(subject)) },
        ConsensusMessage::Standing { epoch: Epoch(0), view: View(1), entry: None },
    ];
    messages.iter().map(Encode::encode).collect()
}

/// Thirty blocks to be served from.
struct Source(Vec<FinalizedBlock>);

impl BlockSource for Source {
    type Error = Infallible;

    fn head(&self) -> Height {
        Height(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    fn finalized_block(&self, height: Height) -> Result<Option<FinalizedBlock>, Infallible> {
        let place = usize::try_from(height.0).ok().and_then(|height| height.checked_sub(1));
        Ok(place.and_then(|place| self.0.get(place)).cloned())
    }

    fn finalization(&self, height: Height) -> Result<Option<Certificate>, Infallible> {
        Ok(self.finalized_block(height)?.and_then(|block| block.finalization))
    }

    fn lowest(&self) -> Result<Height, Infallible> {
        Ok(Height::ZERO)
    }

    fn events(&self, height: Height) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.finalized_block(height)?.map(|_| Vec::new()))
    }
}

/// The chain of [`Source`], whose blocks have no events that anybody looks at.
struct Rules;

impl ArchiveRules for Rules {
    fn genesis(&self) -> Hash {
        GENESIS
    }

    fn schedule(&self) -> EpochSchedule {
        EpochSchedule::new(0)
    }

    fn validators(&self, _: Epoch) -> Option<Arc<ValidatorSet>> {
        Some(Arc::new(set().clone()))
    }

    fn events_root(&self, _: &[u8]) -> Option<Hash> {
        chain(1).first().and_then(|block| block.block.header.context().ok()).map(|context| context.events_root)
    }
}

fn sets() -> ValidatorSets {
    ValidatorSets::new(EpochSchedule::new(0), Epoch(0), Arc::new(set().clone()))
}

/// Whatever is asked, the answer is bounded and proves itself.
pub(crate) fn sync_request(bytes: &[u8]) {
    let Some(request) = strict::<SyncRequest>("sync request", bytes, SYNC_REQUEST_BYTES_MAX) else { return };
    thread_local! {
        static SOURCE: Source = Source(chain(30));
    }
    let Ok(answer) = SOURCE.with(|source| serve(source, &request));
    assert!(answer.encoded_size() <= SYNC_RESPONSE_BYTES_MAX);
    match (answer, request) {
        (SyncResponse::Blocks(blocks), SyncRequest::Blocks { from, count }) => {
            verify_range(blocks, from, count, &GENESIS, &sets()).expect("what we serve holds");
        }
        (SyncResponse::Archive(blocks), SyncRequest::Archive { last, count }) => {
            ArchivedRange::verify(blocks, last, count, &Rules).expect("what we serve holds");
        }
        _ => {}
    }
}

pub(crate) fn sync_request_seeds() -> Vec<Vec<u8>> {
    let blocks = |from, count| SyncRequest::Blocks { from: Height(from), count };
    let archive = |last, count| SyncRequest::Archive { last: Height(last), count };
    let blocks = [blocks(1, 10), blocks(29, 200), blocks(0, 0), blocks(31, 1), blocks(u32::MAX, u32::MAX)];
    let archive = [archive(30, 10), archive(3, u32::MAX), archive(0, 1), archive(31, 1), archive(u32::MAX, 0)];
    [SyncRequest::Status].iter().chain(&blocks).chain(&archive).map(Encode::encode).collect()
}

pub(crate) fn sync_response(bytes: &[u8]) {
    let Some(response) = strict::<SyncResponse>("sync response", bytes, SYNC_RESPONSE_BYTES_MAX) else { return };
    match response {
        SyncResponse::Blocks(blocks) => {
            let heights: Vec<_> = blocks.iter().map(|block| block.block.header.height()).collect();
            let from = heights.first().copied().unwrap_or_default();
            if let Ok(range) = verify_range(blocks, from, 64, &GENESIS, &sets()) {
                // Four keys that nobody here has: only what they signed can pass.
                let real = chain(30);
                let place = usize::try_from(range.last().0).unwrap_or(0).saturating_sub(1);
                let signed = real.get(place).map(|block| block.block.header.hash());
                let short = chain(3)[2].block.header.hash();
                assert!(signed == Some(range.last_hash()) || range.last_hash() == short, "a forged range");
            }
        }
        SyncResponse::Status { finalization, .. } => finalization.iter().for_each(look_at_certificate),
        SyncResponse::Archive(blocks) => {
            let last = blocks.first().map(|block| block.block.header.height()).unwrap_or_default();
            // Whatever holds is linked to its first block.
            if let Ok(range) = ArchivedRange::verify(blocks, last, 64, &Rules) {
                let first = range.blocks().first().map(|block| block.block.header.hash());
                assert_eq!(first, Some(range.last_hash()));
            }
        }
        SyncResponse::Refused => {}
    }
}

pub(crate) fn sync_response_seeds() -> Vec<Vec<u8>> {
    let mut blocks = chain(3);
    let finalization = blocks[2].finalization.clone();
    let whole = SyncResponse::Blocks(blocks.clone());
    blocks.truncate(1);
    let archived = |FinalizedBlock { block, finalization }| ArchivedBlock { block, finalization, events: vec![0] };
    let archive = SyncResponse::Archive(chain(3).into_iter().rev().map(archived).collect());
    let status = SyncResponse::Status { head: Height(3), finalization, lowest: Height(1) };
    [whole, SyncResponse::Blocks(blocks), status, archive, SyncResponse::Refused].iter().map(Encode::encode).collect()
}

pub(crate) fn state_request(bytes: &[u8]) {
    let Some(request) = strict::<StateRequest>("state request", bytes, STATE_REQUEST_BYTES_MAX) else { return };
    assert_eq!(request.encode(), bytes);
}

pub(crate) fn state_request_seeds() -> Vec<Vec<u8>> {
    let id = GENESIS;
    [StateRequest::Snapshots, StateRequest::Manifest { id, from: 1 << 20 }, StateRequest::Chunk { id, index: 7 }]
        .iter()
        .map(Encode::encode)
        .collect()
}

pub(crate) fn state_response(bytes: &[u8]) {
    let Some(response) = strict::<StateResponse>("state response", bytes, STATE_RESPONSE_BYTES_MAX) else { return };
    assert_eq!(response.encode(), bytes);
}

pub(crate) fn state_response_seeds() -> Vec<Vec<u8>> {
    let offer = SnapshotOffer { id: GENESIS, height: Height(10_000), manifest_bytes: 2_000_000 };
    [
        StateResponse::Snapshots(vec![offer; 2]),
        StateResponse::Manifest(vec![1; 500]),
        StateResponse::Chunk(vec![2; 500]),
        StateResponse::Refused,
    ]
    .iter()
    .map(Encode::encode)
    .collect()
}

pub(crate) fn transaction_gossip(bytes: &[u8]) {
    let Some(gossip) = strict::<TransactionGossip>("transactions gossip", bytes, TRANSACTIONS_BYTES_MAX) else {
        return;
    };
    gossip.0.into_iter().for_each(look_at_extrinsic);
}

pub(crate) fn transaction_gossip_seeds() -> Vec<Vec<u8>> {
    let extrinsics = super::transactions::extrinsics();
    let all = TransactionGossip(extrinsics.clone()).encode();
    let single = extrinsics.into_iter().map(|extrinsic| TransactionGossip(vec![extrinsic]).encode());
    let empty = TransactionGossip(vec![OpaqueExtrinsic::new(Vec::new()); 3]).encode();
    single.chain([all, empty]).collect()
}

pub(crate) fn block_gossip(bytes: &[u8]) {
    let limit = BLOCK_BYTES_MAX + CERTIFICATE_BYTES_MAX + 1;
    let Some(block) = strict::<FinalizedBlock>("block gossip", bytes, limit) else { return };
    look_at_block(&block.block);
    block.finalization.iter().for_each(look_at_certificate);
}

pub(crate) fn block_gossip_seeds() -> Vec<Vec<u8>> {
    let mut blocks = chain(3);
    let mut weak = blocks[0].clone();
    weak.finalization = Some(certificate(set(), Subject::Finalize(proposal(&weak.block)), 1..3));
    blocks.push(weak);
    blocks.iter().map(Encode::encode).collect()
}

/// The three messages of a handshake between validators.
pub(crate) fn handshake(bytes: &[u8]) {
    let peer = [1];
    let look = |record: &AuthorityRecord| {
        if record.check(&GENESIS, Epoch(0), &peer).is_ok() {
            let statement = &record.statement;
            assert_eq!((statement.genesis, statement.epoch, statement.peer.as_slice()), (GENESIS, Epoch(0), &peer[..]));
        }
    };
    if let Some(hello) = strict::<Hello>("handshake", bytes, HANDSHAKE_BYTES_MAX) {
        look(&hello.record);
    }
    if let Some(Answer::Accepted(record)) = strict("handshake answer", bytes, HANDSHAKE_BYTES_MAX) {
        look(&record);
    }
    strict::<Result<(), Refusal>>("handshake agreement", bytes, HANDSHAKE_BYTES_MAX);
}

pub(crate) fn handshake_seeds() -> Vec<Vec<u8>> {
    let key = KeyPair::from_seed(&[1; 32]);
    let addresses = vec![vec![4, 127, 0, 0, 1, 6, 0x76, 0x7d]];
    let statement =
        Statement { genesis: GENESIS, epoch: Epoch(0), key: key.public(), peer: vec![1], addresses, sequence: 1 };
    let record = statement.sign(&key);
    vec![
        Hello { lane: Lane::Large, link: 7, record: record.clone() }.encode(),
        Answer::Accepted(Box::new(record)).encode(),
        Answer::Refused(Refusal::Epoch).encode(),
        Ok::<(), Refusal>(()).encode(),
        Err::<(), _>(Refusal::OwnKey).encode(),
    ]
}
