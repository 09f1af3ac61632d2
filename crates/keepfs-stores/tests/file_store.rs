//! What only a store in a directory can get wrong: other processes, leftovers, unplugged disks, planted files.
#![allow(clippy::unwrap_used, reason = "a failed helper fails its test")]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use keepfs_store::{ObjectName, PutMode, Retry, Store, StoreError};
use keepfs_stores::{OpenError, OpenOptions, known_schemes, normalize_url, open};

fn name(first: char) -> ObjectName {
    ObjectName::immutable(&format!("{first}bcdefghijklmnopqrstuvwxyz")).unwrap()
}

fn create(path: &Path) -> Arc<dyn Store> {
    open(path.to_str().unwrap(), OpenOptions { create: true }).unwrap()
}

/// A new store in a directory of its own.
fn new_store() -> (tempfile::TempDir, PathBuf, Arc<dyn Store>) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let store = create(&path);
    (directory, path, store)
}

fn is_unavailable<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Unavailable { retry: Retry::Soon, .. }))
}

const RACER_STORE: &str = "KEEPFS_TEST_RACER_STORE";
const RACER_NUMBER: &str = "KEEPFS_TEST_RACER_NUMBER";
const RACES: usize = 200;

fn race_name(race: usize) -> ObjectName {
    let digits: String = (0..5).map(|place| char::from(b'a' + (race >> (4 * place) & 15) as u8)).collect();
    ObjectName::immutable(&format!("{digits}aaaaaaaaaaaaaaaaaaaaa")).unwrap()
}

