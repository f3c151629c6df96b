//! What a block does to the state.

use parity_scale_codec::Encode;
use std::collections::BTreeMap;
use std::fmt;

/// Storage keys of one item have so many first bytes in common, the hashes of module and item.
const PREFIX_BYTES: usize = 32;

/// Room is made ahead for so many bytes of a key and its value at most.
const BYTES_USUAL_MAX: usize = 256;

/// New values by storage key, none for a deletion: in ascending order of keys, each once.
///
/// A block changes tens of thousands of keys: all keys and values lie in one piece of memory, which costs one allocation and one
/// release on whatever thread.
#[derive(Clone, Default)]
pub struct StateChanges {
    /// Keys and values, in the order they were given.
    bytes: Vec<u8>,
    /// In the order of keys.
    places: Vec<Place>,
}

/// Where a key and its value lie, one behind the other.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    key_end: usize,
    /// Where the value ends; `None` deletes.
    end: Option<usize>,
}

impl Place {
    fn key(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start..self.key_end).unwrap_or_default()
    }

    fn value(self, bytes: &[u8]) -> Option<&[u8]> {
        Some(bytes.get(self.key_end..self.end?).unwrap_or_default())
    }
}

impl StateChanges {
    /// How many keys change.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether nothing changes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Bytes of all keys and values in memory, those that later ones replaced included.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The change of a key, if there is one: a new value, or none for a deletion.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let found = self.places.binary_search_by(|place| place.key(&self.bytes).cmp(key)).ok()?;
        self.places.get(found).map(|place| place.value(&self.bytes))
    }

    /// Keys with their new values, in ascending order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], Option<&[u8]>)> + Clone {
        self.places.iter().map(|place| (place.key(&self.bytes), place.value(&self.bytes)))
    }

    /// The keys in ascending order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.iter().map(|(key, _)| key)
    }
}

impl PartialEq for StateChanges {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for StateChanges {}

impl fmt::Debug for StateChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Of equal keys the last one counts.
impl<K: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(K, Option<V>)> for StateChanges {
    fn from_iter<I: IntoIterator<Item = (K, Option<V>)>>(changes: I) -> Self {
        let mut changes = changes.into_iter().peekable();
        let (count, _) = changes.size_hint();
        let bytes_of = |(key, value): &(K, Option<V>)| {
            key.as_ref().len().saturating_add(value.as_ref().map_or(0, |value| value.as_ref().len()))
        };
        // Room as if all were like the first, which accounts are: not as if all were long.
        let bytes = changes.peek().map_or(0, bytes_of).min(BYTES_USUAL_MAX);
        let mut made = StateChangesBuilder::with_capacity(count, count.saturating_mul(bytes));
        for (key, value) in changes {
            match value {
                Some(value) => made.put(key.as_ref(), value.as_ref()),
                None => made.delete(key.as_ref()),
            }
        }
        made.finish()
    }
}

/// Takes changes in any order. Of equal keys the last one counts.
#[derive(Default)]
pub struct StateChangesBuilder {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

impl StateChangesBuilder {
    /// Makes room for so many changes with so many bytes of keys and values.
    #[must_use]
    pub fn with_capacity(changes: usize, bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), places: Vec::with_capacity(changes) }
    }

    /// Gives a key a value.
    pub fn put(&mut self, key: &[u8], value: &[u8]) {
        self.add(key, |bytes| bytes.extend_from_slice(value));
    }

    /// Gives a key an encoded value.
    pub fn put_encoded(&mut self, key: &[u8], value: &impl Encode) {
        self.add(key, |bytes| value.encode_to(bytes));
    }

    /// Deletes a key.
    pub fn delete(&mut self, key: &[u8]) {
        let place = self.place(key);
        self.places.push(place);
    }

    fn add(&mut self, key: &[u8], value: impl FnOnce(&mut Vec<u8>)) {
        let place = self.place(key);
        value(&mut self.bytes);
        self.places.push(Place { end: Some(self.bytes.len()), ..place });
    }

    /// Where a key lies from now on, without a value.
    fn place(&mut self, key: &[u8]) -> Place {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        Place { start, key_end: self.bytes.len(), end: None }
    }

    /// Puts the changes in order.
    #[must_use]
    pub fn finish(self) -> StateChanges {
        let Self { bytes, places } = self;
        // Keys by their prefix, of which there are few; below it by the first bytes that follow, of which few are equal.
        let mut groups: BTreeMap<&[u8], Vec<(u64, usize)>> = BTreeMap::new();
        for (index, place) in places.iter().enumerate() {
            let key = place.key(&bytes);
            let (prefix, rest) = key.split_at_checked(PREFIX_BYTES).unwrap_or((key, &[]));
            groups.entry(prefix).or_default().push((first_bytes(rest), index));
        }
        let key = |index: usize| (places.get(index).map(|place| place.key(&bytes)), index);
        let mut sorted: Vec<Place> = Vec::with_capacity(places.len());
        for group in groups.values_mut() {
            group.sort_unstable_by(|(a, at), (b, bt)| a.cmp(b).then_with(|| key(*at).cmp(&key(*bt))));
            for place in group.iter().filter_map(|(_, index)| places.get(*index)) {
                match sorted.last_mut() {
                    Some(last) if last.key(&bytes) == place.key(&bytes) => *last = *place,
                    _ => sorted.push(*place),
                }
            }
        }
        drop(groups);
        StateChanges { bytes, places: sorted }
    }
}

/// The first eight bytes as a number with their order, filled up with zeros: keys are sorted by it before they are compared.
#[must_use]
#[inline]
pub fn first_bytes(bytes: &[u8]) -> u64 {
    if let Some(first) = bytes.first_chunk() {
        return u64::from_be_bytes(*first);
    }
    let mut first = [0; 8];
    first.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{Strategy, any, prop_oneof, proptest};

    type Pairs = Vec<(Vec<u8>, Option<Vec<u8>>)>;

    /// Keys that often share a prefix, are equal, or begin with one another.
    fn pairs() -> impl Strategy<Value = Pairs> {
        let key = (vec(0_u8..2, 0..3), 28_usize..36, vec(0_u8..3, 0..12)).prop_map(|(start, length, end)| {
            let mut key = start;
            key.resize(length, 7);
            [key, end].concat()
        });
        let key = prop_oneof![key, vec(any::<u8>(), 0..40)];
        vec((key, proptest::option::of(vec(any::<u8>(), 0..5))), 0..60)
    }

    proptest! {
        #[test]
        fn changes_are_those_of_a_map(pairs in pairs()) {
            let changes: StateChanges = pairs.iter().cloned().collect();
            let map: BTreeMap<_, _> = pairs.into_iter().collect();
            assert!(changes.iter().eq(map.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))));
            assert_eq!(changes.len(), map.len());
            for (key, value) in &map {
                assert_eq!(changes.get(key), Some(value.as_deref()));
                let mut other = key.clone();
                other.push(9);
                assert_eq!(changes.get(&other), map.get(&other).map(Option::as_deref));
            }
        }
    }

    #[test]
    fn equal_changes_are_equal_whatever_their_order() {
        let changes = |pairs: &[(&str, Option<&str>)]| pairs.iter().copied().collect::<StateChanges>();
        let both = changes(&[("a", Some("1")), ("b", None)]);
        assert_eq!(both, changes(&[("b", None), ("a", Some("0")), ("a", Some("1"))]));
        assert_ne!(both, changes(&[("a", Some("1")), ("b", Some(""))]));
        assert_ne!(both, changes(&[("a", Some("1"))]));
    }
}
