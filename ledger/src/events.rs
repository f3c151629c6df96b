//! The encoded events of a block and the root over them, the list tree of RFC 6962.

use cairn_primitives::Hash;
use cairn_primitives::list_tree::ListHasher;
use cairn_runtime::EventRecord;
use parity_scale_codec::{Compact, Encode};

/// Room for an event, in bytes: few need more.
const EVENT_BYTES_USUAL: usize = 96;

/// The encoded list of events and the root over its items, each encoded once.
pub(crate) fn encode_events(events: &[EventRecord]) -> (Vec<u8>, Hash) {
    let mut encoded = Vec::with_capacity(events.len().saturating_mul(EVENT_BYTES_USUAL));
    Compact(u32::try_from(events.len()).unwrap_or(u32::MAX)).encode_to(&mut encoded);
    let mut list = ListHasher::with_capacity(events.len());
    for event in events {
        encoded.extend_from_slice(list.push(|bytes| event.encode_to(bytes)));
    }
    (encoded, list.root())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::AccountId32;
    use cairn_primitives::list_tree::ListAccumulator;
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
            let mut one_by_one = ListAccumulator::default();
            events.iter().for_each(|event| one_by_one.push(&event.encode()));
            assert_eq!(found, one_by_one.root(), "{count} events");
        }
    }
}
