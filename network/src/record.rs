//! Authority records: a consensus key's statement about the node that votes with it.

use cairn_primitives::crypto::verify;
use cairn_primitives::{Epoch, Hash, KeyPair, PublicKey, Signature};
use libp2p::{Multiaddr, PeerId};
use parity_scale_codec::{Decode, Encode};

/// The domain tag of authority records.
const DOMAIN: &[u8] = b"cairn/authority/1";

/// The most addresses a record may carry.
pub(crate) const ADDRESSES_MAX: usize = 8;

/// The longest binary address in a record, in bytes.
const ADDRESS_BYTES_MAX: usize = 128;

/// The largest encoded record, in bytes.
pub(crate) const RECORD_BYTES_MAX: usize = 512 + ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 2);

/// What a record says; see [`AuthorityRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Statement {
    /// The chain.
    pub(crate) genesis: Hash,
    /// The epoch in which the key is a validator's.
    pub(crate) epoch: Epoch,
    /// The consensus key.
    pub(crate) key: PublicKey,
    /// The node's peer id in its binary form.
    pub(crate) peer: Vec<u8>,
    /// Where the node listens, each in its binary form.
    pub(crate) addresses: Vec<Vec<u8>>,
    /// Higher in each newer record of the same key.
    pub(crate) sequence: u64,
}

/// A statement signed by the consensus key it names.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct AuthorityRecord {
    pub(crate) statement: Statement,
    pub(crate) signature: Signature,
}

/// Why a record is refused; travels back to its sender, so that both sides can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, thiserror::Error)]
#[allow(clippy::cast_possible_truncation, reason = "derive(Encode) writes variant indices with a cast")]
pub(crate) enum Refusal {
    #[codec(index = 0)]
    #[error("the record is of another chain")]
    Genesis,
    #[codec(index = 1)]
    #[error("the record is of another epoch")]
    Epoch,
    #[codec(index = 2)]
    #[error("the record names another peer than the one that sent it")]
    Peer,
    #[codec(index = 3)]
    #[error("the record has too many or too long addresses")]
    Addresses,
    #[codec(index = 4)]
    #[error("the key is not a validator's")]
    NotValidator,
    #[codec(index = 5)]
    #[error("the key is this node's own: two nodes run with one consensus key; stop one of them at once")]
    OwnKey,
    #[codec(index = 6)]
    #[error("the record's signature is wrong")]
    Signature,
    #[codec(index = 7)]
    #[error("a newer record of the key is known")]
    Stale,
}

impl Refusal {
    /// Whether no correct node can cause it.
    pub(crate) const fn is_offence(self) -> bool {
        matches!(self, Self::Peer | Self::Addresses | Self::Signature)
    }
}

impl Statement {
    pub(crate) fn new(
        genesis: Hash,
        epoch: Epoch,
        key: PublicKey,
        peer: PeerId,
        addresses: &[Multiaddr],
        sequence: u64,
    ) -> Self {
        let addresses = addresses
            .iter()
            .map(Multiaddr::to_vec)
            .filter(|address| address.len() <= ADDRESS_BYTES_MAX)
            .take(ADDRESSES_MAX)
            .collect();
        Self { genesis, epoch, key, peer: peer.to_bytes(), addresses, sequence }
    }

    fn payload(&self) -> Vec<u8> {
        let mut payload = DOMAIN.to_vec();
        self.encode_to(&mut payload);
        payload
    }

    pub(crate) fn sign(self, key: &KeyPair) -> AuthorityRecord {
        let signature = key.sign(&self.payload());
        AuthorityRecord { statement: self, signature }
    }
}

impl AuthorityRecord {
    /// Checks what does not depend on the validators: chain, epoch, peer, sizes and, last, the signature.
    pub(crate) fn check(&self, genesis: &Hash, epoch: Epoch, peer: &PeerId) -> Result<(), Refusal> {
        let said = &self.statement;
        if said.genesis != *genesis {
            return Err(Refusal::Genesis);
        }
        if said.peer != peer.to_bytes() {
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

    /// The addresses that can be read.
    pub(crate) fn addresses(&self) -> Vec<Multiaddr> {
        self.statement.addresses.iter().filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::codec::decode_strict;

    const GENESIS: Hash = Hash([7; 32]);

    fn key() -> KeyPair {
        KeyPair::from_seed(&[1; 32])
    }

    fn peer(seed: u8) -> PeerId {
        crate::NodeKey::from_seed([seed; 32]).peer_id()
    }

    fn statement() -> Statement {
        let address = "/ip4/10.0.0.1/tcp/30333".parse().unwrap();
        Statement::new(GENESIS, Epoch(3), key().public(), peer(1), &[address], 9)
    }

    fn check(record: &AuthorityRecord) -> Result<(), Refusal> {
        record.check(&GENESIS, Epoch(3), &peer(1))
    }

    #[test]
    fn record_signed_by_its_key_is_accepted() {
        let record = statement().sign(&key());
        assert_eq!(check(&record), Ok(()));
        let again: AuthorityRecord = decode_strict("record", &record.encode(), RECORD_BYTES_MAX).unwrap();
        assert_eq!(again.addresses(), ["/ip4/10.0.0.1/tcp/30333".parse().unwrap()]);
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
        assert_eq!(statement().sign(&key()).check(&GENESIS, Epoch(3), &peer(2)), Err(Refusal::Peer));
    }

    #[test]
    fn record_of_another_chain_or_epoch_is_refused() {
        let record = statement().sign(&key());
        assert_eq!(record.check(&Hash([8; 32]), Epoch(3), &peer(1)), Err(Refusal::Genesis));
        assert_eq!(record.check(&GENESIS, Epoch(4), &peer(1)), Err(Refusal::Epoch));
    }

    #[test]
    fn record_with_too_many_addresses_is_refused() {
        let mut statement = statement();
        statement.addresses = vec![vec![0; 4]; ADDRESSES_MAX + 1];
        assert_eq!(check(&statement.sign(&key())), Err(Refusal::Addresses));
    }
}
