//! A tree outlives unmounts, crashes and machines.

use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_fs::{Fs, RenameMode};
use keepfs_store::{FaultStore, Faults, Store, Weather};

use crate::support::{Calls, Place, noise};

/// A tree with some of everything.
fn fill(fs: &Fs) {
    let docs = fs.directory(Ino::ROOT, "docs");
    fs.put(docs, "small", b"hello");
    fs.put(docs, "large", &noise(1, 9 << 20));
    fs.put(Ino::ROOT, "old name", &noise(2, 100_000));
    fs.rename((Ino::ROOT, b"old name"), (docs, b"new name"), RenameMode::Replace).unwrap();
    let small = fs.lookup(docs, b"small").unwrap().ino;
    fs.link(small, Ino::ROOT, b"second").unwrap();
    fs.set_xattr(small, b"user.note", b"value", 0).unwrap();
    for number in 0..200 {
        fs.put(docs, &format!("n{number}"), format!("content {number}").as_bytes());
    }
    for number in 100..200 {
        fs.unlink(docs, format!("n{number}").as_bytes()).unwrap();
    }
}

fn check(fs: &Fs) {
    assert_eq!(fs.names(Ino::ROOT), ["docs", "second"]);
    let docs = fs.lookup(Ino::ROOT, b"docs").unwrap();
    assert_eq!((docs.mode, docs.uid, docs.nlink), (0o755, 1000, 2));
    assert_eq!(fs.names(docs.ino).len(), 103);
    assert_eq!(fs.get(docs.ino, "small"), b"hello");
    assert_eq!(fs.get(docs.ino, "large"), noise(1, 9 << 20));
    assert_eq!(fs.get(docs.ino, "new name"), noise(2, 100_000));
    let second = fs.lookup(Ino::ROOT, b"second").unwrap();
    assert_eq!((second.nlink, second.size), (2, 5));
    assert_eq!(fs.xattr(second.ino, b"user.note").unwrap(), b"value");
    for number in 0..100 {
        assert_eq!(fs.get(docs.ino, &format!("n{number}")), format!("content {number}").as_bytes());
    }
}

#[test]
fn a_tree_outlives_an_unmount() {
    let (place, fs) = Place::found(1);
    fill(&fs);
    check(&fs);
    fs.close().unwrap();
    drop(fs);
    let fs = place.reopen();
    assert!(!fs.status().recovered.unclean);
    check(&fs);
}

#[test]
fn a_tree_outlives_power_cuts_once_synced() {
    for seed in 1..=10 {
        println!("seed {seed}");
        let (place, fs) = Place::found(seed);
        fill(&fs);
        fs.sync_local().unwrap();
        drop(fs);
        place.disk.power_cut(seed);
        let fs = place.reopen();
        check(&fs);
    }
}

#[test]
fn a_tree_outlives_its_machine() {
    let (place, fs) = Place::found(3);
    fill(&fs);
    fs.sync_store(&mut |_| {}).unwrap();
    fs.put(Ino::ROOT, "after the checkpoint", b"and it is there");
    fs.sync_store(&mut |_| {}).unwrap();
    fs.unlink(Ino::ROOT, b"after the checkpoint").unwrap();
    fs.sync_store(&mut |_| {}).unwrap();
    let (other, joined) = place.join_elsewhere(4);
    check(&joined);
    joined.put(Ino::ROOT, "from the second machine", b"new");
    joined.unlink(Ino::ROOT, b"from the second machine").unwrap();
    check(&joined);
    joined.close().unwrap();
    drop(joined);
    check(&other.reopen());
}

#[test]
fn a_lost_database_is_rebuilt_from_store_and_journal() {
    let (place, fs) = Place::found(5);
    fill(&fs);
    fs.sync_store(&mut |_| {}).unwrap();
    fs.put(Ino::ROOT, "only in the journal", b"bytes");
    fs.sync_local().unwrap();
    drop(fs);
    place.disk.power_cut(5);
    use keepfs_fs::disk::LocalDisk;
    place.disk.remove(&place.state_dir.join("tree.db")).unwrap();
    let fs = place.reopen();
    assert_eq!(fs.get(Ino::ROOT, "only in the journal"), b"bytes");
    fs.unlink(Ino::ROOT, b"only in the journal").unwrap();
    check(&fs);
}

