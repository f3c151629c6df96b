//! How two validators prove to each other who they are, on each stream before the first message.
//!
//! ```text
//!  opener ── Hello{lane, link, record} ──► acceptor: checks the record against the connection's peer and the set
//!  opener ◄── Accepted(record) | Refused(reason) ── acceptor
//! ```
//! The peer with the lower id opens, always; so a pair never has two links, whoever dialled. Noise and QUIC have proved
//! the peer id, the record's signature binds it to the consensus key, so a record is of no use to anyone else.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::frame;
use crate::links::Lane;
use crate::record::{AuthorityRecord, RECORD_BYTES_MAX, Refusal};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::{Epoch, Hash, PublicKey};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use parity_scale_codec::{Decode, Encode};
use std::collections::BTreeSet;
use std::io;

/// The largest message of the handshake, in bytes.
const HANDSHAKE_BYTES_MAX: usize = RECORD_BYTES_MAX + 16;

/// What this node knows when a handshake starts.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) genesis: Hash,
    pub(crate) epoch: Epoch,
    pub(crate) validators: BTreeSet<PublicKey>,
    /// This node's record.
    pub(crate) record: AuthorityRecord,
}

impl Identity {
    fn check(&self, record: &AuthorityRecord, peer: &PeerId) -> Result<(), Refusal> {
        record.check(&self.genesis, self.epoch, peer)?;
        let key = record.statement.key;
        if key == self.record.statement.key {
            return Err(Refusal::OwnKey);
        }
        if self.validators.contains(&key) { Ok(()) } else { Err(Refusal::NotValidator) }
    }
}

/// The opener's message.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Hello {
    pub(crate) lane: Lane,
    /// Chosen by the opener; the two streams of one link carry the same number.
    pub(crate) link: u64,
    pub(crate) record: AuthorityRecord,
}

/// The acceptor's message.
#[derive(Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) enum Answer {
    #[codec(index = 0)]
    Accepted(Box<AuthorityRecord>),
    #[codec(index = 1)]
    Refused(Refusal),
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the stream failed: {0}")]
    Io(#[from] io::Error),
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("refused by the peer: {0}")]
    RefusedByPeer(Refusal),
    #[error("no answer in time")]
    Timeout,
}

/// The opener's side; returns the acceptor's record.
pub(crate) async fn open<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    lane: Lane,
    link: u64,
    identity: &Identity,
    peer: &PeerId,
) -> Result<AuthorityRecord, HandshakeError> {
    frame::write(stream, &Hello { lane, link, record: identity.record.clone() }.encode()).await?;
    let bytes = frame::read(stream, HANDSHAKE_BYTES_MAX).await?;
    match decode_strict("handshake answer", &bytes, HANDSHAKE_BYTES_MAX)? {
        Answer::Refused(refusal) => Err(HandshakeError::RefusedByPeer(refusal)),
        Answer::Accepted(record) => {
            identity.check(&record, peer).map_err(HandshakeError::Refused)?;
            Ok(*record)
        }
    }
}

/// The acceptor's side; returns the opener's message.
pub(crate) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    identity: &Identity,
    peer: &PeerId,
) -> Result<Hello, HandshakeError> {
    let bytes = frame::read(stream, HANDSHAKE_BYTES_MAX).await?;
    let hello: Hello = decode_strict("handshake", &bytes, HANDSHAKE_BYTES_MAX)?;
    let answer = match identity.check(&hello.record, peer) {
        Ok(()) => Answer::Accepted(Box::new(identity.record.clone())),
        Err(refusal) => Answer::Refused(refusal),
    };
    frame::write(stream, &answer.encode()).await?;
    match answer {
        Answer::Accepted(_) => Ok(hello),
        Answer::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
    }
}
