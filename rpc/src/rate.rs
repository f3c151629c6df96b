//! Budgets of calls by client address: a bucket of tokens that fills at a steady rate.
//!
//! An IPv6 client is its /64 network, as it can choose any address in it. Buckets that are full again are forgotten, so
//! memory is bounded by the clients of the last seconds; beyond a limit, new clients share one bucket.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Clients whose buckets are kept apart.
const CLIENTS_MAX: usize = 16_384;

/// Seconds that a full bucket lasts at the steady rate.
const BURST_SECONDS: u32 = 2;

/// The budget of one client.
pub(crate) struct Budget {
    per_second: u32,
    bucket: Mutex<Bucket>,
}

struct Bucket {
    /// Thousandths of a token.
    millitokens: u64,
    filled_at: Instant,
}

impl Budget {
    fn new(per_second: u32, now: Instant) -> Self {
        let bucket = Bucket { millitokens: capacity(per_second), filled_at: now };
        Self { per_second, bucket: Mutex::new(bucket) }
    }

    /// Takes tokens, or says in how many milliseconds there will be so many.
    pub(crate) fn take(&self, tokens: u32, now: Instant) -> Result<(), u64> {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(self.per_second, now);
        let wanted = u64::from(tokens).saturating_mul(1_000);
        match bucket.millitokens.checked_sub(wanted) {
            Some(rest) => {
                bucket.millitokens = rest;
                Ok(())
            }
            // A token a second is a millitoken a millisecond.
            None => Err((wanted.saturating_sub(bucket.millitokens)).div_ceil(u64::from(self.per_second.max(1)))),
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.fill(self.per_second, now);
        bucket.millitokens == capacity(self.per_second)
    }
}

impl Bucket {
    fn fill(&mut self, per_second: u32, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        let ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.millitokens =
            self.millitokens.saturating_add(ms.saturating_mul(u64::from(per_second))).min(capacity(per_second));
        // What is less than a millisecond counts the next time.
        self.filled_at = self.filled_at.checked_add(Duration::from_millis(ms)).unwrap_or(now);
    }
}

const fn capacity(per_second: u32) -> u64 {
    per_second as u64 * BURST_SECONDS as u64 * 1_000
}

/// The budgets of all clients.
pub(crate) struct Budgets {
    per_second: u32,
    limits_loopback: bool,
    clients: Mutex<BTreeMap<u128, Arc<Budget>>>,
    shared: Arc<Budget>,
}

impl Budgets {
    /// Budgets of so many tokens a second; none for clients on the same machine unless `limits_loopback`.
    pub(crate) fn new(per_second: u32, limits_loopback: bool) -> Self {
        let shared = Arc::new(Budget::new(per_second, Instant::now()));
        Self { per_second, limits_loopback, clients: Mutex::default(), shared }
    }

    /// The budget of a client; `None` if it has no limit.
    pub(crate) fn of(&self, address: IpAddr, now: Instant) -> Option<Arc<Budget>> {
        let address = address.to_canonical();
        if address.is_loopback() && !self.limits_loopback {
            return None;
        }
        let client = match address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits() & !u128::from(u64::MAX),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = clients.get(&client) {
            return Some(Arc::clone(budget));
        }
        if clients.len() >= CLIENTS_MAX {
            clients.retain(|_, budget| Arc::strong_count(budget) > 1 || !budget.is_full(now));
        }
        if clients.len() >= CLIENTS_MAX {
            return Some(Arc::clone(&self.shared));
        }
        let budget = Arc::new(Budget::new(self.per_second, now));
        clients.insert(client, Arc::clone(&budget));
        Some(budget)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn budget_lasts_its_burst_and_fills_with_time() {
        let start = Instant::now();
        let budgets = Budgets::new(10, false);
        let budget = budgets.of(client("203.0.113.1"), start).unwrap();
        assert_eq!(budget.take(20, start), Ok(()));
        assert_eq!(budget.take(1, start), Err(100));
        assert_eq!(budget.take(1, start + Duration::from_millis(99)), Err(1));
        assert_eq!(budget.take(1, start + Duration::from_millis(100)), Ok(()));
        assert_eq!(budget.take(20, start + Duration::from_secs(60)), Ok(()));
        assert_eq!(budget.take(1, start + Duration::from_secs(60)), Err(100), "never more than a burst");
    }

    #[test]
    fn clients_are_apart_but_not_within_a_network_of_v6() {
        let now = Instant::now();
        let budgets = Budgets::new(1, false);
        let of = |text| budgets.of(client(text), now).unwrap();
        assert!(Arc::ptr_eq(&of("2001:db8::1"), &of("2001:db8::ffff:2")));
        assert!(!Arc::ptr_eq(&of("2001:db8::1"), &of("2001:db8:0:1::1")));
        assert!(!Arc::ptr_eq(&of("203.0.113.1"), &of("203.0.113.2")));
        assert!(Arc::ptr_eq(&of("203.0.113.1"), &of("::ffff:203.0.113.1")));
        assert!(budgets.of(client("127.0.0.1"), now).is_none() && budgets.of(client("::1"), now).is_none());
        assert!(Budgets::new(1, true).of(client("127.0.0.1"), now).is_some());
    }

    #[test]
    fn clients_beyond_the_limit_share_until_others_are_forgotten() {
        let now = Instant::now();
        let budgets = Budgets::new(1, false);
        let address = |number: u32| IpAddr::from((0x0b00_0000 + number).to_be_bytes());
        for number in 0..u32::try_from(CLIENTS_MAX).unwrap() {
            budgets.of(address(number), now).unwrap().take(1, now).unwrap();
        }
        let [one, two] = [1_000_000, 1_000_001].map(|number| budgets.of(address(number), now).unwrap());
        assert!(Arc::ptr_eq(&one, &two));
        let later = now + Duration::from_secs(10);
        let [one, two] = [1_000_000, 1_000_001].map(|number| budgets.of(address(number), later).unwrap());
        assert!(!Arc::ptr_eq(&one, &two));
    }
}