#[test]
fn two_machines_take_turns_and_see_each_other() {
    let (place, fs) = Place::found(7);
    fill(&fs);
    fs.close().unwrap();
    drop(fs);
    let (other, fs) = place.join_elsewhere(8);
    fs.put(Ino::ROOT, "by the second", b"two");
    fs.close().unwrap();
    drop(fs);
    let fs = place.reopen();
    assert_eq!(fs.get(Ino::ROOT, "by the second"), b"two");
    fs.unlink(Ino::ROOT, b"by the second").unwrap();
    fs.put(Ino::ROOT, "by the first", b"one");
    fs.close().unwrap();
    drop(fs);
    let fs = other.reopen();
    assert_eq!(fs.get(Ino::ROOT, "by the first"), b"one");
    fs.unlink(Ino::ROOT, b"by the first").unwrap();
    check(&fs);
    fs.close().unwrap();
    drop(fs);
    let (_third, fs) = place.join_elsewhere(9);
    check(&fs);
}

#[test]
fn a_second_writer_is_noticed_before_histories_part() {
    let (place, first) = Place::found(10);
    first.put(Ino::ROOT, "a", b"1");
    first.sync_store(&mut |_| {}).unwrap();
    let (_other, second) = place.join_elsewhere(11);
    second.put(Ino::ROOT, "b", b"2");
    second.sync_store(&mut |_| {}).unwrap();
    first.put(Ino::ROOT, "c", b"3");
    let refused = first.sync_store(&mut |_| {}).unwrap_err();
    assert!(matches!(refused, keepfs_fs::FsError::Diverged { .. }), "{refused}");
    drop(first);
    // What is on the store is one history, and whole.
    let (_third, fs) = place.join_elsewhere(12);
    assert_eq!(fs.names(Ino::ROOT), ["a", "b"]);
}

#[test]
fn a_store_that_was_rolled_back_is_not_mounted() {
    let (place, fs) = Place::found(13);
    fs.sync_store(&mut |_| {}).unwrap();
    let old = place.store.fork();
    fs.put(Ino::ROOT, "a", b"1");
    fs.close().unwrap();
    drop(fs);
    place.store.roll_back_to(&old);
    let refused = place.try_reopen().err().unwrap();
    assert!(matches!(refused, keepfs_fs::FsError::Rollback { .. }), "{refused}");
}

#[test]
fn commits_while_a_checkpoint_is_written_lose_no_chunk() {
    let (place, fs) = Place::found(14);
    for round in 0..40 {
        std::thread::scope(|scope| {
            scope.spawn(|| fs.sync_store(&mut |_| {}).unwrap());
            for number in 0..20 {
                fs.put(Ino::ROOT, &format!("{round}-{number}"), &noise(round * 100 + number, 3000));
                fs.sync_local().unwrap();
            }
        });
    }
    fs.close().unwrap();
    drop(fs);
    let fs = place.reopen();
    for round in 0..40 {
        for number in 0..20 {
            assert_eq!(fs.get(Ino::ROOT, &format!("{round}-{number}")), noise(round * 100 + number, 3000));
        }
    }
}

#[test]
fn a_byte_at_the_front_costs_a_few_chunks() {
    let (_place, fs) = Place::found(15);
    let mut bytes = noise(15, 60 << 20);
    fs.put(Ino::ROOT, "before", &bytes);
    fs.sync_store(&mut |_| {}).unwrap();
    let sealed = fs.status().space.sealed_len;
    bytes.insert(0, b'x');
    fs.put(Ino::ROOT, "after", &bytes);
    fs.sync_store(&mut |_| {}).unwrap();
    let added = fs.status().space.sealed_len - sealed;
    assert!(added < 5 << 20, "{added} bytes were added");
}

#[test]
fn a_file_that_lost_its_second_name_can_move_after_a_checkpoint() {
    let (place, fs) = Place::found(16);
    fs.put(Ino::ROOT, "a", b"content");
    let ino = fs.lookup(Ino::ROOT, b"a").unwrap().ino;
    fs.link(ino, Ino::ROOT, b"b").unwrap();
    fs.unlink(Ino::ROOT, b"a").unwrap();
    fill(&fs);
    fs.sync_store(&mut |_| {}).unwrap();
    fs.rename((Ino::ROOT, b"b"), (Ino::ROOT, b"c"), RenameMode::Replace).unwrap();
    for number in 0..60 {
        fs.put(Ino::ROOT, &format!("more {number}"), b"x");
    }
    fs.sync_store(&mut |_| {}).unwrap();
    let (_other, joined) = place.join_elsewhere(17);
    assert_eq!(joined.get(Ino::ROOT, "c"), b"content");
}

