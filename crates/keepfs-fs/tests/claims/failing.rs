//! Disks and stores that fail at one call: nothing that was lost is ever vouched for, and the next mount is whole.

use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_fs::disk::Trouble;
use keepfs_store::{Fault, FaultStore, Faults, Method, Retry, Store, StoreError, Strike};

use crate::steps::base;
use crate::support::Calls;

/// Puts that fail in a row; more than the publisher makes in one try.
const PUTS_FAIL: u64 = 30;

#[test]
fn what_the_store_refused_at_an_unmount_goes_up_after_the_next_mount() {
    let base = base();
    for first in 0..4 {
        let place = base.0.fork(1);
        let error = StoreError::Unavailable { detail: "refused".into(), retry: Retry::Soon };
        let fails = |number| (Strike::Method(Method::Put, number), Fault::FailBefore(error.clone()));
        let faults = Faults::scripted((first..first + PUTS_FAIL).map(fails));
        let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults));
        let fs = place.open(store, &base.1, place.quiet_options()).unwrap();
        fs.put(Ino::ROOT, "new", b"content");
        fs.close().unwrap();
        drop(fs);
        let store = Arc::new(place.store.clone());
        let fs = place.open(store, &base.1, place.quiet_options()).unwrap();
        fs.sync_store(&mut |_| {}).unwrap();
        drop(fs);
        let (_other, fs) = place.join_elsewhere(2);
        assert_eq!(fs.get(Ino::ROOT, "new"), b"content", "puts failed from number {first} on");
    }
}

/// What the journal cannot take for want of room is told as that, stays in memory, and goes in when there is room.
fn a_journal_that_cannot_grow(errno: i32, trouble: Trouble) {
    let base = base();
    let place = base.0.fork(1);
    let mut options = place.quiet_options();
    options.journal.file_len = 16 << 10;
    let fs = place.open(Arc::new(place.store.clone()), &base.1, options.clone()).unwrap();
    let (_, handle) = fs.file(Ino::ROOT, "grows");
    fs.fsync(handle, false).unwrap();
    place.disk.set_trouble(Some(trouble));
    let mut written = 0;
    let refused = loop {
        written += fs.write(handle, written, &[7; 3000], false).unwrap() as u64;
        match fs.fsync(handle, false) {
            Ok(()) => assert!(written < 1 << 20, "a journal of 16 KiB does not grow"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.errno(), errno, "{refused}");
    assert_eq!(fs.status().unhealthy, None);
    place.disk.set_trouble(None);
    fs.fsync(handle, false).unwrap();
    drop(fs);
    place.disk.end_process();
    let fs = place.open(Arc::new(place.store.clone()), &base.1, options).unwrap();
    assert_eq!(fs.get(Ino::ROOT, "grows"), vec![7; written as usize]);
}

#[test]
fn a_full_disk_under_the_journal_is_enospc_and_loses_nothing() {
    a_journal_that_cannot_grow(libc::ENOSPC, Trouble::Full { call: 0, errno: libc::ENOSPC });
}

#[test]
fn a_quota_on_the_journal_is_edquot_and_loses_nothing() {
    a_journal_that_cannot_grow(libc::EDQUOT, Trouble::Full { call: 0, errno: libc::EDQUOT });
}