/// Not a test by itself: the body of each process that `processes_racing_to_create_have_one_winner` starts.
#[test]
fn racer() {
    let Ok(path) = std::env::var(RACER_STORE) else { return };
    let number = std::env::var(RACER_NUMBER).unwrap();
    let store = open(&path, OpenOptions::default()).unwrap();
    while !Path::new(&path).join("start").exists() {
        std::thread::yield_now();
    }
    let mut won = Vec::new();
    for race in 0..RACES {
        let bytes = number.repeat(5000).into_bytes();
        match store.put(&race_name(race), &bytes, PutMode::Create) {
            Ok(()) => won.push(race.to_string()),
            Err(StoreError::Exists { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    std::fs::write(Path::new(&path).join(format!("won-{number}")), won.join(" ")).unwrap();
}

#[test]
fn processes_racing_to_create_have_one_winner() {
    let (_directory, path, store) = new_store();
    let mut racers: Vec<_> = (1..=3)
        .map(|number| {
            Command::new(std::env::current_exe().unwrap())
                .args(["racer", "--exact", "--nocapture"])
                .env(RACER_STORE, &path)
                .env(RACER_NUMBER, number.to_string())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    std::fs::write(path.join("start"), "").unwrap();
    for racer in &mut racers {
        assert!(racer.wait().unwrap().success());
    }
    let mut winners = vec![Vec::new(); RACES];
    for number in 1..=3 {
        let won = std::fs::read_to_string(path.join(format!("won-{number}"))).unwrap();
        for race in won.split_whitespace() {
            winners[race.parse::<usize>().unwrap()].push(number);
        }
    }
    for (race, winners) in winners.iter().enumerate() {
        assert_eq!(winners.len(), 1, "race {race} was won by {winners:?}");
        let bytes = store.get(&race_name(race), 5000).unwrap();
        assert_eq!(bytes, winners[0].to_string().repeat(5000).into_bytes());
    }
    assert_eq!(std::fs::read_dir(path.join("tmp")).unwrap().count(), 0, "losers leave nothing behind");
}

#[test]
fn staged_object_of_a_living_process_is_not_discarded_by_another() {
    let (_directory, path, store) = new_store();
    let staged = store.staging().unwrap().create(&name('a')).unwrap();
    staged.write_at(0, b"mine").unwrap();
    let other = create(&path);
    let others = other.staging().unwrap();
    assert_eq!(others.list().unwrap(), [name('a')]);
    assert!(matches!(others.reopen(&name('a')), Err(StoreError::Denied { .. })));
    assert!(matches!(others.discard(&name('a')), Err(StoreError::Denied { .. })));
    drop(staged);
    others.discard(&name('a')).unwrap();
    assert!(others.list().unwrap().is_empty());
}

#[test]
fn vanished_directory_is_unavailable_and_not_an_empty_store() {
    let (directory, path, store) = new_store();
    store.put(&name('a'), b"here", PutMode::Create).unwrap();
    store.put(&ObjectName::vault(), b"header", PutMode::Create).unwrap();
    let away = directory.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    for state in ["no directory", "an empty mount point"] {
        assert!(is_unavailable(store.get(&name('b'), 9)), "{state}");
        assert!(is_unavailable(store.len(&name('b'))), "{state}");
        assert!(is_unavailable(store.delete(&name('b'))), "{state}");
        let _ = std::fs::create_dir(&path);
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 0, "nothing is written to the empty mount point");
    std::fs::remove_dir(&path).unwrap();
    std::fs::rename(&away, &path).unwrap();
    assert_eq!(store.get(&name('a'), 9).unwrap(), b"here");
    assert!(matches!(store.get(&name('b'), 9), Err(StoreError::NotFound { .. })));
}

#[test]
fn disk_that_comes_back_is_used_again() {
    let (directory, path, store) = new_store();
    store.put(&name('a'), b"here", PutMode::Create).unwrap();
    let away = directory.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    // Another inode under the same path: what a disk mounted anew looks like.
    create(&path).put(&name('b'), b"on the other", PutMode::Create).unwrap();
    assert!(is_unavailable(store.get(&name('b'), 99)), "the call that finds out fails");
    assert_eq!(store.get(&name('b'), 99).unwrap(), b"on the other");
    store.put(&name('c'), b"new", PutMode::Create).unwrap();
    assert!(path.join(name('c').as_str()).exists());
}

#[test]
fn files_and_directories_are_private() {
    let (_directory, path, store) = new_store();
    store.put(&name('a'), b"x", PutMode::Create).unwrap();
    store.put(&ObjectName::vault(), b"x", PutMode::Create).unwrap();
    let staged = store.staging().unwrap().create(&name('b')).unwrap();
    staged.publish().unwrap();
    let mode = |entry: &str| std::fs::metadata(path.join(entry)).unwrap().permissions().mode() & 0o7777;
    for directory in ["", "h", "o", "o/ab", "tmp", "stage"] {
        assert_eq!(mode(directory), 0o700, "{directory}");
    }
    for file in ["vault", name('a').as_str(), name('b').as_str()] {
        assert_eq!(mode(file), 0o600, "{file}");
    }
}

#[test]
fn old_leftovers_are_removed_at_opening_and_young_ones_and_staged_stay() {
    let (_directory, path, store) = new_store();
    store.staging().unwrap().create(&name('a')).unwrap().sync().unwrap();
    let staged = path.join("stage").join(name('a').id().unwrap());
    let (old, young) = (path.join("tmp/old"), path.join("tmp/young"));
    for file in [&old, &young] {
        std::fs::write(file, "left").unwrap();
    }
    let two_days_ago = SystemTime::now() - Duration::from_secs(2 * 24 * 60 * 60);
    for file in [&old, &staged] {
        std::fs::File::options().write(true).open(file).unwrap().set_modified(two_days_ago).unwrap();
    }
    create(&path);
    assert!(!old.exists() && young.exists() && staged.exists());
}

#[test]
fn planted_pipes_links_and_directories_are_refused_without_waiting() {
    let (_directory, path, store) = new_store();
    store.put(&name('a'), b"x", PutMode::Create).unwrap();
    let (pipe, link, directory) = (name('b'), name('c'), name('d'));
    for name in [&pipe, &link, &directory] {
        std::fs::create_dir_all(path.join(name.as_str()).parent().unwrap()).unwrap();
    }
    assert!(Command::new("mkfifo").arg(path.join(pipe.as_str())).status().unwrap().success());
    std::os::unix::fs::symlink("/etc/passwd", path.join(link.as_str())).unwrap();
    std::fs::create_dir(path.join(directory.as_str())).unwrap();
    for name in [&pipe, &link, &directory] {
        for error in [
            store.get(name, 1 << 20).unwrap_err(),
            store.get_range(name, 0, &mut [0]).unwrap_err(),
            store.len(name).unwrap_err(),
        ] {
            assert!(matches!(error, StoreError::Io { retry: Retry::Never, .. }), "{name}: {error:?}");
        }
    }
    let mut listed = Vec::new();
    store
        .list("", &mut |info| {
            listed.push(info.name);
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(listed, [name('a')]);
}

#[test]
fn foreign_files_are_not_listed() {
    let (_directory, path, store) = new_store();
    store.put(&name('a'), b"x", PutMode::Create).unwrap();
    for file in ["o/ab/notes.txt", "o/readme", "h/.hidden", "vault.old", "o/ab/ABCDEFGHIJKLMNOPQRSTUVWXYZ"] {
        std::fs::write(path.join(file), "foreign").unwrap();
    }
    std::fs::create_dir(path.join("o/AB")).unwrap();
    let mut listed = 0;
    store
        .list("", &mut |_| {
            listed += 1;
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(listed, 1);
}

#[test]
fn tidied_directories_are_made_again() {
    let (_directory, path, store) = new_store();
    store.put(&name('a'), b"x", PutMode::Create).unwrap();
    store.delete(&name('a')).unwrap();
    for directory in ["o/ab", "tmp", "stage"] {
        std::fs::remove_dir(path.join(directory)).unwrap();
    }
    store.put(&name('a'), b"y", PutMode::Create).unwrap();
    std::fs::remove_dir(path.join("h")).unwrap();
    let head = ObjectName::head(name('a').id().unwrap()).unwrap();
    store.put(&head, b"z", PutMode::Replace).unwrap();
    store.staging().unwrap().create(&name('b')).unwrap().publish().unwrap();
}

#[test]
fn many_objects_are_read_in_turn_without_holding_them_all_open() {
    let (_directory, _path, store) = new_store();
    let names: Vec<_> = (0..300).map(race_name).collect();
    for (index, name) in names.iter().enumerate() {
        store.put(name, &[index as u8; 64], PutMode::Create).unwrap();
    }
    for _ in 0..2 {
        for (index, name) in names.iter().enumerate() {
            let mut out = [0; 8];
            store.get_range(name, 56, &mut out).unwrap();
            assert_eq!(out, [index as u8; 8]);
        }
    }
    let open = std::fs::read_dir("/proc/self/fd").unwrap().count();
    assert!(open < 250, "{open} descriptors are open");
}

#[test]
fn reserved_space_is_given_back_when_published() {
    let (_directory, path, store) = new_store();
    let staged = store.staging().unwrap().create(&name('a')).unwrap();
    staged.write_at(0, &[1; 10_000]).unwrap();
    staged.publish().unwrap();
    let allocated = std::fs::metadata(path.join(name('a').as_str())).unwrap().blocks() * 512;
    assert!(allocated <= 64 << 10, "{allocated} bytes are allocated for 10000");
}

#[test]
fn publication_cut_off_between_link_and_unlink_is_finished() {
    let (_directory, path, store) = new_store();
    let staged = store.staging().unwrap().create(&name('a')).unwrap();
    staged.write_at(0, b"linked").unwrap();
    let from = path.join("stage").join(name('a').id().unwrap());
    std::fs::create_dir(path.join("o/ab")).unwrap();
    std::fs::hard_link(&from, path.join(name('a').as_str())).unwrap();
    staged.publish().unwrap();
    assert!(!from.exists());
    assert_eq!(store.get(&name('a'), 9).unwrap(), b"linked");
}

#[test]
fn device_is_that_of_the_directory() {
    let (directory, _path, store) = new_store();
    assert_eq!(store.device(), Some(std::fs::metadata(directory.path()).unwrap().dev()));
}

#[test]
fn nothing_is_created_unless_asked_and_nothing_foreign_is_moved_into() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let result = open(missing.to_str().unwrap(), OpenOptions::default());
    assert!(matches!(result, Err(OpenError::NotThere { .. })));
    assert!(!missing.exists());
    let result = open(directory.path().to_str().unwrap(), OpenOptions::default());
    assert!(matches!(result, Err(OpenError::NotThere { .. })), "an empty directory is no store");
    let occupied = directory.path().join("occupied");
    std::fs::create_dir(&occupied).unwrap();
    std::fs::write(occupied.join("thesis.txt"), "dear").unwrap();
    let result = open(occupied.to_str().unwrap(), OpenOptions { create: true });
    assert!(matches!(result, Err(OpenError::Occupied { .. })));
    assert_eq!(std::fs::read_dir(&occupied).unwrap().count(), 1);
    std::fs::create_dir(directory.path().join("disk")).unwrap();
    std::fs::create_dir(directory.path().join("disk/lost+found")).unwrap();
    create(&directory.path().join("disk"));
}

#[test]
fn errors_of_urls_say_what_would_work() {
    let message = |url| match open(url, OpenOptions::default()) {
        Ok(_) => panic!("{url} was opened"),
        Err(error) => error.to_string(),
    };
    assert!(message("gopher://hole").contains("gopher"));
    assert!(known_schemes().iter().all(|scheme| message("gopher://hole").contains(scheme)));
    assert!(message("file://host/share").contains("file:///"));
    assert!(message("file:///tmp?colour=red").contains("colour"));
    assert!(message("file:///nowhere/at/all").contains("/nowhere/at/all"));
}

#[test]
fn paths_become_urls_that_keep_their_meaning() {
    let here = std::env::current_dir().unwrap();
    let url = normalize_url("some dir").unwrap();
    assert_eq!(url, format!("file://{}/some%20dir", here.display()));
    assert_eq!(normalize_url(&url).unwrap(), url);
    assert_eq!(normalize_url("FILE:///a?staging=local").unwrap(), "file:///a?staging=local");
    assert!(normalize_url("file:///a?staging=maybe").is_err());
    assert!(normalize_url("gopher://hole").is_err());
}