#[test]
fn what_only_a_parted_machine_has_can_still_be_read() {
    let (place, fs) = Place::found(18);
    fs.put(Ino::ROOT, "both", b"1");
    fs.close().unwrap();
    drop(fs);
    let fs = place.reopen();
    fs.put(Ino::ROOT, "only here", b"2");
    fs.sync_local().unwrap();
    drop(fs);
    let (_other, fs) = place.join_elsewhere(19);
    fs.put(Ino::ROOT, "only here", b"3");
    fs.close().unwrap();
    drop(fs);
    let refused = place.try_reopen().err().unwrap();
    assert!(matches!(refused, keepfs_fs::FsError::Diverged { .. }), "{refused}");
    let fs = place.reopen_read_only();
    assert_eq!(fs.get(Ino::ROOT, "only here"), b"2");
    assert!(fs.unlink(Ino::ROOT, b"only here").is_err());
}

#[test]
fn what_the_store_does_not_take_is_kept_by_the_journal() {
    for weather in [Weather::Full, Weather::ReadOnly, Weather::Offline] {
        let (place, phrase) = Place::found_closed(21);
        let faults = Faults::none();
        let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults.clone()));
        let fs = place.open_quiet(store.clone(), &phrase).unwrap();
        faults.set_weather(weather);
        fs.put(Ino::ROOT, "large", &noise(1, 3 << 20));
        fs.put(Ino::ROOT, "small", b"small");
        fs.sync_local().unwrap();
        drop(fs);
        place.disk.power_cut(21);
        faults.set_weather(Weather::Fair);
        let fs = place.open_quiet(store, &phrase).unwrap();
        assert_eq!(fs.get(Ino::ROOT, "large"), noise(1, 3 << 20), "{weather:?}");
        assert_eq!(fs.get(Ino::ROOT, "small"), b"small");
        fs.sync_store(&mut |_| {}).unwrap();
        let (_other, fs) = place.join_elsewhere(22);
        assert_eq!(fs.get(Ino::ROOT, "large"), noise(1, 3 << 20), "{weather:?}");
    }
}

#[test]
fn a_crash_before_a_full_store_can_be_recovered_from_while_it_is_full() {
    let (place, phrase) = Place::found_closed(23);
    let faults = Faults::none();
    let store: Arc<dyn Store> = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults.clone()));
    let fs = place.open_quiet(store.clone(), &phrase).unwrap();
    faults.set_weather(Weather::Full);
    fs.put(Ino::ROOT, "large", &noise(1, 3 << 20));
    fs.sync_local().unwrap();
    drop(fs);
    place.disk.power_cut(23);
    let fs = place.open_quiet(store, &phrase).unwrap();
    assert_eq!(fs.get(Ino::ROOT, "large"), noise(1, 3 << 20));
    faults.set_weather(Weather::Fair);
    fs.sync_store(&mut |_| {}).unwrap();
    assert_eq!(fs.get(Ino::ROOT, "large"), noise(1, 3 << 20));
}

#[test]
fn what_a_crash_left_in_staging_can_be_read_without_writing() {
    let (place, phrase) = Place::found_closed(24);
    let fs = place.open_quiet(Arc::new(place.store.clone()), &phrase).unwrap();
    fs.put(Ino::ROOT, "large", &noise(1, 9 << 20));
    fs.sync_local().unwrap();
    drop(fs);
    place.disk.power_cut(24);
    let before = place.store.names();
    let fs = place.reopen_read_only();
    assert_eq!(fs.get(Ino::ROOT, "large"), noise(1, 9 << 20));
    assert!(fs.status().damage.is_empty());
    drop(fs);
    assert_eq!(place.store.names(), before);
    assert_eq!(place.reopen().get(Ino::ROOT, "large"), noise(1, 9 << 20));
}

#[test]
fn a_state_that_is_older_than_its_own_log_is_refused() {
    let (place, fs) = Place::found(25);
    fs.put(Ino::ROOT, "before", b"1");
    fs.close().unwrap();
    drop(fs);
    let old = place.with_older_disk();
    let fs = place.reopen();
    fs.put(Ino::ROOT, "after", b"2");
    fs.close().unwrap();
    drop(fs);
    let refused = old.try_reopen().err().unwrap();
    assert!(matches!(refused, keepfs_fs::FsError::StateBehind { .. }), "{refused}");
    assert_eq!(old.reopen_read_only().names(Ino::ROOT), ["before"]);
    assert_eq!(place.reopen().names(Ino::ROOT), ["after", "before"]);
}
