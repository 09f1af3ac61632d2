//! Claims about caches, tried on the one in memory and the one on disk.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::sync::Arc;

use keepfs_store::{BlobCache, MemoryCache, MemoryStore, ObjectName, Store};
use keepfs_stores::{DiskCache, LocalStaging};

/// Runs a claim on both kinds of cache, with a limit of 1000 bytes and a scratch directory.
fn on_each(claim: impl Fn(&dyn BlobCache, &std::path::Path)) {
    let directory = tempfile::tempdir().unwrap();
    claim(&MemoryCache::new(1000), directory.path());
    claim(&DiskCache::open(&directory.path().join("cache"), 1000).unwrap(), directory.path());
}

fn read(cache: &dyn BlobCache, key: &str, len: usize) -> Option<Vec<u8>> {
    let mut out = vec![0; len];
    cache.get(key, 0, &mut out).unwrap().then_some(out)
}

#[test]
fn what_was_put_is_got_in_any_range() {
    on_each(|cache, _| {
        cache.put("o/ab/key", b"0123456789");
        let mut out = [0; 4];
        assert!(cache.get("o/ab/key", 6, &mut out).unwrap());
        assert_eq!(&out, b"6789");
        assert!(!cache.get("o/ab/key", 7, &mut out).unwrap(), "past the end is a miss");
        assert!(!cache.get("o/ab/key", u64::MAX, &mut out).unwrap());
        assert!(!cache.get("o/ab/other", 0, &mut out).unwrap());
        cache.put("o/ab/key", b"new");
        assert_eq!(read(cache, "o/ab/key", 3).unwrap(), b"new");
        assert_eq!(cache.len_total(), 3);
    });
}

#[test]
fn least_recently_used_goes_first() {
    on_each(|cache, _| {
        for key in ["a", "b", "c"] {
            cache.put(key, &[1; 300]);
        }
        assert!(read(cache, "a", 300).is_some());
        assert!(cache.contains("b"), "looking is no use");
        cache.put("d", &[1; 300]);
        let kept = ["a", "b", "c", "d"].map(|key| cache.contains(key));
        assert_eq!(kept, [true, false, true, true]);
        assert_eq!(cache.len_total(), 900);
        cache.set_limit(300);
        assert!(cache.contains("d") && cache.len_total() == 300 && cache.limit() == 300);
    });
}

#[test]
fn longer_than_the_limit_and_bad_keys_are_not_kept() {
    on_each(|cache, _| {
        cache.put("a", b"old");
        cache.put("a", &[1; 1001]);
        assert!(!cache.contains("a"), "the old blob is not passed off as the new one");
        for key in ["", "with space", "newline\n", "ümlaut", &"x".repeat(81)] {
            cache.put(key, b"x");
            assert!(!cache.contains(key), "{key:?}");
        }
        assert_eq!(cache.len_total(), 0);
    });
}

#[test]
fn removed_and_cleared_is_gone() {
    on_each(|cache, _| {
        for key in ["a", "b", "empty"] {
            cache.put(key, if key == "empty" { b"" } else { b"x" });
        }
        cache.remove("a");
        cache.remove("a");
        assert!(read(cache, "a", 1).is_none() && read(cache, "b", 1).is_some());
        cache.clear();
        assert!(!cache.contains("b") && !cache.contains("empty") && cache.len_total() == 0);
        cache.put("b", b"y");
        assert_eq!(read(cache, "b", 1).unwrap(), b"y");
    });
}

#[test]
fn adopted_file_is_moved_in() {
    on_each(|cache, scratch| {
        let file = scratch.join("file");
        std::fs::write(&file, [7; 500]).unwrap();
        cache.put_file("k", &file);
        assert!(!file.exists());
        assert_eq!(read(cache, "k", 500).unwrap(), [7; 500]);
        std::fs::write(&file, [7; 5000]).unwrap();
        cache.put_file("big", &file);
        assert!(!file.exists() && !cache.contains("big"), "too long to keep, removed all the same");
        cache.put_file("missing", &file);
        assert!(!cache.contains("missing"));
    });
}

