//! Authority records, and the messages by which two validators show them to each other before they talk.
//!
//! A record is a consensus key's statement about the node that votes with it. Peer ids and addresses are carried in their
//! binary forms and not looked into here.
#![allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]

use crate::crypto::verify;
use crate::{Epoch, Hash, KeyPair, PublicKey, Signature};
use parity_scale_codec::{Decode, Encode};

/// The domain tag of authority records.
const DOMAIN: &[u8] = b"cairn/authority/1";

/// The most addresses a record may carry.
pub const ADDRESSES_MAX: usize = 8;

/// The longest binary address in a record, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 128;

/// The largest encoded record, in bytes.
pub const RECORD_BYTES_MAX: usize = 512 + ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 2);

/// The largest message of the handshake, in bytes.
pub const HANDSHAKE_BYTES_MAX: usize = RECORD_BYTES_MAX + 16;

/// What a record says; see [`AuthorityRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Statement {
    /// The chain.
    pub genesis: Hash,
    /// The epoch in which the key is a validator's.
    pub epoch: Epoch,
    /// The consensus key.
    pub key: PublicKey,
    /// The node's peer id in its binary form.
    pub peer: Vec<u8>,
    /// Where the node listens, each in its binary form.
    pub addresses: Vec<Vec<u8>>,
    /// Higher in each newer record of the same key.
    pub sequence: u64,
}

/// A statement signed by the consensus key it names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct AuthorityRecord {
    /// What it says.
    pub statement: Statement,
    /// The signature of `cairn/authority/1` and the encoded statement.
    pub signature: Signature,
}

/// Why a record is refused; travels back to its sender, so that both sides can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
pub enum Refusal {
    /// Wrong chain.
    #[codec(index = 0)]
    #[error("the record is of another chain")]
    Genesis,
    /// Wrong epoch; who is behind causes it without any fault.
    #[codec(index = 1)]
    #[error("the record is of another epoch")]
    Epoch,
    /// Somebody else's record.
    #[codec(index = 2)]
    #[error("the record names another peer than the one that sent it")]
    Peer,
    /// Addresses out of bounds.
    #[codec(index = 3)]
    #[error("the record has too many or too long addresses")]
    Addresses,
    /// A stranger's key.
    #[codec(index = 4)]
    #[error("the key is not a validator's")]
    NotValidator,
    /// Our own key.
    #[codec(index = 5)]
    #[error("the key is this node's own: two nodes run with one consensus key; stop one of them at once")]
    OwnKey,
    /// A forgery.
    #[codec(index = 6)]
    #[error("the record's signature is wrong")]
    Signature,
    /// An old record.
    #[codec(index = 7)]
    #[error("a newer record of the key is known")]
    Stale,
}

impl Refusal {
    /// Whether no correct node can cause it.
    #[must_use]
    pub const fn is_offence(self) -> bool {
        matches!(self, Self::Peer | Self::Addresses | Self::Signature)
    }
}

impl Statement {
    /// The statement with its signature; `key` is the key it names.
    #[must_use]
    pub fn sign(self, key: &KeyPair) -> AuthorityRecord {
        let signature = key.sign(&self.payload());
        AuthorityRecord { statement: self, signature }
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = DOMAIN.to_vec();
        self.encode_to(&mut payload);
        payload
    }
}

impl AuthorityRecord {
    /// Checks what does not depend on the validators: chain, the peer (binary) that sent it, sizes, the signature and,
    /// last, the epoch.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(&self, genesis: &Hash, epoch: Epoch, peer: &[u8]) -> Result<(), Refusal> {
        let said = &self.statement;
        if said.genesis != *genesis {
            return Err(Refusal::Genesis);
        }
        if said.peer != peer {
            return Err(Refusal::Peer);
        }
        if said.addresses.len() > ADDRESSES_MAX || said.addresses.iter().any(|one| one.len() > ADDRESS_BYTES_MAX) {
            return Err(Refusal::Addresses);
        }
        if !verify(&said.key, &said.payload(), &self.signature) {
            return Err(Refusal::Signature);
        }
        if said.epoch == epoch { Ok(()) } else { Err(Refusal::Epoch) }
    }
}

/// One of the two streams of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
pub enum Lane {
    /// Votes, certificates, fetches.
    #[codec(index = 0)]
    Small,
    /// Proposals and blocks.
    #[codec(index = 1)]
    Large,
}

impl Lane {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Small, Self::Large];
}

/// The opener's message.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct Hello {
    /// Which stream of the link this is.
    pub lane: Lane,
    /// Chosen by the opener; the two streams of one link carry the same number.
    pub link: u64,
    /// The opener's record.
    pub record: AuthorityRecord,
}

/// The acceptor's message; the opener ends the handshake with its own verdict, a `Result<(), Refusal>`.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub enum Answer {
    /// The acceptor's record.
    #[codec(index = 0)]
    Accepted(Box<AuthorityRecord>),
    /// Why not.
    #[codec(index = 1)]
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::decode_strict;

    const GENESIS: Hash = Hash([7; 32]);

    fn key() -> KeyPair {
        KeyPair::from_seed(&[1; 32])
    }

    fn statement() -> Statement {
        let addresses = vec![vec![4, 10, 0, 0, 1, 6, 0x76, 0x7d]];
        Statement { genesis: GENESIS, epoch: Epoch(3), key: key().public(), peer: vec![1], addresses, sequence: 9 }
    }

    fn check(record: &AuthorityRecord) -> Result<(), Refusal> {
        record.check(&GENESIS, Epoch(3), &[1])
    }

    #[test]
    fn record_signed_by_its_key_is_accepted() {
        let record = statement().sign(&key());
        assert_eq!(check(&record), Ok(()));
        let again: AuthorityRecord = decode_strict("record", &record.encode(), RECORD_BYTES_MAX).unwrap();
        assert_eq!(again, record);
    }

    #[test]
    fn record_signed_by_another_key_is_refused() {
        assert_eq!(check(&statement().sign(&KeyPair::from_seed(&[2; 32]))), Err(Refusal::Signature));
    }

    #[test]
    fn record_changed_after_signing_is_refused() {
        let good = statement().sign(&key());
        let mut sequence = good.clone();
        sequence.statement.sequence += 1;
        let mut addresses = good.clone();
        addresses.statement.addresses.clear();
        let mut epoch = good.clone();
        epoch.statement.epoch = Epoch(4);
        let mut signature = good;
        signature.signature.0[0] ^= 1;
        for forged in [sequence, addresses, epoch, signature] {
            assert_eq!(check(&forged), Err(Refusal::Signature));
        }
    }

    #[test]
    fn record_replayed_by_another_peer_is_refused() {
        assert_eq!(statement().sign(&key()).check(&GENESIS, Epoch(3), &[2]), Err(Refusal::Peer));
    }

    #[test]
    fn record_of_another_chain_or_epoch_is_refused() {
        let record = statement().sign(&key());
        assert_eq!(record.check(&Hash([8; 32]), Epoch(3), &[1]), Err(Refusal::Genesis));
        assert_eq!(record.check(&GENESIS, Epoch(4), &[1]), Err(Refusal::Epoch));
    }

    #[test]
    fn record_with_too_many_addresses_is_refused() {
        let mut statement = statement();
        statement.addresses = vec![vec![0; 4]; ADDRESSES_MAX + 1];
        assert_eq!(check(&statement.sign(&key())), Err(Refusal::Addresses));
    }
}
