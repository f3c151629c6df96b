//! What travels between machines, and how it reads in a trace.

use cairn_primitives::message::{ConsensusMessage, StateRequest, StateResponse, SyncRequest, SyncResponse};
use cairn_primitives::{FinalizedBlock, Hash, OpaqueExtrinsic, Subject};
use std::fmt;
use std::sync::Arc;

/// A message from one machine to another.
#[derive(Clone)]
pub(crate) enum Wire {
    Consensus(Arc<ConsensusMessage>),
    Transactions { id: u64, extrinsics: Arc<Vec<OpaqueExtrinsic>> },
    Block { id: u64, block: Arc<FinalizedBlock> },
    SyncRequest { token: u64, request: SyncRequest },
    SyncResponse { token: u64, response: Arc<SyncResponse> },
    StateRequest { token: u64, request: StateRequest },
    StateResponse { token: u64, response: Arc<StateResponse> },
}

/// The first bytes of a hash: enough for people, and for a trace whose every event depends on those before.
pub(crate) struct Short(pub(crate) Hash);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

/// A subject in few words.
pub(crate) struct About(pub(crate) Subject);

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Subject::Notarize(proposal) => {
                write!(f, "notarize {}/{} {}", proposal.epoch, proposal.view, Short(proposal.block))
            }
            Subject::Nullify { epoch, view } => write!(f, "nullify {epoch}/{view}"),
            Subject::Finalize(proposal) => {
                write!(f, "finalize {}/{} {}", proposal.epoch, proposal.view, Short(proposal.block))
            }
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consensus(message) => match &**message {
                ConsensusMessage::Proposal { proposal, block, vote } => write!(
                    f,
                    "proposal of {} for {}/{} on {}: {} height {} with {} extrinsics",
                    vote.signer,
                    proposal.epoch,
                    proposal.view,
                    proposal.parent_view,
                    Short(proposal.block),
                    block.header.number,
                    block.extrinsics.len()
                ),
                ConsensusMessage::Vote(vote) => write!(f, "vote of {}: {}", vote.signer, About(vote.subject)),
                ConsensusMessage::Certificate(certificate) => {
                    let signers = certificate.signatures().count();
                    write!(f, "certificate of {signers}: {}", About(certificate.subject))
                }
                ConsensusMessage::FetchCertificate { kind, epoch, view } => write!(f, "wants {kind:?} {epoch}/{view}"),
                ConsensusMessage::FetchBlock(hash) => write!(f, "wants block {}", Short(*hash)),
                ConsensusMessage::Block(block) => {
                    write!(f, "block {} height {}", Short(block.header.hash()), block.header.number)
                }
                ConsensusMessage::Probe { epoch } => write!(f, "asks where others stand in epoch {epoch}"),
                ConsensusMessage::Standing { epoch, view, .. } => write!(f, "stands at {epoch}/{view}"),
                ConsensusMessage::Evidence(evidence) => write!(f, "evidence against {}", evidence.offender()),
            },
            Self::Transactions { id, extrinsics } => write!(f, "gossip {id}: {} transactions", extrinsics.len()),
            Self::Block { id, block } => write!(f, "gossip {id}: finalized block {}", block.block.header.number),
            Self::SyncRequest { token, request } => write!(f, "sync question {token}: {request:?}"),
            Self::SyncResponse { token, response } => match &**response {
                SyncResponse::Status { head, .. } => write!(f, "sync answer {token}: head {head}"),
                SyncResponse::Blocks(blocks) => write!(f, "sync answer {token}: {} blocks", blocks.len()),
                SyncResponse::Archive(blocks) => write!(f, "sync answer {token}: {} archived blocks", blocks.len()),
                SyncResponse::Refused => write!(f, "sync answer {token}: refused"),
            },
            Self::StateRequest { token, request } => match request {
                StateRequest::Snapshots => write!(f, "state question {token}: which snapshots"),
                StateRequest::Manifest { id, from } => {
                    write!(f, "state question {token}: manifest {} from {from}", Short(*id))
                }
                StateRequest::Chunk { id, index } => {
                    write!(f, "state question {token}: chunk {index} of {}", Short(*id))
                }
            },
            Self::StateResponse { token, response } => match &**response {
                StateResponse::Snapshots(offers) => {
                    let heights: Vec<_> = offers.iter().map(|offer| offer.height.0).collect();
                    write!(f, "state answer {token}: snapshots of {heights:?}")
                }
                StateResponse::Manifest(bytes) => write!(f, "state answer {token}: {} bytes of manifest", bytes.len()),
                StateResponse::Chunk(bytes) => write!(f, "state answer {token}: a chunk of {} bytes", bytes.len()),
                StateResponse::Refused => write!(f, "state answer {token}: refused"),
            },
        }
    }
}
