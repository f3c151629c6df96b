//! The points of the keys that signed lately: finding a point costs a third of a signature's check.

use cairn_primitives::PublicKey;
use cairn_primitives::crypto::KeyPoint;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many keys are remembered, at some 250 bytes each.
const KEYS_MAX: usize = 1 << 14;

/// Keys with their points; the one remembered longest goes first.
#[derive(Default)]
pub(crate) struct KeyPoints(Mutex<Known>);

#[derive(Default)]
struct Known {
    points: BTreeMap<PublicKey, KeyPoint>,
    order: VecDeque<PublicKey>,
}

impl KeyPoints {
    /// The point of a key, remembered or found; `None` if the key is no point.
    pub(crate) fn point(&self, key: &PublicKey) -> Option<KeyPoint> {
        if let Some(point) = self.lock().points.get(key) {
            return Some(*point);
        }
        let point = KeyPoint::new(key)?;
        let mut known = self.lock();
        if known.points.insert(*key, point).is_none() {
            known.order.push_back(*key);
        }
        while known.order.len() > KEYS_MAX {
            if let Some(oldest) = known.order.pop_front() {
                known.points.remove(&oldest);
            }
        }
        Some(point)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // A panic elsewhere can leave at most a point without its place in the order, never a wrong point.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_primitives::KeyPair;

    fn key(number: usize) -> PublicKey {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.to_le_bytes());
        KeyPair::from_seed(&seed).public()
    }

    #[test]
    fn key_points_beyond_the_limit_forget_the_oldest() {
        let points = KeyPoints::default();
        for number in 0..=KEYS_MAX {
            assert!(points.point(&key(number)).is_some());
        }
        let known = points.lock();
        assert_eq!((known.points.len(), known.order.len()), (KEYS_MAX, KEYS_MAX));
        assert!(!known.points.contains_key(&key(0)) && known.points.contains_key(&key(KEYS_MAX)));
    }

    #[test]
    fn key_that_is_no_point_is_not_remembered() {
        let points = KeyPoints::default();
        let mut bytes = [0; 32];
        bytes[0] = 2;
        assert!(points.point(&PublicKey(bytes)).is_none());
        assert!(points.lock().points.is_empty());
    }
}
