//! A disk that is full, and one that takes no writes: real ones, mounted for the test in a name space of its
//! own. Where that is not allowed the test says so and passes.

#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use keepfs_store::{BlobCache, ObjectName, PutMode, Store, StoreError};
use keepfs_stores::{DiskCache, OpenOptions, open};

const DISK: &str = "KEEPFS_TEST_DISK";

fn name(number: usize) -> ObjectName {
    let digits: String = (0..3).map(|place| char::from(b'a' + (number >> (4 * place) & 15) as u8)).collect();
    ObjectName::immutable(&format!("{digits}aaaaaaaaaaaaaaaaaaaaaaa")).unwrap()
}

/// Starts one of the bodies below with a disk of 8 MiB of its own.
fn on_a_small_disk(body: &str) {
    let mounted = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script]).stdout(Stdio::null());
        command
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().display();
    let mount = format!("mount -t tmpfs -o size=8m none {path}");
    if !mounted(&mount).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        println!("not tried: this machine lets nobody mount a disk here");
        return;
    }
    let executable = std::env::current_exe().unwrap();
    let script = format!("{mount} && exec {} {body} --exact --nocapture", executable.display());
    assert!(mounted(&script).env(DISK, directory.path()).status().unwrap().success());
}

/// A new store on the disk of a body; `None` in a run that is not one of `on_a_small_disk`.
fn store_on_disk() -> Option<(std::ffi::OsString, Arc<dyn Store>)> {
    let disk = std::env::var_os(DISK)?;
    let path = Path::new(&disk).join("store");
    let store = open(path.to_str().unwrap(), OpenOptions { create: true }).unwrap();
    Some((disk, store))
}

/// Puts objects of 1 MiB until the disk is full; how many went in.
fn fill(store: &dyn Store) -> usize {
    let bytes = vec![7; 1 << 20];
    for number in 0.. {
        match store.put(&name(number), &bytes, PutMode::Create) {
            Ok(()) => {}
            Err(StoreError::Full { .. }) => return number,
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the disk has room for eight")
}

#[test]
fn full_disk_is_told_and_breaks_nothing() {
    on_a_small_disk("body_of_full_disk");
}

#[test]
fn body_of_full_disk() {
    let Some((disk, store)) = store_on_disk() else { return };
    let count = fill(&*store);
    assert!((5..=8).contains(&count), "{count}");
    let left = || std::fs::read_dir(Path::new(&disk).join("store/tmp")).unwrap().count();
    assert_eq!(left(), 0, "the failed put gives its space back");
    for number in 0..count {
        assert_eq!(store.get(&name(number), 1 << 20).unwrap(), vec![7; 1 << 20]);
    }
    assert!(store.space().unwrap().unwrap().free < 1 << 20);

    let staged = store.staging().unwrap().create(&name(900)).unwrap();
    let grown = (0..).take_while(|part| staged.write_at(part * 65_536, &[8; 65_536]).is_ok()).count() as u64;
    let error = staged.write_at(grown * 65_536, &[8; 65_536]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    store.delete(&name(0)).unwrap();
    staged.write_at(grown * 65_536, &[8; 65_536]).unwrap();
    staged.publish().unwrap();
    let expected = vec![8; (grown as usize + 1) * 65_536];
    assert_eq!(store.get(&name(900), 1 << 20).unwrap(), expected);
}

#[test]
fn cache_yields_on_a_full_disk() {
    on_a_small_disk("body_of_cache_on_full_disk");
}

#[test]
fn body_of_cache_on_full_disk() {
    let Some((disk, store)) = store_on_disk() else { return };
    let cache = DiskCache::open(&Path::new(&disk).join("cache"), 1 << 30).unwrap();
    for number in 0..4 {
        cache.put(&format!("k{number}"), &[1; 1 << 20]);
    }
    assert_eq!(cache.len_total(), 4 << 20);
    fill(&*store);
    cache.put("another", &[2; 1 << 20]);
    assert!(!cache.contains("another") && !cache.contains("k0") && !cache.contains("k1"));
    assert!(cache.contains("k3"));
    store.put(&name(950), &[7; 1 << 20], PutMode::Create).unwrap();
    cache.clear();
    cache.put("another", &[2; 1 << 20]);
    assert!(cache.contains("another"));
}

#[test]
fn read_only_disk_is_told_and_can_be_read() {
    on_a_small_disk("body_of_read_only_disk");
}

#[test]
fn body_of_read_only_disk() {
    let Some((disk, store)) = store_on_disk() else { return };
    store.put(&name(1), b"here", PutMode::Create).unwrap();
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&disk).status().unwrap();
    assert!(remounted.success());
    let path = Path::new(&disk).join("store");
    let reopened = open(path.to_str().unwrap(), OpenOptions::default()).unwrap();
    for store in [store, reopened] {
        assert_eq!(store.get(&name(1), 9).unwrap(), b"here");
        let is_read_only = |result| matches!(result, Err(StoreError::ReadOnly { .. }));
        assert!(is_read_only(store.put(&name(2), b"no", PutMode::Create)));
        assert!(is_read_only(store.put(&ObjectName::vault(), b"no", PutMode::Replace)));
        assert!(is_read_only(store.delete(&name(1))));
        assert!(is_read_only(store.staging().unwrap().create(&name(3)).map(drop)));
    }
}
