//! Every sequence of two calls over a tiny tree, with a crash at every call of disk and store.
//!
//! The oracle is a pure model: after the crash the tree is what it was after some step of the sequence, and no
//! older than the last step that was acknowledged as durable.

use std::sync::Arc;

use keepfs_fs::disk::Trouble;
use keepfs_fs::home::RecoveryPhrase;
use keepfs_store::{FaultStore, Faults, Moment, Store};

use crate::steps::{STEPS, Shown, Step, base, show, with_commit};
use crate::support::Place;

/// Where a crash happens.
#[derive(Clone, Copy, Debug)]
enum Crash {
    Disk(u64),
    Store(u64, Moment),
}

/// What a sequence shows after each step, and how many calls of the disk and writes of the store it makes.
fn rehearse(base: &(Place, RecoveryPhrase), steps: &[Step]) -> (Vec<Shown>, u64, u64) {
    let place = base.0.fork(1);
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults.clone()));
    let fs = place.open_quiet(store, &base.1).unwrap();
    place.disk.set_trouble(None);
    let mut history = vec![show(&fs)];
    for step in with_commit(steps) {
        // A call that does not fit the tree (a rename onto what is there) fails, and changes nothing.
        drop(step.run(&fs));
        history.push(show(&fs));
    }
    (history, place.disk.calls(), faults.writes())
}

/// Runs a sequence up to a crash, opens again, and checks what is there.
fn check(base: &(Place, RecoveryPhrase), steps: &[Step], history: &[Shown], crash: Crash, seed: u64) {
    let place = base.0.fork(1);
    let faults = match crash {
        Crash::Store(number, moment) => Faults::crash_at_write(number, moment),
        Crash::Disk(_) => Faults::none(),
    };
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults));
    if let Ok(fs) = place.open_quiet(store, &base.1) {
        place.disk.set_trouble(match crash {
            Crash::Disk(call) => Some(Trouble::PowerOff { call }),
            Crash::Store(..) => None,
        });
        let mut acknowledged = 0;
        for (at, step) in with_commit(steps).enumerate() {
            if step.run(&fs).is_ok() && step.is_sync() {
                acknowledged = at + 1;
            }
        }
        drop(fs);
        verify(&place, &base.1, &history[acknowledged..], (steps, crash, seed));
    } else {
        assert!(matches!(crash, Crash::Store(..)), "only a crash of the store may hit the open");
        verify(&place, &base.1, &history[..1], (steps, crash, seed));
    }
}

fn verify(
    place: &Place,
    phrase: &RecoveryPhrase,
    allowed: &[Shown],
    (steps, crash, seed): (&[Step], Crash, u64),
) {
    place.disk.power_cut(seed);
    let fs = place.open_quiet(Arc::new(place.store.clone()), phrase).unwrap_or_else(|error| {
        panic!("{steps:?} {crash:?} seed {seed}: the vault does not open: {error}");
    });
    let found = show(&fs);
    assert!(allowed.contains(&found), "{steps:?} {crash:?} seed {seed}: found {found:?}, not in {allowed:?}");
}

/// Crashes one sequence everywhere; returns at how many places.
fn crash_everywhere(base: &(Place, RecoveryPhrase), steps: &[Step], seed: u64) -> u64 {
    let (history, disk_calls, store_writes) = rehearse(base, steps);
    for call in 0..disk_calls {
        check(base, steps, &history, Crash::Disk(call), seed + call);
    }
    for write in 0..store_writes {
        for moment in Moment::ALL {
            check(base, steps, &history, Crash::Store(write, moment), seed + write);
        }
    }
    disk_calls + store_writes * Moment::ALL.len() as u64
}

#[test]
fn every_pair_of_calls_survives_a_crash_at_every_call() {
    let base = base();
    let (mut sequences, mut crashes) = (0_u64, 0_u64);
    for first in STEPS {
        if first == Step::Unmount {
            continue;
        }
        for second in STEPS {
            crashes += crash_everywhere(&base, &[first, second], sequences);
            sequences += 1;
        }
    }
    println!("{sequences} sequences, {crashes} crashes, 0 violations");
}

/// What a checkpoint leaves for the next cut must not go to the database before the cut does.
#[test]
fn a_call_between_two_checkpoints_survives_a_crash_at_every_call() {
    let base = base();
    let (mut sequences, mut crashes) = (0_u64, 0_u64);
    for between in STEPS {
        if between == Step::Unmount {
            continue;
        }
        for last in [Step::SyncStore, Step::Unmount] {
            crashes += crash_everywhere(&base, &[Step::SyncStore, between, last], sequences);
            sequences += 1;
        }
    }
    println!("{sequences} sequences, {crashes} crashes, 0 violations");
}
