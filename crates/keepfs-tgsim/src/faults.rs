//! Faults that a test asks for: which request fails, how, how often.
//!
//! It owns the plan and decides by it. It never carries a fault out. The same plan and the same requests give
//! the same faults: chance comes from the seed in the plan.

use serde::{Deserialize, Serialize};

/// The name under which updates, which nobody asked for, can be hit.
pub const PUSH: &str = "push";
/// The name that every request has; updates do not.
pub const ANY: &str = "*";

/// What happens instead of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// An error is answered and nothing is done.
    Error {
        /// For example 420.
        code: i32,
        /// For example `FLOOD_WAIT_3`.
        message: String,
    },
    /// The request takes effect, and an error is answered all the same.
    ErrorAfter {
        /// For example 500.
        code: i32,
        /// For example `INTERNAL`.
        message: String,
    },
    /// An error of the transport (404: the key is not known), after which the connection ends.
    TransportError {
        /// The number without its sign.
        code: i32,
    },
    /// The connection ends before the request takes effect.
    DropBefore,
    /// The request takes effect and the connection ends before it is answered.
    DropAfter,
    /// The connection stays open and silent for ever.
    Stall,
    /// The answer, or the update, comes later. Others overtake it.
    Delay {
        /// How much later.
        ms: u64,
    },
    /// A byte in the middle of a file's content is changed.
    Corrupt,
    /// The last byte of a file's content is missing.
    Short,
    /// The update is not sent.
    Lose,
}

/// One line of the plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// A method as the schema writes it (`upload.getFile`), [`ANY`] or [`PUSH`].
    pub method: String,
    /// How many requests pass before the first is hit.
    #[serde(default)]
    pub skip: u64,
    /// How many requests are hit; without it, all.
    #[serde(default)]
    pub times: Option<u64>,
    /// How many of a hundred requests are hit.
    #[serde(default = "always")]
    pub percent: u8,
    /// Where chance begins.
    #[serde(default)]
    pub seed: u64,
    /// What happens.
    pub action: Action,
}

fn always() -> u8 {
    100
}

/// The plan.
#[derive(Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// What shall happen to this request; the first line of the plan that hits it decides.
    pub(crate) fn next(&mut self, method: &str) -> Option<Action> {
        let mut hit = None;
        for fault in &mut self.0 {
            let is_meant = fault.method == method || fault.method == ANY && method != PUSH;
            if hit.is_none() && is_meant && fault.times != Some(0) && fault.strikes() {
                hit = Some(fault.action.clone());
            }
        }
        self.0.retain(|fault| fault.times != Some(0));
        hit
    }
}

impl Fault {
    fn strikes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        if self.percent < 100 && self.random() % 100 >= u64::from(self.percent) {
            return false;
        }
        self.times = self.times.map(|times| times.saturating_sub(1));
        true
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Faults {
        Faults(vec![serde_json::from_str(text).unwrap()])
    }

    #[test]
    fn skipped_then_hit_then_over() {
        let mut faults = plan(r#"{"method": "a.b", "skip": 2, "times": 2, "action": "drop_after"}"#);
        let hits: Vec<bool> = (0..6).map(|_| faults.next("a.b").is_some()).collect();
        assert_eq!(hits, [false, false, true, true, false, false]);
        assert!(faults.0.is_empty());
    }

    #[test]
    fn chance_repeats_itself() {
        let text = r#"{"method": "*", "percent": 30, "seed": 5, "action": {"error": {"code": 500, "message": "X"}}}"#;
        let run = || {
            let mut faults = plan(text);
            (0..1_000).map(|_| faults.next("x").is_some()).collect::<Vec<bool>>()
        };
        assert_eq!(run(), run());
        let hits = run().into_iter().filter(|hit| *hit).count();
        assert!((200..400).contains(&hits), "{hits}");
        assert!(plan(text).next(PUSH).is_none());
    }
}
