//! Disks and stores that fail at one call: nothing that was lost is ever vouched for, and the next mount is whole.

use std::sync::Arc;

use keepfs_format::ids::Ino;
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
