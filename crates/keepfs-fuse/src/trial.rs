//! Whether spinning pays on this machine with this work: requests answered with it against requests answered
//! without. Pure arithmetic; time and counts come from outside.

use std::time::Duration;

/// How much faster spinning must be to be worth a processor: by this much, in percent.
const GAIN_MIN: u128 = 15;

/// Requests and the time they came in, for both ways of waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trial {
    asleep: Tally,
    spinning: Tally,
}

/// Requests of one way of waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tally {
    requests: u64,
    time: Duration,
}

impl Trial {
    /// Counts a piece of time.
    pub(crate) fn count(&mut self, spinning: bool, requests: u64, time: Duration) {
        let tally = if spinning { &mut self.spinning } else { &mut self.asleep };
        tally.requests += requests;
        tally.time += time;
    }

    /// Whether spinning was faster by enough.
    pub(crate) fn favours_spinning(&self) -> bool {
        // Rates as cross products: requests of one way times the time of the other.
        let spinning = u128::from(self.spinning.requests) * self.asleep.time.as_nanos();
        let asleep = u128::from(self.asleep.requests) * self.spinning.time.as_nanos();
        spinning * 100 > asleep * (100 + GAIN_MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn spinning_wins_only_by_a_margin() {
        let mut trial = Trial::default();
        trial.count(false, 100, 10 * MS);
        trial.count(true, 115, 10 * MS);
        assert!(!trial.favours_spinning());
        trial.count(true, 1, Duration::ZERO);
        assert!(trial.favours_spinning());
    }

    #[test]
    fn rates_count_and_not_requests() {
        let mut trial = Trial::default();
        trial.count(false, 100, 4 * MS);
        trial.count(true, 300, 16 * MS);
        assert!(!trial.favours_spinning());
    }

    #[test]
    fn nothing_counted_favours_sleep() {
        assert!(!Trial::default().favours_spinning());
    }
}
