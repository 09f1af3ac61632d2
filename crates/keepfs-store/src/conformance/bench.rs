//! What a claim is tried with: handles, fresh names, bytes, and the verdict.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Result, StoreError};
use crate::name::{ID_LEN, ObjectName};
use crate::staging::Staging;
use crate::store::Store;

/// How thoroughly, and with what, the suite runs.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names and contents follow from it. Use a fresh random one on a store that is in use, so that no name
    /// meets one of an earlier run.
    pub seed: u64,
    /// Length in bytes of the largest object tried; a network store is checked faster with less.
    pub object_len_max: usize,
    /// A directory of this machine for the files of `put_file`; without it those claims are skipped.
    pub scratch: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Options { seed: 1, object_len_max: 3 << 20, scratch: None }
    }
}

/// One claim and what became of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// Name of the claim: a sentence with underscores.
    pub claim: &'static str,
    /// Whether it holds.
    pub verdict: Verdict,
}

/// What became of a claim.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The store keeps the promise.
    Holds,
    /// It does not.
    Fails {
        /// What happened instead, for people.
        detail: String,
    },
    /// The store does not promise this.
    Skipped {
        /// Why not, for people.
        reason: &'static str,
    },
}

/// Why a claim does not hold, or was not tried.
pub(super) enum Failure {
    Broken(String),
    Skipped(&'static str),
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Failure::Broken(format!("unexpected error: {error}"))
    }
}

/// The result of trying a claim.
pub(super) type Check = Result<(), Failure>;

/// A claim: its name, and how to try it.
pub(super) type Claim = (&'static str, fn(&Bench<'_>) -> Check);

/// A table of claims, each named by its function.
macro_rules! claims {
    ($($claim:ident),* $(,)?) => {
        pub(super) const CLAIMS: &[crate::conformance::bench::Claim] = &[$((stringify!($claim), $claim)),*];
    };
}
pub(super) use claims;

/// Holds if `condition`, else says what was seen.
pub(super) fn ensure(condition: bool, seen: impl FnOnce() -> String) -> Check {
    if condition { Ok(()) } else { Err(Failure::Broken(seen())) }
}

/// Holds if the call failed as `expected` says.
pub(super) fn ensure_error<T>(
    result: Result<T>,
    expected: &str,
    is_expected: impl FnOnce(&StoreError) -> bool,
) -> Check {
    match result {
        Ok(_) => Err(Failure::Broken(format!("succeeded, {expected} was expected"))),
        Err(error) => ensure(is_expected(&error), || format!("{error:?} where {expected} was expected")),
    }
}

/// Holds if the call says that the object is not there.
pub(super) fn ensure_not_found<T>(result: Result<T>) -> Check {
    ensure_error(result, "NotFound", |error| matches!(error, StoreError::NotFound { .. }))
}

/// Holds if the call says that there is such an object.
pub(super) fn ensure_exists<T>(result: Result<T>) -> Check {
    ensure_error(result, "Exists", |error| matches!(error, StoreError::Exists { .. }))
}

/// Holds if the call says that the object ends too early.
pub(super) fn ensure_short<T>(result: Result<T>) -> Check {
    ensure_error(result, "Io", |error| matches!(error, StoreError::Io { .. }))
}

/// Holds if the bytes are the same; does not print them.
pub(super) fn ensure_same(found: &[u8], expected: &[u8]) -> Check {
    ensure(found.len() == expected.len(), || format!("{} bytes, not {}", found.len(), expected.len()))?;
    let different = found.iter().zip(expected).position(|(found, expected)| found != expected);
    ensure(different.is_none(), || format!("byte {} differs", different.unwrap_or_default()))
}

/// The store under test and everything a claim draws from the seed.
pub(super) struct Bench<'a> {
    open: &'a dyn Fn() -> Arc<dyn Store>,
    pub(super) options: &'a Options,
    pub(super) store: Arc<dyn Store>,
    drawn: RefCell<Drawn>,
}

struct Drawn {
    random: SplitMix,
    names: Vec<ObjectName>,
}

impl<'a> Bench<'a> {
    pub(super) fn new(open: &'a dyn Fn() -> Arc<dyn Store>, options: &'a Options) -> Self {
        let drawn = Drawn { random: SplitMix(options.seed), names: Vec::new() };
        Bench { open, options, store: open(), drawn: RefCell::new(drawn) }
    }

    /// Tries one claim, and removes what it made.
    pub(super) fn judge(&self, claim: &'static str, check: fn(&Bench<'_>) -> Check) -> Outcome {
        let result = check(self);
        for name in self.drawn.borrow_mut().names.drain(..) {
            // A store that cannot delete has failed the claim about deleting.
            let _ = self.store.delete(&name);
            if let Some(staging) = self.store.staging()
                && name.is_immutable()
            {
                let _ = staging.discard(&name);
            }
        }
        let verdict = match result {
            Ok(()) => Verdict::Holds,
            Err(Failure::Broken(detail)) => Verdict::Fails { detail },
            Err(Failure::Skipped(reason)) => Verdict::Skipped { reason },
        };
        Outcome { claim, verdict }
    }

    /// One more handle on the same store.
    pub(super) fn reopen(&self) -> Arc<dyn Store> {
        (self.open)()
    }

    /// A name under `o/` that nobody has used.
    pub(super) fn name(&self) -> ObjectName {
        self.keep(ObjectName::immutable)
    }

    /// A name under `h/` that nobody has used.
    pub(super) fn head(&self) -> ObjectName {
        self.keep(ObjectName::head)
    }

    fn keep(&self, make: impl Fn(&str) -> Result<ObjectName>) -> ObjectName {
        let mut drawn = self.drawn.borrow_mut();
        let id: String = (0..ID_LEN).map(|_| drawn.random.base32()).collect();
        let name = make(&id).expect("26 characters of base32 make a name");
        drawn.names.push(name.clone());
        name
    }

    /// `len` bytes that no other draw repeats.
    pub(super) fn bytes(&self, len: usize) -> Vec<u8> {
        let mut drawn = self.drawn.borrow_mut();
        let mut bytes = Vec::with_capacity(len.next_multiple_of(8));
        while bytes.len() < len {
            bytes.extend_from_slice(&drawn.random.next().to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    /// The staging place, or a reason to skip the claim.
    pub(super) fn staging(&self) -> Result<&dyn Staging, Failure> {
        self.store.staging().ok_or(Failure::Skipped("the store has no staging"))
    }
}

/// A small generator: the suite has no randomness but its seed.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn base32(&mut self) -> char {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        char::from(ALPHABET[(self.next() >> 59) as usize])
    }
}
