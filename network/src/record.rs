//! Authority records as the network knows them: with peer ids and addresses of libp2p.

use cairn_primitives::authority::{ADDRESS_BYTES_MAX, ADDRESSES_MAX, AuthorityRecord, Statement};
use cairn_primitives::{Epoch, Hash, PublicKey};
use libp2p::{Multiaddr, PeerId};

/// What a node says about itself; addresses beyond the bounds are left out.
pub(crate) fn statement(
    genesis: Hash,
    epoch: Epoch,
    key: PublicKey,
    peer: PeerId,
    addresses: &[Multiaddr],
    sequence: u64,
) -> Statement {
    let addresses = addresses
        .iter()
        .map(Multiaddr::to_vec)
        .filter(|address| address.len() <= ADDRESS_BYTES_MAX)
        .take(ADDRESSES_MAX)
        .collect();
    Statement { genesis, epoch, key, peer: peer.to_bytes(), addresses, sequence }
}

/// The addresses of a record that can be read.
pub(crate) fn addresses(record: &AuthorityRecord) -> Vec<Multiaddr> {
    record.statement.addresses.iter().filter_map(|bytes| Multiaddr::try_from(bytes.clone()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::KeyPair;

    #[test]
    fn statement_carries_the_addresses_that_fit() {
        let key = KeyPair::from_seed(&[1; 32]);
        let peer = crate::NodeKey::from_seed([1; 32]).peer_id();
        let short: Multiaddr = "/ip4/10.0.0.1/tcp/30333".parse().unwrap();
        let long: Multiaddr = format!("/dns4/{}/tcp/1", "a".repeat(ADDRESS_BYTES_MAX)).parse().unwrap();
        let listen = [vec![long], vec![short.clone(); ADDRESSES_MAX + 1]].concat();
        let record = statement(Hash([7; 32]), Epoch(3), key.public(), peer, &listen, 9).sign(&key);
        assert_eq!(record.check(&Hash([7; 32]), Epoch(3), &peer.to_bytes()), Ok(()));
        assert_eq!(addresses(&record), vec![short; ADDRESSES_MAX]);
    }
}
