//! Chance and time that follow from a seed: everything a simulated world does by luck can be done again.

use std::sync::atomic::{AtomicI64, Ordering};

use keepfs_format::env::Env;
use keepfs_format::ids::Time;
use parking_lot::Mutex;

/// When every simulated clock starts, in milliseconds since 1970.
const START_MS: i64 = 1_700_000_000_000;

/// Time that moves a millisecond whenever it is asked, randomness from a seed.
pub struct SeededEnv {
    now_ms: AtomicI64,
    state: Mutex<u64>,
}

impl SeededEnv {
    /// The world of a seed.
    pub fn new(seed: u64) -> Self {
        Self { now_ms: AtomicI64::new(START_MS), state: Mutex::new(seed | 1) }
    }

    /// Moves the clock, backwards too.
    pub fn advance(&self, by_ms: i64) {
        self.now_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Env for SeededEnv {
    fn now(&self) -> Time {
        let ms = self.now_ms.fetch_add(1, Ordering::Relaxed);
        Time { secs: ms.div_euclid(1000), nanos: ms.rem_euclid(1000) as u32 * 1_000_000 }
    }

    /// Xorshift, see Marsaglia, "Xorshift RNGs", 2003.
    fn fill(&self, out: &mut [u8]) {
        let mut state = self.state.lock();
        for byte in out {
            *state ^= *state << 13;
            *state ^= *state >> 7;
            *state ^= *state << 17;
            *byte = (*state >> 32) as u8;
        }
    }
}

/// Choices that follow from a seed: SplitMix64, see Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// The choices of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Any number.
    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 if that is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.word() % limit.max(1)
    }

    /// True once in so many times.
    pub fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// One of several; `None` if there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}

/// Bytes that neither compress nor repeat.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    SeededEnv::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).fill(&mut out);
    out
}
