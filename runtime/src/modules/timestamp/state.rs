use crate::keys;
use crate::overlay::StorageValue;

/// Half of the time between blocks that clients assume when they choose how long a transaction lives, in milliseconds.
pub const MINIMUM_PERIOD_MS: u64 = 250;

/// The time of the block, in milliseconds since the Unix epoch. Written by every block; never pruned.
pub(crate) const NOW: StorageValue<u64> = StorageValue::new("Timestamp.Now", keys::TIMESTAMP_NOW);
