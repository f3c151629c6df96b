//! The points of the keys that signed lately: finding a point costs a third of a signature's check.

use cairn_primitives::PublicKey;
use cairn_primitives::crypto::KeyPoint;
use cairn_storage_cpu::fetch_ahead;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Parts with a lock of their own, so that threads which verify together do not wait for each other.
const SHARDS: usize = 64;

/// Keys that share a place: few enough to look at all of them, enough that few keys in use are pushed out by others.
const WAYS: usize = 4;

/// Keys of which everything that is remembered is fetched together.
pub(crate) const FETCHED_AT_ONCE: usize = 16;

/// A key and its point.
type Entry = (PublicKey, KeyPoint);

/// Keys that signed lately, with their points, in a bounded amount of memory; clones share it.
///
/// Each key has a place by its bytes, which it shares with a few others; there the last ones to come stay. A twenty-fifth of the
/// memory is taken at once, the rest as keys come.
#[derive(Clone)]
pub struct Signers(Arc<[Mutex<Shard>]>);

struct Shard {
    places: Box<[Place]>,
}

#[derive(Clone, Default)]
struct Place {
    entries: Vec<Entry>,
    /// The entry that goes next.
    oldest: usize,
}

impl std::fmt::Debug for Signers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signers").finish_non_exhaustive()
    }
}

impl Default for Signers {
    /// Memory for some 80,000 keys.
    fn default() -> Self {
        Self::with_memory(16 << 20)
    }
}

impl Signers {
    /// What a key takes, in bytes.
    const KEY_BYTES: usize = size_of::<Entry>();

    /// So much memory, in bytes; room for a few hundred keys at least.
    #[must_use]
    pub fn with_memory(bytes: usize) -> Self {
        let place_bytes = Self::KEY_BYTES.saturating_mul(WAYS).saturating_add(size_of::<Place>());
        let places = bytes.checked_div(place_bytes.saturating_mul(SHARDS)).unwrap_or(0).max(1);
        let shard = |_| Mutex::new(Shard { places: vec![Place::default(); places].into() });
        Self((0..SHARDS).map(shard).collect())
    }

    /// The point of a key, remembered or found; `None` if the key is no point.
    #[must_use]
    pub fn point(&self, key: &PublicKey) -> Option<KeyPoint> {
        let (mut shard, place) = self.shard(key)?;
        if let Some(point) = shard.place(place)?.find(key) {
            return Some(point);
        }
        drop(shard);
        let point = KeyPoint::new(key)?;
        let (mut shard, place) = self.shard(key)?;
        shard.place(place)?.insert(*key, point);
        Some(point)
    }

    /// Has the processor fetch what is remembered of some keys; as many as its nearest cache holds, [`FETCHED_AT_ONCE`].
    pub(crate) fn fetch_ahead<'a>(&self, keys: impl Iterator<Item = &'a PublicKey> + Clone) {
        let places = |fetch: fn(&Place)| {
            for key in keys.clone() {
                let Some((mut shard, place)) = self.shard(key) else { continue };
                if let Some(place) = shard.place(place) {
                    fetch(place);
                }
            }
        };
        places(fetch_ahead);
        places(|place| fetch_ahead(&*place.entries));
    }

    /// The part where a key has its place, and the number of that.
    fn shard(&self, key: &PublicKey) -> Option<(MutexGuard<'_, Shard>, usize)> {
        let word = key.0.first_chunk().map_or(0, |word| usize::try_from(u32::from_le_bytes(*word)).unwrap_or(0));
        Some((lock(self.0.get(word % SHARDS)?), word / SHARDS))
    }
}

impl Shard {
    fn place(&mut self, number: usize) -> Option<&mut Place> {
        let number = number.checked_rem(self.places.len())?;
        self.places.get_mut(number)
    }
}

impl Place {
    fn find(&self, key: &PublicKey) -> Option<KeyPoint> {
        self.entries.iter().find(|(known, _)| known == key).map(|(_, point)| *point)
    }

    fn insert(&mut self, key: PublicKey, point: KeyPoint) {
        // Another thread may have found it meanwhile.
        if self.find(&key).is_some() {
            return;
        }
        if self.entries.len() < WAYS {
            self.entries.push((key, point));
        } else if let Some(entry) = self.entries.get_mut(self.oldest) {
            *entry = (key, point);
            self.oldest = self.oldest.saturating_add(1) % WAYS;
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    // A panic elsewhere leaves each entry whole.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use cairn_primitives::KeyPair;

    fn keys(count: u32) -> Vec<PublicKey> {
        let key = |number: u32| {
            let mut seed = [0; 32];
            seed[..4].copy_from_slice(&number.to_le_bytes());
            KeyPair::from_seed(&seed).public()
        };
        (0..count).map(key).collect()
    }

    fn kept(signers: &Signers) -> Vec<PublicKey> {
        let of = |shard: &Mutex<Shard>| {
            lock(shard).places.iter().flat_map(|place| place.entries.iter().map(|(key, _)| *key)).collect::<Vec<_>>()
        };
        signers.0.iter().flat_map(of).collect()
    }

    #[test]
    fn keys_in_use_are_kept_and_their_number_is_bounded() {
        let keys = keys(2_000);
        let roomy = Signers::with_memory(2_000 * 2 * Signers::KEY_BYTES);
        keys.iter().for_each(|key| assert!(roomy.point(key).is_some()));
        assert!(kept(&roomy).len() > 1_800, "{} keys", kept(&roomy).len());
        let tight = Signers::with_memory(500 * Signers::KEY_BYTES);
        for key in &keys {
            assert!(tight.point(key).is_some());
            assert!(kept(&tight).contains(key), "the last one to come stays");
        }
        assert!((200..=500).contains(&kept(&tight).len()), "{} keys", kept(&tight).len());
    }

    #[test]
    fn key_is_kept_once() {
        let (signers, key) = (Signers::default(), keys(1)[0]);
        assert!(signers.point(&key).is_some() && signers.clone().point(&key).is_some());
        assert_eq!(kept(&signers), [key]);
    }

    #[test]
    fn key_that_is_no_point_is_not_remembered() {
        let signers = Signers::default();
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert!(signers.point(&PublicKey(bytes)).is_none());
        assert!(kept(&signers).is_empty());
    }
}
