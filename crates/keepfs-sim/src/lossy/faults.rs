//! Calls that are to fail: the how-manieth, of which kind, below which directory, with which error, how often.
//! It counts and answers; what a failed call does to the disk is decided elsewhere.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

/// Kinds of calls that are counted and can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// Syncing a file or a directory.
    Sync,
    /// Writing, cutting or extending a file.
    Write,
    /// Making, renaming, linking or removing a name.
    Name,
}

impl Call {
    pub(super) fn parse(word: &str) -> Option<Self> {
        match word {
            "sync" => Some(Call::Sync),
            "write" => Some(Call::Write),
            "name" => Some(Call::Name),
            _ => None,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Call::Sync => "sync",
            Call::Write => "write",
            Call::Name => "name",
        }
    }
}

/// Calls that fail from the `first` on, the next one being 1.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// Name of a directory in the root of the disk, or of everything if there is none.
    pub(super) below: Option<OsString>,
    pub(super) call: Call,
    pub(super) first: u64,
    pub(super) times: u64,
    pub(super) errno: Errno,
}

#[derive(Default)]
pub(super) struct Faults {
    planned: Vec<Fault>,
    counts: BTreeMap<(OsString, Call), u64>,
    failed: u64,
}

impl Faults {
    pub(super) fn plan(&mut self, fault: Fault) {
        self.planned.push(fault);
    }

    /// No call fails any more.
    pub(super) fn heal(&mut self) {
        self.planned.clear();
    }

    /// Counts a call below a directory of the root, and says whether it fails.
    pub(super) fn meet(&mut self, below: &OsStr, call: Call) -> Result<(), Errno> {
        *self.counts.entry((below.to_owned(), call)).or_default() += 1;
        let mut verdict = Ok(());
        for fault in &mut self.planned {
            if fault.call != call || fault.below.as_deref().is_some_and(|directory| directory != below) {
                continue;
            }
            if fault.first > 1 {
                fault.first -= 1;
            } else if fault.times > 0 {
                fault.times -= 1;
                verdict = Err(fault.errno);
            }
        }
        self.failed += u64::from(verdict.is_err());
        verdict
    }

    /// Counts since the beginning, as words.
    pub(super) fn describe(&self) -> String {
        let mut words = vec![format!("failed {}", self.failed)];
        for ((below, call), count) in &self.counts {
            words.push(format!("{}/{} {count}", below.display(), call.word()));
        }
        words.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_the_planned_calls_fail() {
        let mut faults = Faults::default();
        let below = Some("store".into());
        faults.plan(Fault { below, call: Call::Sync, first: 3, times: 2, errno: Errno::IO });
        let store = OsStr::new("store");
        let verdicts: Vec<bool> = (0..6).map(|_| faults.meet(store, Call::Sync).is_err()).collect();
        assert_eq!(verdicts, [false, false, true, true, false, false]);
        assert!(faults.meet(OsStr::new("home"), Call::Sync).is_ok());
        assert_eq!(faults.describe(), "failed 2, home/sync 1, store/sync 6");
    }
}
