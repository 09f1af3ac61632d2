//! The world as the core sees it: this machine's clock and the kernel's generator.

use std::time::{SystemTime, UNIX_EPOCH};

use keepfs_format::env::Env;
use keepfs_format::ids::Time;

/// The operating system.
pub(crate) struct OperatingSystem;

impl Env for OperatingSystem {
    fn now(&self) -> Time {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => Time { secs: since.as_secs() as i64, nanos: since.subsec_nanos() },
            // A clock before 1970 is wrong, but no reason to fail: times are never trusted for correctness.
            Err(_) => Time::default(),
        }
    }

    fn fill(&self, out: &mut [u8]) {
        getrandom::fill(out)
            .expect("the kernel's generator answers: without it nothing may be sealed and stopping is right");
    }
}

/// Seconds since the Unix epoch.
pub(crate) fn now_secs() -> u64 {
    OperatingSystem.now().secs.max(0) as u64
}
