//! The conformance suite: every promise of [`crate::Store`] and [`crate::Staging`] as a named claim.
//!
//! It needs no test framework. Tests of stores run it over every store and every wrapper; `store check` runs
//! it over a user's own store: it touches only objects with fresh random names, which it deletes again, so
//! it may run beside a vault.

mod bench;
mod concurrent;
mod listing;
mod objects;
mod staging;

pub use bench::{Options, Outcome, Verdict};

use std::sync::Arc;

use crate::store::Store;
use bench::{Bench, Claim};

/// Tries every claim, in a fixed order. `open` opens one more handle on the same store each time, so that
/// claims can see what another handle, or a later process, would.
pub fn run(open: &dyn Fn() -> Arc<dyn Store>, options: &Options) -> Vec<Outcome> {
    let bench = Bench::new(open, options);
    all().map(|(claim, check)| bench.judge(claim, check)).collect()
}

/// The names of all claims, in the order of [`run`].
pub fn claims() -> Vec<&'static str> {
    all().map(|(claim, _)| claim).collect()
}

/// For tests: runs the suite and lists what failed; nothing is the good answer.
pub fn failures(open: &dyn Fn() -> Arc<dyn Store>, options: &Options) -> Vec<String> {
    run(open, options)
        .into_iter()
        .filter_map(|outcome| match outcome.verdict {
            Verdict::Fails { detail } => Some(format!("{}: {detail}", outcome.claim)),
            _ => None,
        })
        .collect()
}

fn all() -> impl Iterator<Item = Claim> {
    let tables = [objects::CLAIMS, listing::CLAIMS, concurrent::CLAIMS, staging::CLAIMS];
    tables.into_iter().flatten().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    #[test]
    fn memory_store_conforms() {
        for store in [MemoryStore::new(), MemoryStore::remote()] {
            let outcomes = run(&|| Arc::new(store.clone()), &Options::default());
            let failed: Vec<_> =
                outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Fails { .. })).collect();
            assert!(failed.is_empty(), "{failed:#?}");
            assert!(store.names().is_empty(), "the suite leaves nothing behind");
        }
    }

    #[test]
    fn no_claim_has_the_name_of_another() {
        let mut names = claims();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), claims().len());
    }
}
