//! A token bucket: so many at once, so many per second in the long run.

use std::time::Instant;

/// What a peer may still ask.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let burst = f64::from(burst);
        Self { per_second: f64::from(per_second), burst, tokens: burst, at: now }
    }

    /// Takes one token, if there is one.
    pub(crate) fn try_take(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst);
        self.at = now;
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn bucket_gives_its_burst_then_its_rate() {
        let now = Instant::now();
        let mut bucket = Bucket::new(2, 3, now);
        assert_eq!((0..5).filter(|_| bucket.try_take(now)).count(), 3);
        let later = now + Duration::from_secs(1);
        assert_eq!((0..5).filter(|_| bucket.try_take(later)).count(), 2);
        let much_later = now + Duration::from_secs(100);
        assert_eq!((0..5).filter(|_| bucket.try_take(much_later)).count(), 3);
    }
}
