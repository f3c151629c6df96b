use super::*;

#[test]
fn hash_functions_of_known_inputs_give_the_published_values() {
    assert_eq!(blake2_256(b"abc").to_string(), "0xbddd813c634239723171ef3fee98579b94964e3bb1cb3e427262c8c068d52319");
    assert_eq!(hex::encode(blake2_128(b"abc")), "cf4ab791c62b8d2b2109c90275287816");
    assert_eq!(sha256(b"abc").to_string(), "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(sha256_concat(&[b"a", b"", b"bc"]), sha256(b"abc"));
}

#[test]
fn hashes_of_many_messages_are_those_of_each() {
    for count in (0..70).chain([255, 256, 257]) {
        let messages: Vec<Vec<u8>> = (0..count).map(|number: usize| vec![7; number * 3]).collect();
        let mut hashes = Vec::new();
        blake2_128_of_each(&messages, |message, hash| hashes.push((message.clone(), hash)));
        let expected: Vec<_> = messages.iter().map(|message| (message.clone(), blake2_128(message))).collect();
        assert_eq!(hashes, expected, "{count} messages");
    }
}

#[test]
fn twox_128_of_module_names_gives_the_prefixes_that_clients_compute() {
    assert_eq!(hex::encode(twox_128(b"System")), "26aa394eea5630e07c48ae0c9558cef7");
    assert_eq!(hex::encode(twox_128(b"Account")), "b99d880ec681799c0cf30e8886371da9");
    assert_eq!(hex::encode(twox_128(b"Balances")), "c2261276cc9d1f8598ea4b6a74b15c2f");
}

#[test]
fn hash_text_reads_back_with_and_without_prefix() {
    let hash = sha256(b"x");
    assert_eq!(hash.to_string().parse::<Hash>().unwrap(), hash);
    assert_eq!(hash.to_string()[2..].parse::<Hash>().unwrap(), hash);
    for text in ["", "0x", "0x00", &"g".repeat(64), &"0".repeat(63), &"0".repeat(66), &"é".repeat(1000)] {
        let error = text.parse::<Hash>().unwrap_err().to_string();
        assert!(error.chars().count() < 200, "{error}");
    }
}

#[test]
fn order_of_hashes_is_that_of_their_bytes() {
    let mut hashes = Vec::new();
    for place in [0, 7, 8, 31] {
        for byte in [0, 1, 127, 128, 255] {
            let mut bytes = [5; 32];
            bytes[place] = byte;
            hashes.push(Hash(bytes));
        }
    }
    for one in &hashes {
        for other in &hashes {
            assert_eq!(one.cmp(other), one.0.cmp(&other.0), "{one} and {other}");
        }
    }
}
