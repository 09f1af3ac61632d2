//! The contract, on every disk there is; and what only the failing one does.

use std::path::PathBuf;

use super::*;

/// A directory on the real disk that goes away with the test.
pub(crate) struct TestDir(pub(crate) PathBuf);

impl TestDir {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("keepfs-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn each_disk(name: &str, claim: impl Fn(&dyn LocalDisk, &Path)) {
    let dir = TestDir::new(name);
    claim(&OsDisk, &dir.0);
    claim(&FaultyDisk::new(Path::new("/root")), Path::new("/root"));
}

fn kind<T>(result: io::Result<T>) -> io::ErrorKind {
    result.map(drop).unwrap_err().kind()
}

#[test]
fn files_hold_what_is_written() {
    each_disk("files", |disk, root| {
        let path = root.join("file");
        assert_eq!(kind(disk.open(&path)), io::ErrorKind::NotFound);
        let file = disk.create(&path).unwrap();
        assert_eq!(kind(disk.create(&path)), io::ErrorKind::AlreadyExists);
        file.write_at(10, b"hello").unwrap();
        assert_eq!(file.length().unwrap(), 15);
        let mut out = [1; 15];
        disk.open(&path).unwrap().read_at(0, &mut out).unwrap();
        assert_eq!(&out, b"\0\0\0\0\0\0\0\0\0\0hello");
        assert_eq!(kind(file.read_at(1, &mut out)), io::ErrorKind::UnexpectedEof);
        file.set_len(12).unwrap();
        file.set_len(15).unwrap();
        file.read_at(0, &mut out).unwrap();
        assert_eq!(&out[10..], b"he\0\0\0");
        file.allocate(8000).unwrap();
        file.allocate(100).unwrap();
        assert_eq!(file.length().unwrap(), 8000);
        file.sync_data().unwrap();
    });
}

#[test]
fn names_are_listed_replaced_and_removed() {
    each_disk("names", |disk, root| {
        let dir = root.join("dir");
        disk.create_dir(&dir).unwrap();
        disk.create_dir(&dir).unwrap();
        assert_eq!(kind(disk.create(&root.join("none/file"))), io::ErrorKind::NotFound);
        disk.create(&dir.join("a")).unwrap().write_at(0, b"a").unwrap();
        disk.create(&dir.join("b")).unwrap();
        disk.rename(&dir.join("a"), &dir.join("b")).unwrap();
        assert_eq!(disk.list(&dir).unwrap(), ["b"]);
        assert_eq!(disk.open(&dir.join("b")).unwrap().length().unwrap(), 1);
        disk.sync_dir(&dir).unwrap();
        disk.remove(&dir.join("b")).unwrap();
        assert_eq!(kind(disk.remove(&dir.join("b"))), io::ErrorKind::NotFound);
        assert_eq!(kind(disk.rename(&dir.join("b"), &dir.join("c"))), io::ErrorKind::NotFound);
        assert!(disk.list(&dir).unwrap().is_empty());
    });
}

#[test]
fn lock_has_one_holder() {
    each_disk("lock", |disk, root| {
        let path = root.join("lock");
        let held = disk.lock(&path).unwrap();
        assert_eq!(kind(disk.lock(&path)), io::ErrorKind::WouldBlock);
        drop(held);
        disk.lock(&path).unwrap();
    });
}

#[test]
fn power_cut_keeps_what_was_synced_and_tears_the_rest_by_sectors() {
    let (mut lost, mut torn) = (0, 0);
    for seed in 0..100 {
        let root = Path::new("/root");
        let disk = FaultyDisk::new(root);
        let file = disk.create(&root.join("file")).unwrap();
        file.write_at(0, &[1; 8 * SECTOR_LEN]).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(root).unwrap();
        file.write_at(0, &[2; 4 * SECTOR_LEN]).unwrap();
        disk.create(&root.join("other")).unwrap();
        disk.power_cut(seed);
        assert!(file.length().is_err(), "a handle outlived the power");
        lost += usize::from(disk.peek(&root.join("other")).is_none());
        let bytes = disk.peek(&root.join("file")).unwrap();
        assert_eq!(bytes[4 * SECTOR_LEN..], [1; 4 * SECTOR_LEN]);
        let sectors: Vec<u8> = bytes.chunks(SECTOR_LEN).map(|sector| sector[0]).collect();
        assert!(bytes.chunks(SECTOR_LEN).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        torn += usize::from(sectors[..4].contains(&1) && sectors[..4].contains(&2));
    }
    assert!((20..80).contains(&lost) && torn > 50, "{lost} {torn}");
}

#[test]
fn failed_sync_forgets_what_it_should_have_written() {
    let root = Path::new("/root");
    let disk = FaultyDisk::new(root);
    let file = disk.create(&root.join("file")).unwrap();
    file.write_at(0, &[1; SECTOR_LEN]).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(root).unwrap();
    file.write_at(0, &[2; SECTOR_LEN]).unwrap();
    disk.set_trouble(Some(Trouble::Fail { call: 0, errno: libc::EIO }));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO));
    file.sync_data().unwrap();
    assert_eq!(disk.peek(&root.join("file")).unwrap(), [2; SECTOR_LEN]);
    disk.power_cut(1);
    assert_eq!(disk.peek(&root.join("file")).unwrap(), [1; SECTOR_LEN]);
}

#[test]
fn a_lost_answer_leaves_its_effect() {
    let root = Path::new("/root");
    let disk = FaultyDisk::new(root);
    disk.set_trouble(Some(Trouble::FailAfter { call: 0, errno: libc::EIO }));
    assert!(disk.create(&root.join("file")).is_err());
    let file = disk.open(&root.join("file")).unwrap();
    disk.set_trouble(Some(Trouble::FailAfter { call: 0, errno: libc::EIO }));
    assert!(file.write_at(0, b"bytes").is_err());
    assert_eq!(disk.peek(&root.join("file")).unwrap(), b"bytes");
    file.write_at(0, b"other").unwrap();
}

#[test]
fn what_a_process_leaves_unsynced_is_readable_and_lost_by_the_power_cut() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..64 {
        let root = Path::new("/root");
        let disk = FaultyDisk::new(root);
        let path = root.join("file");
        let file = disk.create(&path).unwrap();
        disk.sync_dir(root).unwrap();
        file.write_at(0, b"bytes").unwrap();
        disk.stop();
        assert!(disk.is_stopped() && file.write_at(0, b"later").is_err());
        disk.end_process();
        assert!(!disk.is_stopped() && file.write_at(0, b"later").is_err(), "its handles are dead");
        assert_eq!(disk.peek(&path).unwrap(), b"bytes");
        disk.power_cut(seed);
        match &disk.peek(&path).unwrap()[..] {
            b"bytes" => kept += 1,
            _ => lost += 1,
        }
    }
    assert!(kept > 5 && lost > 5, "{kept} kept, {lost} lost");
}
