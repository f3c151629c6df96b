//! The bytes that attackers send: frames, gossip in protobuf, transactions and messages that do not hold.

use cairn_primitives::authority::{Hello, Lane, Statement};
use cairn_primitives::message::TransactionGossip;
use cairn_primitives::{Epoch, Hash, KeyPair, OpaqueExtrinsic};
use cairn_runtime::client::{sign, transfer_keep_alive};
use cairn_runtime::{Era, TransactionExtra};
use libp2p::PeerId;
use parity_scale_codec::Encode;

/// A frame of our streams that announces `announced` bytes, whatever follows.
pub(super) fn frame(announced: u32, bytes: &[u8]) -> Vec<u8> {
    [&announced.to_le_bytes()[..], bytes].concat()
}

/// A proper frame.
pub(super) fn proper(bytes: &[u8]) -> Vec<u8> {
    frame(u32::try_from(bytes.len()).unwrap_or(u32::MAX), bytes)
}

/// A number as protobuf and multistream write it.
pub(super) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A field of bytes in protobuf.
fn field(number: u64, bytes: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX)), bytes.to_vec()].concat()
}

/// A gossip message on a topic, with its length before it.
pub(super) fn publish(topic: &str, data: &[u8]) -> Vec<u8> {
    let message = [field(2, data), field(4, topic.as_bytes())].concat();
    let rpc = field(2, &message);
    [varint(u64::try_from(rpc.len()).unwrap_or(u64::MAX)), rpc].concat()
}

/// Control messages: so many announcements of messages that nobody has, and requests for them.
pub(super) fn control(topic: &str, seed: u64, ids: u64) -> Vec<u8> {
    let id = |number: u64| [seed.to_le_bytes(), number.to_le_bytes(), [7; 8], [9; 8]].concat();
    let named = |place: u64| -> Vec<u8> { (0..ids).flat_map(|number| field(place, &id(number))).collect() };
    let have = field(1, &[field(1, topic.as_bytes()), named(2)].concat());
    let want = field(2, &named(1));
    let graft = field(3, &field(1, topic.as_bytes()));
    let prune = field(4, &field(1, topic.as_bytes()));
    let rpc = field(3, &[have, want, graft, prune].concat());
    [varint(u64::try_from(rpc.len()).unwrap_or(u64::MAX)), rpc].concat()
}

/// A transfer of an account that has nothing, well signed; the same for equal numbers.
pub(super) fn unfunded(genesis: &Hash, number: u64) -> OpaqueExtrinsic {
    let mut seed = [0x77; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    let key = KeyPair::from_seed(&seed);
    let extra = TransactionExtra { era: Era::Immortal, nonce: 0, tip: 0 };
    sign(&key, &transfer_keep_alive(key.public().into(), 1), extra, genesis, genesis)
}

/// A transfer of an account that has funds and does nothing else; differs by its value.
fn funded(genesis: &Hash, number: u64) -> OpaqueExtrinsic {
    let key = cairn_chain_spec::development::key_pair("Dave");
    let extra = TransactionExtra { era: Era::Immortal, nonce: 0, tip: 0 };
    sign(&key, &transfer_keep_alive(key.public().into(), u128::from(number) + 1), extra, genesis, genesis)
}

/// Gossip of one transaction of which nothing is wrong but the signature.
pub(super) fn wrongly_signed(genesis: &Hash, number: u64) -> Vec<u8> {
    let mut bytes = funded(genesis, number).bytes().to_vec();
    // Version, kind of signer, signer, kind of signature: then comes the signature.
    if let Some(byte) = bytes.get_mut(40) {
        *byte ^= 1;
    }
    TransactionGossip(vec![OpaqueExtrinsic::new(bytes)]).encode()
}

/// The beginning of a handshake between validators, with a record that its key did not sign.
pub(super) fn forged_hello(genesis: Hash, peer: &PeerId, number: u64) -> Vec<u8> {
    let key = KeyPair::from_seed(&[0x55; 32]);
    let alice = cairn_chain_spec::development::key_pair("Alice").public();
    let said = Statement {
        genesis,
        epoch: Epoch(0),
        key: alice,
        peer: peer.to_bytes(),
        addresses: Vec::new(),
        sequence: number,
    };
    Hello { lane: Lane::Small, link: number, record: said.sign(&key) }.encode()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_seven_bits_a_byte() {
        assert_eq!(varint(1), [1]);
        assert_eq!(varint(300), [0xac, 0x02]);
    }

    #[test]
    fn signature_that_is_made_wrong_is_wrong_and_nothing_else_is() {
        let genesis = Hash([1; 32]);
        let good = TransactionGossip(vec![funded(&genesis, 3)]).encode();
        let bad = wrongly_signed(&genesis, 3);
        assert_eq!(good.len(), bad.len());
        assert_eq!(good.iter().zip(&bad).filter(|(good, bad)| good != bad).count(), 1);
    }
}
