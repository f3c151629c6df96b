//! The checks of a newcomer against its sender's queue.

use crate::config::PoolConfig;
use crate::error::Refusal;
use crate::queue::{Queue, TailKey};
use crate::transaction::PoolTransaction;

/// Refuses nonces that are used or too far ahead.
pub(crate) fn check_nonce<T>(
    queue: &Queue<T>,
    transaction: &PoolTransaction<T>,
    account_nonce: u64,
    config: &PoolConfig,
) -> Result<(), Refusal> {
    let nonce = transaction.nonce;
    let expected = queue.account.nonce.max(account_nonce);
    if nonce < expected {
        return Err(Refusal::Stale { nonce, expected });
    }
    let ahead = u64::try_from(config.sender_transactions_max).unwrap_or(u64::MAX);
    let max = expected.saturating_add(ahead).saturating_sub(1);
    if nonce > max {
        return Err(Refusal::TooFarFuture { nonce, expected, max });
    }
    Ok(())
}

/// Refuses to replace a pending transaction by one that does not offer enough more.
pub(crate) fn check_replacement<T>(
    queue: &Queue<T>,
    transaction: &PoolTransaction<T>,
    percent: u32,
) -> Result<(), Refusal> {
    let Some(old) = queue.get(transaction.nonce) else { return Ok(()) };
    let tip = old.transaction.priority;
    // Rounded up; a product beyond u128 is divided first, which loses less than `percent` base units.
    let raise = tip
        .checked_mul(u128::from(percent))
        .map_or_else(|| (tip / 100).saturating_mul(u128::from(percent)), |product| product.div_ceil(100));
    let needed = tip.saturating_add(raise.max(1));
    if transaction.priority < needed {
        return Err(Refusal::ReplacementTooCheap { tip: transaction.priority, needed });
    }
    Ok(())
}

/// How many of the sender's last transactions must go so that it stays within its share; only such after the newcomer.
pub(crate) fn own_victims<T>(
    queue: &Queue<T>,
    transaction: &PoolTransaction<T>,
    config: &PoolConfig,
) -> Result<usize, Refusal> {
    let replaced = queue.get(transaction.nonce).map(|entry| entry.transaction.bytes_len);
    let mut count = queue.entries.len().saturating_add(usize::from(replaced.is_none()));
    let mut bytes = queue.bytes.saturating_sub(replaced.unwrap_or(0)).saturating_add(transaction.bytes_len);
    let mut victims = 0usize;
    for (nonce, entry) in queue.entries.iter().rev() {
        if count <= config.sender_transactions_max && bytes <= config.sender_bytes_max || *nonce <= transaction.nonce {
            break;
        }
        count = count.saturating_sub(1);
        bytes = bytes.saturating_sub(entry.transaction.bytes_len);
        victims = victims.saturating_add(1);
    }
    if count > config.sender_transactions_max || bytes > config.sender_bytes_max {
        return Err(Refusal::SenderFull {
            transactions: queue.entries.len(),
            bytes: queue.bytes,
            transactions_max: config.sender_transactions_max,
            bytes_max: config.sender_bytes_max,
        });
    }
    Ok(victims)
}

/// The refusal where `worst` is the one that would have to be beaten.
pub(crate) fn pool_full<T>(queue: &Queue<T>, transaction: &PoolTransaction<T>, worst: &TailKey) -> Refusal {
    let (worst_is_ready, worst_tip, _) = *worst;
    if worst_is_ready && transaction.nonce > queue.ready_end {
        return Refusal::PoolFullOfReady { nonce: transaction.nonce, expected: queue.ready_end };
    }
    Refusal::PoolFull { tip: transaction.priority, tip_needed: worst_tip.saturating_add(1) }
}
