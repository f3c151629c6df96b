//! The encoded events of a block and the root over them, the list tree of RFC 6962.
//!
//! A block of transfers has five times as many events as transactions, and hashing them one by one would be a tenth of the
//! writer's work: leaves and levels of the tree are hashed side by side.

use cairn_primitives::Hash;
use cairn_primitives::list_tree::{LEAF_TAG, NODE_TAG, root};
use cairn_runtime::EventRecord;
use cairn_storage_cpu::{digest_all, digest_pairs};
use parity_scale_codec::{Compact, Encode};

/// Room for an event, in bytes: few need more.
const EVENT_BYTES_USUAL: usize = 96;

/// The encoded list of events and the root over its items, each encoded once.
pub(crate) fn encode_events(events: &[EventRecord]) -> (Vec<u8>, Hash) {
    let room = events.len().saturating_mul(EVENT_BYTES_USUAL);
    let mut encoded = Vec::with_capacity(room);
    Compact(u32::try_from(events.len()).unwrap_or(u32::MAX)).encode_to(&mut encoded);
    let mut leaves = Vec::with_capacity(room);
    let mut ends = Vec::with_capacity(events.len());
    for event in events {
        leaves.push(LEAF_TAG);
        let start = leaves.len();
        event.encode_to(&mut leaves);
        encoded.extend_from_slice(leaves.get(start..).unwrap_or_default());
        ends.push(leaves.len());
    }
    let starts = std::iter::once(0).chain(ends.iter().copied());
    let leaves = starts.zip(&ends).map(|(start, end)| leaves.get(start..*end).unwrap_or_default());
    let mut level = Vec::with_capacity(events.len());
    digest_all(leaves, |digest| level.push(Hash(digest)));
    (encoded, root_of(level))
}

/// The root over leaves: nodes are joined in pairs, level by level, and a last one without a sibling rises as it is.
fn root_of(mut level: Vec<Hash>) -> Hash {
    while level.len() > 1 {
        let (pairs, single) = level.as_chunks::<2>();
        let mut above = Vec::with_capacity(level.len().div_ceil(2));
        digest_pairs(&[NODE_TAG], pairs.iter().map(|[left, right]| (&left.0, &right.0)), |digest| {
            above.push(Hash(digest));
        });
        above.extend_from_slice(single);
        level = above;
    }
    level.pop().unwrap_or_else(|| root([&[]; 0]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::AccountId32;
    use cairn_runtime::{Phase, RuntimeEvent};
    use parity_scale_codec::DecodeAll;

    /// The places of `Balances.Deposit` in the metadata.
    const DEPOSIT: (u8, u8) = (2, 7);

    #[test]
    fn root_and_bytes_are_those_of_the_list_for_any_number_of_events() {
        let event = |number: u32| {
            let who = AccountId32([u8::try_from(number % 251).unwrap(); 32]);
            let event = (DEPOSIT, who, u128::from(number)).encode();
            let event = RuntimeEvent::decode_all(&mut event.as_slice()).unwrap();
            EventRecord { phase: Phase::ApplyExtrinsic(number), event, topics: Vec::new() }
        };
        for count in (0..70).chain([127, 128, 129, 1_000]) {
            let events: Vec<_> = (0..count).map(event).collect();
            let (encoded, found) = encode_events(&events);
            assert_eq!(encoded, events.encode());
            assert_eq!(found, root(events.iter().map(Encode::encode)), "{count} events");
        }
    }
}
