//! Authority records as Kademlia carries them: where a validator's node can be reached, said by its consensus key.
//!
//! A record lies under a key that anyone can compute from the consensus key, at the nodes nearest to it. Whoever keeps or
//! finds one checks it by itself: who sent it does not matter, since the record names the peer and is signed. Of two
//! records of one key the one with the higher number counts, so an old one cannot be played back.

use crate::config::Validators;
use cairn_primitives::authority::{AuthorityRecord, RECORD_BYTES_MAX, Refusal};
use cairn_primitives::codec::{DecodeError, decode_strict};
use cairn_primitives::hash::sha256_concat;
use cairn_primitives::{Hash, PublicKey};
use libp2p::PeerId;
use libp2p::kad::RecordKey;
use std::collections::BTreeMap;

/// The domain tag of the places where records lie.
const DOMAIN: &[u8] = b"cairn/authority-place/1";

/// Where the record of a consensus key lies.
pub(crate) fn place(genesis: &Hash, key: &PublicKey) -> RecordKey {
    RecordKey::new(&sha256_concat(&[DOMAIN, &genesis.0, &key.0]).0)
}

/// Why a record that came over Kademlia is not kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    #[error("the record does not belong in this place")]
    Misplaced,
    #[error("the record names no peer")]
    NoPeer,
    #[error(transparent)]
    Refused(Refusal),
}

impl Rejection {
    /// Whether no correct node passes such a record on.
    pub(crate) const fn is_offence(&self) -> bool {
        match self {
            Self::Malformed(_) | Self::Misplaced | Self::NoPeer => true,
            Self::Refused(refusal) => refusal.is_offence(),
        }
    }
}

/// The newest record number of each validator, and the node that it names.
#[derive(Debug, Default)]
pub(crate) struct Authorities {
    newest: BTreeMap<PublicKey, (u64, PeerId)>,
}

impl Authorities {
    /// Forgets keys that are no validator's any more; gives the nodes they named.
    pub(crate) fn retain(&mut self, validators: &Validators) -> Vec<PeerId> {
        let gone = self.newest.iter().filter(|(key, _)| !validators.keys.contains(key));
        let peers = gone.map(|(_, (_, peer))| *peer).collect();
        self.newest.retain(|key, _| validators.keys.contains(key));
        peers
    }

    /// Whether another node showed a newer record of the key.
    pub(crate) fn is_stale(&self, key: &PublicKey, sequence: u64, peer: &PeerId) -> bool {
        self.newest.get(key).is_some_and(|(known, holder)| holder != peer && *known > sequence)
    }

    /// Notes a record that was checked; gives the node that ran with the key before, if it was another one.
    pub(crate) fn note(&mut self, key: PublicKey, sequence: u64, peer: PeerId) -> Option<PeerId> {
        let (_, before) = self.newest.insert(key, (sequence, peer))?;
        (before != peer).then_some(before)
    }

