//! The well-known keys for development: anyone can sign with them, so a live chain refuses them.

use cairn_primitives::KeyPair;
use cairn_primitives::crypto::sr25519::Sr25519Pair;
use cairn_primitives::hash::blake2_256;
use parity_scale_codec::Encode;

/// The accounts that development chains fund, by name.
pub const NAMES: [&str; 6] = ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie"];

/// The secret that Substrate's public development phrase stands for ("bottom drive obey lake …").
const ROOT_SEED: [u8; 32] = [
    0xfa, 0xc7, 0x95, 0x9d, 0xbf, 0xe7, 0x2f, 0x05, 0x2e, 0x5a, 0x0c, 0x3c, 0x8d, 0x65, 0x30, 0xf2, 0x02, 0xb0, 0x2f,
    0xd8, 0xf9, 0xf5, 0xca, 0x35, 0x80, 0xec, 0x8d, 0xeb, 0x77, 0x97, 0x47, 0x9e,
];

/// The seed of the development account `//name`.
#[must_use]
pub fn seed(name: &str) -> [u8; 32] {
    derive_hard(&ROOT_SEED, name)
}

/// The key pair of the development account `//name`.
#[must_use]
pub fn key_pair(name: &str) -> KeyPair {
    KeyPair::from_seed(&seed(name))
}

/// The sr25519 key pair of the development account `//name`: the one that wallets have.
#[must_use]
pub fn sr25519_pair(name: &str) -> Sr25519Pair {
    Sr25519Pair::from_seed(&Sr25519Pair::derive_hard(&ROOT_SEED, chain_code(name)))
}

/// The name of the `number`-th development account, from 1: the six well-known ones, then `Validator7` and so on.
#[must_use]
pub fn name(number: u16) -> String {
    let known = usize::from(number).checked_sub(1).and_then(|position| NAMES.get(position));
    known.map_or_else(|| format!("Validator{number}"), |name| (*name).to_owned())
}

/// One step of hard derivation for ed25519: BLAKE2b-256 of the tag, the parent's seed and the chain code.
fn derive_hard(parent: &[u8; 32], junction: &str) -> [u8; 32] {
    blake2_256(&("Ed25519HDKD", parent, chain_code(junction)).encode()).0
}

/// The junction's SCALE encoding, filled up with zeros to 32 bytes, or its hash if it is longer. A junction of digits
/// alone counts as a number.
fn chain_code(junction: &str) -> [u8; 32] {
    let encoded = junction.parse::<u64>().map_or_else(|_| junction.encode(), |number| number.encode());
    let mut code = [0; 32];
    match code.get_mut(..encoded.len()) {
        Some(start) => start.copy_from_slice(&encoded),
        None => code = blake2_256(&encoded).0,
    }
    code
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::AccountId32;

    #[test]
    fn development_seeds_are_the_well_known_ones() {
        assert_eq!(hex::encode(seed("Alice")), "abf8e5bdbe30c65656c0a3cbd181ff8a56294a69dfedd27982aace4a76909115");
        assert_eq!(hex::encode(seed("Bob")), "3b7b60af2abcd57ba401ab398f84f4ca54bd6b2140d2503fbcf3286535fe3ff1");
    }

    #[test]
    fn development_account_of_alice_has_the_well_known_address() {
        let alice = AccountId32::from(key_pair("Alice").public());
        assert_eq!(alice.to_ss58(42), "5FA9nQDVg267DEd8m1ZypXLBnvN7SFxYwV7ndqSYGiN9TTpu");
    }

    #[test]
    fn development_sr25519_account_of_alice_has_the_well_known_address() {
        let alice = AccountId32(sr25519_pair("Alice").public());
        assert_eq!(alice.to_ss58(42), "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY");
    }

    #[test]
    fn development_junction_of_digits_is_a_number() {
        assert_eq!(chain_code("1").iter().map(|byte| u32::from(*byte)).sum::<u32>(), 1);
        assert_ne!(seed("1"), seed("01a"));
    }

    #[test]
    fn development_junction_longer_than_a_chain_code_is_hashed() {
        let junction = "x".repeat(40);
        assert_eq!(chain_code(&junction), blake2_256(&junction.encode()).0);
    }

    #[test]
    fn development_names_go_on_with_numbers() {
        let names: Vec<_> = (1..=8).map(name).collect();
        assert_eq!(names, ["Alice", "Bob", "Charlie", "Dave", "Eve", "Ferdie", "Validator7", "Validator8"]);
    }
}
