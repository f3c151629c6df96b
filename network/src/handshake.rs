//! How two validators prove to each other who they are, on each stream before the first message.
//!
//! ```text
//!  opener ── Hello{lane, link, record} ──► acceptor: checks the record against the connection's peer and the set
//!  opener ◄── Accepted(record) | Refused(reason) ── acceptor
//!  opener ── Ok | Err(reason) ──► acceptor: both sides know that both agree
//! ```
//! The peer with the lower id opens, always; so a pair never has two links, whoever dialled. Noise and QUIC have proved
//! the peer id, the record's signature binds it to the consensus key, so a record is of no use to anyone else.

use crate::frame;
use cairn_primitives::authority::{Answer, AuthorityRecord, HANDSHAKE_BYTES_MAX, Hello, Lane, Refusal};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::{Epoch, Hash, PublicKey};
use futures::io::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use parity_scale_codec::Encode;
use std::collections::BTreeSet;
use std::io;

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
        record.check(&self.genesis, self.epoch, &peer.to_bytes())?;
        let key = record.statement.key;
        if key == self.record.statement.key {
            return Err(Refusal::OwnKey);
        }
        if self.validators.contains(&key) { Ok(()) } else { Err(Refusal::NotValidator) }
    }
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
            let agreed = identity.check(&record, peer);
            frame::write(stream, &agreed.encode()).await?;
            agreed.map(|()| *record).map_err(HandshakeError::Refused)
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
    if let Answer::Refused(refusal) = answer {
        return Err(HandshakeError::Refused(refusal));
    }
    let bytes = frame::read(stream, HANDSHAKE_BYTES_MAX).await?;
    let agreed: Result<(), Refusal> = decode_strict("handshake agreement", &bytes, HANDSHAKE_BYTES_MAX)?;
    agreed.map(|()| hello).map_err(HandshakeError::RefusedByPeer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use crate::record::statement;
    use cairn_primitives::KeyPair;
    use futures::io::Cursor;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    const GENESIS: Hash = Hash([7; 32]);

    /// A stream that plays back what the other side says and keeps what is said to it.
    struct Script {
        heard: Cursor<Vec<u8>>,
        said: Vec<u8>,
    }

    impl AsyncRead for Script {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.heard).poll_read(cx, buf)
        }
    }

    impl AsyncWrite for Script {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.said).poll_write(cx, buf)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(&[seed; 32])
    }

    fn peer(seed: u8) -> PeerId {
        NodeKey::from_seed([seed; 32]).peer_id()
    }

    fn record(seed: u8) -> AuthorityRecord {
        statement(GENESIS, Epoch(0), pair(seed).public(), peer(seed), &[], 1).sign(&pair(seed))
    }

    /// The identity of validator 1 in the set {1, 2}.
    fn identity() -> Identity {
        let validators = [pair(1).public(), pair(2).public()].into();
        Identity { genesis: GENESIS, epoch: Epoch(0), validators, record: record(1) }
    }

    async fn script(messages: &[Vec<u8>]) -> Script {
        let mut heard = Vec::new();
        for message in messages {
            frame::write(&mut heard, message).await.unwrap();
        }
        Script { heard: Cursor::new(heard), said: Vec::new() }
    }

    fn agreement(agreed: Result<(), Refusal>) -> Vec<u8> {
        agreed.encode()
    }

    async fn accept_from(seed: u8, record: AuthorityRecord) -> (Result<Hello, HandshakeError>, Answer) {
        let mut stream = script(&[Hello { lane: Lane::Small, link: 5, record }.encode(), agreement(Ok(()))]).await;
        let result = accept(&mut stream, &identity(), &peer(seed)).await;
        let answer = frame::read(&mut Cursor::new(stream.said), HANDSHAKE_BYTES_MAX).await.unwrap();
        (result, decode_strict("answer", &answer, HANDSHAKE_BYTES_MAX).unwrap())
    }

    #[tokio::test]
    async fn hello_of_a_validator_is_accepted_and_answered_with_a_record() {
        let (result, answer) = accept_from(2, record(2)).await;
        assert_eq!(result.unwrap().link, 5);
        assert_eq!(answer, Answer::Accepted(Box::new(record(1))));
    }

    #[tokio::test]
    async fn hello_of_a_stranger_is_refused_and_told_why() {
        let (result, answer) = accept_from(3, record(3)).await;
        assert!(matches!(result, Err(HandshakeError::Refused(Refusal::NotValidator))));
        assert_eq!(answer, Answer::Refused(Refusal::NotValidator));
    }

    #[tokio::test]
    async fn hello_with_a_forged_or_stolen_record_is_refused() {
        let mut forged = record(2);
        forged.statement.sequence += 1;
        assert_eq!(accept_from(2, forged).await.1, Answer::Refused(Refusal::Signature));
        assert_eq!(accept_from(3, record(2)).await.1, Answer::Refused(Refusal::Peer));
    }

    #[tokio::test]
    async fn hello_with_this_nodes_own_key_is_refused() {
        let twin = statement(GENESIS, Epoch(0), pair(1).public(), peer(9), &[], 1).sign(&pair(1));
        assert_eq!(accept_from(9, twin).await.1, Answer::Refused(Refusal::OwnKey));
    }

    #[tokio::test]
    async fn acceptor_learns_that_the_opener_does_not_agree() {
        let hello = Hello { lane: Lane::Small, link: 5, record: record(2) }.encode();
        let mut stream = script(&[hello, agreement(Err(Refusal::NotValidator))]).await;
        let result = accept(&mut stream, &identity(), &peer(2)).await;
        assert!(matches!(result, Err(HandshakeError::RefusedByPeer(Refusal::NotValidator))));
    }

    #[tokio::test]
    async fn answer_of_a_stranger_is_refused_by_the_opener() {
        let mut stream = script(&[Answer::Accepted(Box::new(record(3))).encode()]).await;
        let result = open(&mut stream, Lane::Large, 1, &identity(), &peer(3)).await;
        assert!(matches!(result, Err(HandshakeError::Refused(Refusal::NotValidator))));
        let mut stream = script(&[Answer::Accepted(Box::new(record(2))).encode()]).await;
        assert_eq!(open(&mut stream, Lane::Large, 1, &identity(), &peer(2)).await.unwrap(), record(2));
    }
}
