//! Both ways give the digests of `sha2`.

use super::{LANES, TAG_BYTES_MAX, WIDE_BYTES_MAX, digest_all, digest_pairs};
use proptest::collection::vec;
use proptest::prelude::{any, proptest};
use sha2::{Digest, Sha256};

fn expected(messages: &[Vec<u8>]) -> Vec<[u8; 32]> {
    messages.iter().map(|message| Sha256::digest(message).into()).collect()
}

fn digests(messages: &[Vec<u8>]) -> Vec<[u8; 32]> {
    let mut digests = Vec::new();
    digest_all(messages.iter().map(Vec::as_slice), |digest| digests.push(digest));
    digests
}

#[test]
fn digest_all_every_length_matches_sha2() {
    for length in 0..=WIDE_BYTES_MAX + 2 {
        let messages: Vec<_> = (0..16_u8).map(|byte| vec![byte ^ 0x5a; length]).collect();
        assert_eq!(digests(&messages), expected(&messages), "length {length}");
    }
}

#[test]
fn digest_all_every_count_matches_sha2() {
    for count in 0..3 * LANES {
        let messages: Vec<_> = (0..count).map(|number| vec![7; number * 11 % 140]).collect();
        assert_eq!(digests(&messages), expected(&messages), "{count} messages");
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn digest_group_on_this_processor_runs_if_and_only_if_it_can() {
    let group: [&[u8]; 1] = [b"abc"];
    let wide = super::wide::digest_group(&group);
    assert_eq!(wide.is_some(), is_x86_feature_detected!("avx512f"));
    if let Some(digests) = wide {
        assert_eq!(digests[0][..4], [0xba, 0x78, 0x16, 0xbf], "FIPS 180-4, the example of one block");
    }
}

proptest! {
    #[test]
    fn digest_all_mixed_lengths_matches_sha2(messages in vec(vec(any::<u8>(), 0..700), 0..50)) {
        assert_eq!(digests(&messages), expected(&messages));
    }

    #[test]
    fn digest_pairs_any_tag_matches_sha2(
        tag in vec(any::<u8>(), 0..=TAG_BYTES_MAX),
        pairs in vec((any::<[u8; 32]>(), any::<[u8; 32]>()), 0..50),
    ) {
        let messages: Vec<_> =
            pairs.iter().map(|(left, right)| [tag.as_slice(), left.as_slice(), right.as_slice()].concat()).collect();
        let mut digests = Vec::new();
        digest_pairs(&tag, pairs.iter().map(|(left, right)| (left, right)), |digest| digests.push(digest));
        assert_eq!(digests, expected(&messages));
    }
}