    /// Checks a record from anyone, found in a place or sent to be kept there.
    pub(crate) fn check(
        &self,
        place_found: &RecordKey,
        bytes: &[u8],
        genesis: &Hash,
        validators: &Validators,
    ) -> Result<(AuthorityRecord, PeerId), Rejection> {
        let record: AuthorityRecord = decode_strict("authority record", bytes, RECORD_BYTES_MAX)?;
        let said = &record.statement;
        if place(genesis, &said.key) != *place_found {
            return Err(Rejection::Misplaced);
        }
        let peer = PeerId::from_bytes(&said.peer).map_err(|_| Rejection::NoPeer)?;
        // What costs nothing comes before the signature: nobody is blamed for these, so they can be repeated for ever.
        if !validators.keys.contains(&said.key) {
            return Err(Rejection::Refused(Refusal::NotValidator));
        }
        if said.epoch != validators.epoch {
            return Err(Rejection::Refused(Refusal::Epoch));
        }
        if self.newest.get(&said.key).is_some_and(|(known, _)| *known > said.sequence) {
            return Err(Rejection::Refused(Refusal::Stale));
        }
        record.check(genesis, validators.epoch, &said.peer).map_err(Rejection::Refused)?;
        Ok((record, peer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::NodeKey;
    use crate::record;
    use cairn_primitives::authority::Statement;
    use cairn_primitives::{Epoch, KeyPair};
    use parity_scale_codec::Encode;

    const GENESIS: Hash = Hash([7; 32]);

    fn pair(seed: u8) -> KeyPair {
        KeyPair::from_seed(&[seed; 32])
    }

    fn peer(seed: u8) -> PeerId {
        NodeKey::from_seed([seed; 32]).peer_id()
    }

    fn validators() -> Validators {
        Validators { epoch: Epoch(3), keys: [pair(1).public(), pair(2).public()].into() }
    }

    fn statement(sequence: u64) -> Statement {
        let address = "/ip4/10.0.0.1/tcp/30333".parse().unwrap();
        record::statement(GENESIS, Epoch(3), pair(1).public(), peer(1), &[address], sequence)
    }

    fn check(known: &Authorities, record: &AuthorityRecord) -> Result<PeerId, Rejection> {
        let place = place(&GENESIS, &pair(1).public());
        known.check(&place, &record.encode(), &GENESIS, &validators()).map(|(_, peer)| peer)
    }

    #[test]
    fn record_in_its_place_is_accepted_whoever_sends_it() {
        assert_eq!(check(&Authorities::default(), &statement(5).sign(&pair(1))), Ok(peer(1)));
    }

    #[test]
    fn record_forged_or_changed_is_an_offence() {
        let known = Authorities::default();
        let forged = check(&known, &statement(5).sign(&pair(2))).unwrap_err();
        assert_eq!(forged, Rejection::Refused(Refusal::Signature));
        let mut changed = statement(5).sign(&pair(1));
        changed.statement.sequence += 1;
        assert!(check(&known, &changed).unwrap_err().is_offence());
        let mut peerless = statement(5);
        peerless.peer = vec![1, 2, 3];
        assert_eq!(check(&known, &peerless.sign(&pair(1))), Err(Rejection::NoPeer));
    }

    #[test]
    fn record_played_back_after_a_newer_one_is_stale_and_no_offence() {
        let mut known = Authorities::default();
        known.note(pair(1).public(), 6, peer(1));
        let stale = check(&known, &statement(5).sign(&pair(1))).unwrap_err();
        assert_eq!(stale, Rejection::Refused(Refusal::Stale));
        assert!(!stale.is_offence());
        assert!(check(&known, &statement(6).sign(&pair(1))).is_ok(), "the newest itself is repeated");
        assert!(check(&known, &statement(7).sign(&pair(1))).is_ok());
    }

    #[test]
    fn record_of_another_epoch_or_chain_or_of_no_validator_is_refused() {
        let known = Authorities::default();
        let mut said = statement(5);
        said.epoch = Epoch(2);
        assert_eq!(check(&known, &said.sign(&pair(1))), Err(Rejection::Refused(Refusal::Epoch)));
        let mut said = statement(5);
        said.genesis = Hash([8; 32]);
        assert_eq!(check(&known, &said.sign(&pair(1))), Err(Rejection::Refused(Refusal::Genesis)));
        let stranger = record::statement(GENESIS, Epoch(3), pair(9).public(), peer(9), &[], 1).sign(&pair(9));
        let place = place(&GENESIS, &pair(9).public());
        let refused = known.check(&place, &stranger.encode(), &GENESIS, &validators()).unwrap_err();
        assert_eq!(refused, Rejection::Refused(Refusal::NotValidator));
    }

    #[test]
    fn record_in_the_place_of_another_key_is_an_offence() {
        let record = record::statement(GENESIS, Epoch(3), pair(2).public(), peer(2), &[], 1).sign(&pair(2));
        assert_eq!(check(&Authorities::default(), &record), Err(Rejection::Misplaced));
    }

    #[test]
    fn record_with_bytes_after_it_is_malformed() {
        let bytes = [statement(5).sign(&pair(1)).encode(), vec![0]].concat();
        let place = place(&GENESIS, &pair(1).public());
        let known = Authorities::default();
        let rejection = known.check(&place, &bytes, &GENESIS, &validators()).unwrap_err();
        assert!(matches!(rejection, Rejection::Malformed(_)));
    }

    #[test]
    fn node_that_takes_a_key_over_replaces_the_one_before() {
        let mut known = Authorities::default();
        let key = pair(1).public();
        assert_eq!(known.note(key, 5, peer(1)), None);
        assert_eq!(known.note(key, 6, peer(1)), None);
        assert_eq!(known.note(key, 7, peer(2)), Some(peer(1)));
        assert!(known.is_stale(&key, 6, &peer(1)) && !known.is_stale(&key, 8, &peer(1)));
        let others = Validators { epoch: Epoch(4), keys: [pair(2).public()].into() };
        assert_eq!(known.retain(&others), [peer(2)]);
        assert!(!known.is_stale(&key, 1, &peer(1)));
    }
}
