use super::*;
use proptest::prelude::*;

/// The widely published account of the sr25519 development key "Alice".
const ALICE: [u8; 32] = [
    0xd4, 0x35, 0x93, 0xc7, 0x15, 0xfd, 0xd3, 0x1c, 0x61, 0x14, 0x1a, 0xbd, 0x04, 0xa9, 0x9f, 0xd6, 0x82, 0x2c, 0x85,
    0x58, 0x85, 0x4c, 0xcd, 0xe3, 0x9a, 0x56, 0x84, 0xe7, 0xa5, 0x6d, 0xa2, 0x7d,
];

/// Prefix and address of that account; the first three are published, the others follow the registry's rule.
const ADDRESSES: [(u16, &str); 8] = [
    (42, "5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY"),
    (0, "15oF4uVJwmo4TdGW7VfQxNLavjCXviqxT9S1MgbjMNHr6Sp5"),
    (2, "HNZata7iMYWmk5RvZRTiAsSDhV8366zq2YGb3tLH5Upf74F"),
    (63, "7NPoMQbiA6trJKkjB35uk96MeJD4PGWkLQLH7k7hXEkZpiba"),
    (64, "cEaNSpz4PxFcZ7nT1VEKrKewH67rfx6MfcM6yKojyyPz7qaqp"),
    (255, "yGHXkYLYqxijLKKfd9Q2CB9shRVu8rPNBS53wvwGTutYg4zTg"),
    (1328, "aUuBHS3LZKnPuxyDJYhteYPwGWg932LjHPtbBQKQBA55F4B1T"),
    (SS58_PREFIX_MAX, "yNa8JpqfFB3q8A29rCwSgxvdU94ufJw2yKKxDgznS5m1PoFvn"),
];

#[test]
fn ss58_of_a_known_account_is_the_published_address() {
    for (prefix, address) in ADDRESSES {
        assert_eq!(AccountId32(ALICE).to_ss58(prefix), address);
        assert_eq!(AccountId32::from_ss58(address, prefix), Ok(AccountId32(ALICE)));
    }
}

#[test]
fn ss58_of_another_chain_is_refused_with_both_prefixes() {
    let refused = AccountId32::from_ss58(ADDRESSES[1].1, 42);
    assert_eq!(refused, Err(Ss58Error::Prefix { actual: 0, expected: 42 }));
}

#[test]
fn ss58_with_a_typing_error_is_refused() {
    let mistyped = ADDRESSES[0].1.replacen("GrwvaEF", "GrwvaEG", 1);
    assert_eq!(AccountId32::from_ss58(&mistyped, 42), Err(Ss58Error::Checksum));
}

#[test]
fn ss58_that_is_no_base_58_or_of_another_length_is_refused() {
    for text in ["0OIl", "5Grwva EF", "ä"] {
        assert_eq!(AccountId32::from_ss58(text, 42), Err(Ss58Error::NotBase58), "{text}");
    }
    for length in [0, 1, 2, 3, 34, 37, 40] {
        let text = bs58::encode(vec![42; length]).into_string();
        assert_eq!(AccountId32::from_ss58(&text, 42), Err(Ss58Error::Length), "{length}");
    }
    assert_eq!(AccountId32::from_ss58(&"1".repeat(1_000_000), 42), Err(Ss58Error::Length));
}

#[test]
fn ss58_with_a_short_prefix_in_the_long_form_is_refused() {
    // 42 as two bytes: the first holds bits 2 to 7 of the low byte, the second its lowest two.
    let mut bytes = vec![0b0100_0000 | (42 >> 2), (42 & 3) << 6];
    bytes.extend_from_slice(&ALICE);
    bytes.extend_from_slice(&ss58_checksum(&bytes));
    assert!(AccountId32::from_ss58(&bs58::encode(bytes).into_string(), 42).is_err());
}

#[test]
fn multi_address_kinds_have_the_indices_that_clients_know() {
    assert_eq!(MultiAddress::Id(AccountId32(ALICE)).encode()[0], 0);
    assert_eq!(MultiAddress::Index(1).encode(), [1, 4]);
    assert_eq!(MultiAddress::Raw(vec![9]).encode(), [2, 4, 9]);
    assert_eq!(MultiAddress::Address32([0; 32]).encode()[0], 3);
    assert_eq!(MultiAddress::Address20([0; 20]).encode()[0], 4);
}

proptest! {
    #[test]
    fn ss58_of_any_account_and_prefix_reads_back(account: [u8; 32], prefix in 0..=SS58_PREFIX_MAX) {
        let text = AccountId32(account).to_ss58(prefix);
        prop_assert_eq!(AccountId32::from_ss58(&text, prefix), Ok(AccountId32(account)));
    }

    #[test]
    fn ss58_of_any_text_does_not_panic(text: String, prefix: u16) {
        prop_assert!(AccountId32::from_ss58(&text, prefix).is_err());
    }
}