#[test]
fn disk_cache_survives_its_process_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(directory.path(), 1000).unwrap();
    for key in ["z", "y", "x", "o/ab/%.-_~"] {
        cache.put(key, &[1; 100]);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    drop(cache);
    let cache = DiskCache::open(directory.path(), 300).unwrap();
    let kept = ["z", "y", "x", "o/ab/%.-_~"].map(|key| cache.contains(key));
    assert_eq!(kept, [false, true, true, true]);
    assert_eq!(read(&cache, "o/ab/%.-_~", 100).unwrap(), [1; 100]);
}

#[test]
fn disk_cache_removes_what_is_not_its_own_and_survives_loss() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(directory.path(), 1000).unwrap();
    cache.put("a", b"first");
    cache.put("b", b"second");
    drop(cache);
    let blob = |key: &str| {
        let shards = std::fs::read_dir(directory.path()).unwrap();
        shards.map(|shard| shard.unwrap().path().join(key)).find(|path| path.exists()).unwrap()
    };
    std::fs::write(blob("a").with_file_name("not a key"), "x").unwrap();
    std::fs::write(directory.path().join("tmp/left"), "x").unwrap();
    let cache = DiskCache::open(directory.path(), 1000).unwrap();
    assert!(!blob("a").with_file_name("not a key").exists());
    assert_eq!(std::fs::read_dir(directory.path().join("tmp")).unwrap().count(), 0);
    assert_eq!(cache.len_total(), 11);
    std::fs::remove_file(blob("a")).unwrap();
    assert!(read(&cache, "a", 5).is_none());
    std::fs::write(blob("b"), "sec").unwrap();
    assert!(read(&cache, "b", 6).is_none(), "a blob cut short is a miss");
    assert_eq!(cache.len_total(), 0);
}

#[test]
fn threads_share_a_disk_cache() {
    let directory = tempfile::tempdir().unwrap();
    let cache = DiskCache::open(directory.path(), 20_000).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let cache = &cache;
            scope.spawn(move || {
                for round in 0..300usize {
                    let key = format!("k{}", (round * 7 + usize::from(thread)) % 40);
                    let mut out = [0; 1000];
                    if cache.get(&key, 0, &mut out).unwrap() {
                        assert!(out.iter().all(|byte| *byte == out[0]), "a mixture was read");
                    }
                    cache.put(&key, &[thread; 1000]);
                }
            });
        }
    });
    assert!(cache.len_total() <= 20_000);
    let on_disk: u64 = std::fs::read_dir(directory.path())
        .unwrap()
        .flat_map(|shard| std::fs::read_dir(shard.unwrap().path()).unwrap())
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, cache.len_total());
}

#[test]
fn published_object_moves_into_the_cache() {
    let directory = tempfile::tempdir().unwrap();
    let remote: Arc<dyn Store> = Arc::new(MemoryStore::remote());
    let cache = Arc::new(DiskCache::open(&directory.path().join("cache"), 1 << 20).unwrap());
    let stage = directory.path().join("stage");
    let staging = LocalStaging::with_cache(&stage, remote.clone(), cache.clone()).unwrap();
    let name = ObjectName::immutable("abcdefghijklmnopqrstuvwxyz").unwrap();
    let staged = keepfs_store::Staging::create(&staging, &name).unwrap();
    staged.write_at(0, b"sealed bytes").unwrap();
    staged.publish().unwrap();
    assert_eq!(remote.get(&name, 99).unwrap(), b"sealed bytes");
    assert_eq!(read(&*cache, name.as_str(), 12).unwrap(), b"sealed bytes");
    assert_eq!(std::fs::read_dir(&stage).unwrap().count(), 0);
    cache.clear();
    let mut out = [0; 6];
    staged.read_at(0, &mut out).unwrap();
    assert_eq!(&out, b"sealed", "the handle reads on when the cache has let go");
}
