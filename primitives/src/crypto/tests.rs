use super::*;
use crate::hash::sha256;
use proptest::prelude::*;
use serde_json::Value;

const WYCHEPROOF: &str = include_str!("../../../tests/vectors/wycheproof_ed25519.json");
const SPECCHECK: &str = include_str!("../../../tests/vectors/speccheck_ed25519.json");

/// A claim that owns its message.
#[derive(Clone, Debug)]
struct Claim {
    key: PublicKey,
    message: Vec<u8>,
    signature: Signature,
}

impl Claim {
    fn item(&self) -> SignedMessage<'_> {
        SignedMessage { key: self.key, message: &self.message, signature: self.signature }
    }

    /// An ordinary signature, a different one for each number.
    fn ordinary(number: u64) -> Self {
        let seed = sha256(&(number % 7).to_le_bytes()).0;
        let pair = KeyPair::from_seed(&seed);
        let message = format!("message {number}").into_bytes();
        Self { key: pair.public(), signature: pair.sign(&message), message }
    }
}

fn bytes<const N: usize>(text: &str) -> [u8; N] {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap()
}

/// The verdict of a ZIP-215 library that is not ours.
fn library_says(item: &SignedMessage<'_>) -> bool {
    let signature = ed25519_zebra::Signature::from(item.signature.0);
    ed25519_zebra::VerificationKey::try_from(item.key.0).and_then(|key| key.verify(&signature, item.message)).is_ok()
}

/// Asserts the verdict for a claim alone, in batches of itself, and among ordinary signatures.
fn assert_verdict(claim: &Claim, expected: bool, name: &str) {
    assert_eq!(claim.item().is_valid(), expected, "{name}, single");
    assert_eq!(library_says(&claim.item()), expected, "{name}, by the library");
    for count in [1, 2, BATCH_MIN, GROUP_MAX + 1] {
        let items = vec![claim.item(); count];
        assert_eq!(verify_batch(&items), vec![expected; count], "{name}, {count} times");
    }
    let ordinary: Vec<_> = (0..GROUP_MAX as u64 + 4).map(Claim::ordinary).collect();
    for place in [0, 9, ordinary.len()] {
        let mut items: Vec<_> = ordinary.iter().map(Claim::item).collect();
        items.insert(place, claim.item());
        let mut verdicts = vec![true; items.len()];
        verdicts[place] = expected;
        assert_eq!(verify_batch(&items), verdicts, "{name}, at {place} of a mixed batch");
    }
}

/// Cases that Wycheproof calls invalid and ZIP-215 accepts, with the reason.
const WYCHEPROOF_ACCEPTED: [(u64, &str); 1] = [(
    151,
    "R is the identity with a sign bit on x = 0. RFC 8032 forbids that encoding, ZIP-215 allows it, and the equation holds \
     for the decoded point: the case's own note says that s was computed for it by the holder of the key.",
)];

#[test]
fn verification_of_wycheproof_cases_gives_the_published_verdicts() {
    let file: Value = serde_json::from_str(WYCHEPROOF).unwrap();
    let (mut cases, mut malformed, mut accepted) = (0, 0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let key = PublicKey(bytes(text(&group["publicKey"], "pk")));
        for case in group["tests"].as_array().unwrap() {
            cases += 1;
            let id = case["tcId"].as_u64().unwrap();
            let valid = text(case, "result") == "valid";
            let message = hex::decode(text(case, "msg")).unwrap();
            // A signature of another length has no type here: it cannot be decoded at all.
            let Ok(signature) = <[u8; 64]>::try_from(hex::decode(text(case, "sig")).unwrap()) else {
                malformed += 1;
                assert!(!valid, "case {id}");
                continue;
            };
            let claim = Claim { key, message, signature: Signature(signature) };
            let verdict = claim.item().is_valid();
            if verdict && !valid {
                accepted.push(id);
            }
            let listed = WYCHEPROOF_ACCEPTED.iter().any(|(listed, _)| *listed == id);
            assert_verdict(&claim, valid || listed, &format!("case {id}: {}", text(case, "comment")));
        }
    }
    assert_eq!(accepted, WYCHEPROOF_ACCEPTED.map(|(id, _)| id));
    assert_eq!((cases, malformed), (151, 12));
}

#[test]
fn verification_of_speccheck_cases_gives_the_verdicts_of_zip_215() {
    let expected = [true, true, true, true, true, true, false, false, false, true, true, true];
    let cases: Vec<Value> = serde_json::from_str(SPECCHECK).unwrap();
    assert_eq!(cases.len(), expected.len());
    for (number, (case, expected)) in cases.iter().zip(expected).enumerate() {
        let claim = Claim {
            key: PublicKey(bytes(text(case, "pub_key"))),
            message: hex::decode(text(case, "message")).unwrap(),
            signature: Signature(bytes(text(case, "signature"))),
        };
        assert_verdict(&claim, expected, &format!("case {number}"));
    }
}

/// All encodings that decompress to one of the eight points of small order: the eight canonical ones, then those with a
/// sign bit on x = 0 and those with y not reduced.
const SMALL_ORDER: [&str; 14] = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "0100000000000000000000000000000000000000000000000000000000000080",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
];

