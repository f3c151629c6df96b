//! The points of the keys that signed lately: finding a point costs a third of a signature's check.

use cairn_primitives::PublicKey;
use cairn_primitives::crypto::KeyPoint;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many keys are remembered, at some 200 bytes each.
const KEYS_MAX: usize = SHARDS * SHARD_KEYS_MAX;

/// Parts with a lock of their own, so that threads which verify together do not wait for each other.
const SHARDS: usize = 64;

/// The keys of one part.
const SHARD_KEYS_MAX: usize = 1024;

/// Keys with their points, each in the one place that its bytes name; the last one to come has it.
pub(crate) struct KeyPoints(Vec<Shard>);

type Shard = Mutex<Vec<Option<(PublicKey, KeyPoint)>>>;

impl Default for KeyPoints {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl KeyPoints {
    /// The point of a key, remembered or found; `None` if the key is no point.
    pub(crate) fn point(&self, key: &PublicKey) -> Option<KeyPoint> {
        let place = key.0.first_chunk().map_or(0, |word| usize::from(u16::from_le_bytes(*word)) % KEYS_MAX);
        let shard = self.0.get(place % SHARDS)?;
        let place = place / SHARDS;
        if let Some((_, point)) = lock(shard).get(place).and_then(Option::as_ref).filter(|(known, _)| known == key) {
            return Some(*point);
        }
        let point = KeyPoint::new(key)?;
        let mut keys = lock(shard);
        if keys.is_empty() {
            keys.resize(SHARD_KEYS_MAX, None);
        }
        if let Some(entry) = keys.get_mut(place) {
            *entry = Some((*key, point));
        }
        Some(point)
    }
}

fn lock(shard: &Shard) -> MutexGuard<'_, Vec<Option<(PublicKey, KeyPoint)>>> {
    // A panic elsewhere leaves each place either empty or with a key and its point.
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test may panic")]
mod tests {
    use super::*;
    use cairn_primitives::KeyPair;

    fn keys(points: &KeyPoints) -> Vec<PublicKey> {
        points
            .0
            .iter()
            .flat_map(|shard| lock(shard).iter().flatten().map(|(key, _)| *key).collect::<Vec<_>>())
            .collect()
    }

    #[test]
    fn key_points_are_bounded_and_keep_the_last() {
        let points = KeyPoints::default();
        let all: Vec<_> = (0..2_000u32)
            .map(|number| {
                let mut seed = [0; 32];
                seed[..4].copy_from_slice(&number.to_le_bytes());
                KeyPair::from_seed(&seed).public()
            })
            .collect();
        for key in &all {
            assert!(points.point(key).is_some());
        }
        let kept = keys(&points);
        assert!(kept.len() <= KEYS_MAX && kept.len() > 1_500, "{} keys", kept.len());
        assert!(all.last().is_some_and(|last| kept.contains(last)));
        assert!(points.0.iter().all(|shard| lock(shard).len() <= SHARD_KEYS_MAX));
    }

    #[test]
    fn key_that_is_no_point_is_not_remembered() {
        let points = KeyPoints::default();
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert!(points.point(&PublicKey(bytes)).is_none());
        assert!(keys(&points).is_empty());
    }
}
