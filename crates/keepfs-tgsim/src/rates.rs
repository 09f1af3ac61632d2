//! How often a method may be called: token buckets that answer with seconds to wait.
//!
//! Telegram publishes no numbers; a test sets those that it wants to meet.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// What a bucket counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Requests.
    #[default]
    Requests,
    /// Bytes of content in the request (parts) or asked for by it (ranges).
    Bytes,
}

/// The limit of one method for each account.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// The method as the schema writes it.
    pub method: String,
    /// Units that come back each second.
    pub per_second: f64,
    /// Units that may be used at once.
    pub burst: f64,
    /// What is counted.
    #[serde(default)]
    pub unit: Unit,
    /// The name of the error before the seconds, `FLOOD_WAIT` or `FLOOD_PREMIUM_WAIT`.
    #[serde(default = "flood_wait")]
    pub error: String,
}

fn flood_wait() -> String {
    "FLOOD_WAIT".to_owned()
}

/// The error that paying accounts never get.
const FLOOD_PREMIUM_WAIT: &str = "FLOOD_PREMIUM_WAIT";

/// What one request uses.
pub(crate) struct Cost<'a> {
    pub(crate) user: i64,
    pub(crate) is_premium: bool,
    pub(crate) method: &'a str,
    pub(crate) bytes: u64,
}

struct Bucket {
    filled: f64,
    at: Instant,
}

/// All limits with what was used of them.
#[derive(Default)]
pub(crate) struct Rates {
    rates: Vec<Rate>,
    buckets: HashMap<(i64, usize), Bucket>,
}

impl Rates {
    pub(crate) fn set(&mut self, rates: Vec<Rate>) {
        self.rates = rates;
        self.buckets.clear();
    }

    /// Takes what a request costs, or tells the error to answer. `now` is the time.
    pub(crate) fn take(&mut self, cost: &Cost, now: Instant) -> Result<(), String> {
        let rates = self.rates.iter().enumerate();
        let is_meant = |rate: &Rate| {
            rate.method == cost.method && !(cost.is_premium && rate.error == FLOOD_PREMIUM_WAIT)
        };
        for (index, rate) in rates.filter(|(_, rate)| is_meant(rate)) {
            let full = Bucket { filled: rate.burst, at: now };
            let bucket = self.buckets.entry((cost.user, index)).or_insert(full);
            let cost = if rate.unit == Unit::Bytes { cost.bytes as f64 } else { 1.0 };
            let passed = now.saturating_duration_since(bucket.at).as_secs_f64();
            bucket.filled = (bucket.filled + passed * rate.per_second).min(rate.burst);
            bucket.at = now;
            // A request that costs more than the bucket holds passes when it is full, and leaves a debt.
            let needed = cost.min(rate.burst);
            if bucket.filled < needed {
                let wait_s = ((needed - bucket.filled) / rate.per_second.max(1e-6)).ceil().max(1.0);
                return Err(format!("{}_{}", rate.error, wait_s as i64));
            }
            bucket.filled -= cost;
        }
        Ok(())
    }
}

/// The wait between a request and its answer that a test asked for.
pub(crate) fn round_trip(ms: u64) -> Option<Duration> {
    (ms > 0).then(|| Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_wait_is_told_and_is_enough() {
        let mut rates = Rates::default();
        let text = r#"{"method": "m", "per_second": 0.5, "burst": 3}"#;
        rates.set(vec![serde_json::from_str(text).unwrap()]);
        let start = Instant::now();
        let mut take = |user, after_s| {
            let cost = Cost { user, is_premium: false, method: "m", bytes: 0 };
            rates.take(&cost, start + Duration::from_secs(after_s))
        };
        assert!((0..3).all(|_| take(1, 0).is_ok()));
        assert_eq!(take(1, 0), Err("FLOOD_WAIT_2".to_owned()));
        assert_eq!(take(1, 1), Err("FLOOD_WAIT_1".to_owned()));
        assert_eq!(take(2, 1), Ok(()));
        assert_eq!(take(1, 2), Ok(()));
        assert!(take(1, 2).is_err());
    }

    #[test]
    fn bytes_are_counted_and_a_large_request_passes_once() {
        let mut rates = Rates::default();
        let text = r#"{"method": "m", "per_second": 100, "burst": 150, "unit": "bytes", "error": "FLOOD_PREMIUM_WAIT"}"#;
        rates.set(vec![serde_json::from_str(text).unwrap()]);
        let now = Instant::now();
        let mut take = |is_premium, bytes, after_s| {
            let cost = Cost { user: 1, is_premium, method: "m", bytes };
            rates.take(&cost, now + Duration::from_secs(after_s))
        };
        assert_eq!(take(false, 350, 0), Ok(()));
        assert_eq!(take(false, 50, 0), Err("FLOOD_PREMIUM_WAIT_3".to_owned()));
        assert_eq!(take(true, 50, 0), Ok(()));
        assert_eq!(take(false, 50, 3), Ok(()));
    }
}