#[test]
fn verification_of_all_zip_215_pairs_accepts_single_and_in_batch() {
    let mut claims = Vec::new();
    for key in SMALL_ORDER {
        for point in SMALL_ORDER {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&bytes::<32>(point));
            let claim =
                Claim { key: PublicKey(bytes(key)), message: b"Zcash".to_vec(), signature: Signature(signature) };
            assert_verdict(&claim, true, &format!("A {key}, R {point}"));
            claims.push(claim);
        }
    }
    assert_eq!(claims.len(), 196);
    let items: Vec<_> = claims.iter().map(Claim::item).collect();
    assert!(verify_batch(&items).into_iter().all(|valid| valid), "all pairs in one equation");
}

#[test]
fn small_order_keys_are_weak_and_ordinary_ones_are_not() {
    for key in SMALL_ORDER {
        assert!(PublicKey(bytes(key)).is_weak(), "{key}");
    }
    // y = 2 is not on the curve.
    let mut off_curve = [0; 32];
    off_curve[0] = 2;
    assert!(PublicKey(off_curve).is_weak());
    assert!(!Claim::ordinary(1).key.is_weak());
}

/// RFC 8032, section 7.1: seed, public key, message, signature.
const RFC_8032: [[&str; 4]; 4] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
    [
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ],
];

#[test]
fn signing_of_rfc_8032_examples_gives_the_published_signatures() {
    for [seed, key, message, signature] in RFC_8032 {
        let pair = KeyPair::from_seed(&bytes(seed));
        let message = hex::decode(message).unwrap();
        assert_eq!(pair.public(), PublicKey(bytes(key)));
        assert_eq!(pair.sign(&message), Signature(bytes(signature)));
        assert_eq!(*pair.to_seed(), bytes::<32>(seed));
        assert_verdict(&Claim { key: pair.public(), signature: pair.sign(&message), message }, true, key);
    }
}

#[test]
fn signature_with_unreduced_s_is_refused() {
    let mut claim = Claim::ordinary(1);
    // s + L, with L the order of the base point: the same scalar in a second form.
    let order = bytes::<32>("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0u16;
    for (byte, add) in claim.signature.0[32..].iter_mut().zip(order) {
        carry += u16::from(*byte) + u16::from(add);
        *byte = carry.to_le_bytes()[0];
        carry >>= 8;
    }
    assert_verdict(&claim, false, "s + L");
}

#[test]
fn batch_of_nothing_is_empty() {
    assert!(verify_batch(&[]).is_empty());
}

#[test]
fn batch_whose_errors_cancel_without_coefficients_is_refused() {
    // Two signatures with s exchanged for s + 1 and s - 1: their plain sum still holds.
    let shift = |claim: &Claim, up: bool| {
        let mut changed = claim.clone();
        let low = &mut changed.signature.0[32];
        *low = if up { low.wrapping_add(1) } else { low.wrapping_sub(1) };
        changed
    };
    let claims = [
        shift(&Claim::ordinary(1), true),
        shift(&Claim::ordinary(1), false),
        Claim::ordinary(3),
        Claim::ordinary(4),
        Claim::ordinary(5),
    ];
    let items: Vec<_> = claims.iter().map(Claim::item).collect();
    assert_eq!(verify_batch(&items), [false, false, true, true, true]);
}

#[test]
fn key_pair_printed_shows_the_public_key_alone() {
    let pair = KeyPair::from_seed(&[7; 32]);
    let printed = format!("{pair:?}");
    assert_eq!(printed, format!("KeyPair({})", pair.public()));
    assert!(!printed.contains(&hex::encode([7; 32])));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batch_with_corrupted_signatures_agrees_with_single_verification(
        count in 0usize..600,
        corrupted in prop::collection::vec((any::<usize>(), 0usize..96, 0u8..8), 0..40),
    ) {
        let mut claims: Vec<_> = (0..count as u64).map(Claim::ordinary).collect();
        for (place, byte, bit) in corrupted {
            if claims.is_empty() {
                break;
            }
            let claim = &mut claims[place % count];
            match byte {
                0..64 => claim.signature.0[byte] ^= 1 << bit,
                _ => claim.key.0[byte - 64] ^= 1 << bit,
            }
        }
        let items: Vec<_> = claims.iter().map(Claim::item).collect();
        let single: Vec<_> = items.iter().map(SignedMessage::is_valid).collect();
        prop_assert_eq!(verify_batch(&items), single.clone());
        prop_assert_eq!(items.iter().map(library_says).collect::<Vec<_>>(), single);
    }
}

#[test]
fn batch_full_of_offenders_names_every_one() {
    let mut claims: Vec<_> = (0..BATCH_MAX as u64 + 40).map(Claim::ordinary).collect();
    for claim in &mut claims {
        claim.message.push(0);
    }
    let items: Vec<_> = claims.iter().map(Claim::item).collect();
    assert!(verify_batch(&items).into_iter().all(|valid| !valid));
}

#[test]
fn batches_are_of_one_size_and_as_many_for_each_thread() {
    for (count, threads, size) in
        [(0, 2, 1), (1, 2, 1), (600, 2, 300), (2_049, 2, 513), (10_000, 2, 1_000), (10_000, 8, 625)]
    {
        assert_eq!(batch_size(count, threads), size, "{count} signatures on {threads} threads");
    }
    assert_eq!(batch_size(BATCH_MAX * 3, 3), BATCH_MAX);
}
