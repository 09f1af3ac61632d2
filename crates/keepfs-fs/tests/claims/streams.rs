//! A file written in one go is cut where its content says, in whatever order its writes arrive.

use std::ops::ControlFlow;
use std::time::Duration;

use keepfs_format::ids::Ino;
use keepfs_fs::Fs;
use keepfs_store::Store;

use crate::support::{Calls, Place, noise};

const MIB: usize = 1 << 20;

fn stored_len(place: &Place) -> u64 {
    let mut total = 0;
    place
        .store
        .list("", &mut |object| {
            total += object.len;
            ControlFlow::Continue(())
        })
        .unwrap();
    total
}

/// Writes `content` in pieces of a MiB; piece `late` arrives after `overtaken_by` that come later in the file.
fn write_overtaken(fs: &Fs, name: &str, content: &[u8], (late, overtaken_by): (usize, usize)) {
    let (_, handle) = fs.file(Ino::ROOT, name);
    let mut order: Vec<usize> = (0..content.len().div_ceil(MIB)).collect();
    let overtaken = order.remove(late);
    order.insert(late + overtaken_by, overtaken);
    for at in order {
        if at == overtaken {
            // Long enough for the background to look at what is there without it.
            std::thread::sleep(Duration::from_millis(50));
        }
        let bytes = &content[at * MIB..content.len().min((at + 1) * MIB)];
        assert_eq!(fs.write(handle, (at * MIB) as u64, bytes, false).unwrap(), bytes.len());
    }
    fs.release(handle).unwrap();
}

#[test]
fn overtaken_writes_move_no_boundary() {
    let (place, fs) = Place::found_calm(7);
    let content = noise(3, 64 * MIB + 12_345);
    fs.put(Ino::ROOT, "in order", &content);
    fs.sync_store(&mut |_| {}).unwrap();
    for (number, overtaken) in [(9, 1), (20, 20), (3, 40), (0, 30)].into_iter().enumerate() {
        let before = stored_len(&place);
        let name = format!("overtaken {number}");
        write_overtaken(&fs, &name, &content, overtaken);
        fs.sync_store(&mut |_| {}).unwrap();
        let growth = stored_len(&place) - before;
        assert!(growth < MIB as u64, "{overtaken:?}: the same bytes again cost {growth} bytes");
        assert!(fs.get(Ino::ROOT, &name) == content, "{overtaken:?}");
    }
}

#[test]
fn a_stream_with_a_gap_that_never_comes_ends_in_chunks() {
    let (_place, fs) = Place::found_calm(9);
    let content = noise(5, 80 * MIB);
    let (attr, handle) = fs.file(Ino::ROOT, "gap");
    for at in (1..80).filter(|at| *at != 5) {
        fs.write(handle, (at * MIB) as u64, &content[at * MIB..(at + 1) * MIB], false).unwrap();
    }
    fs.release(handle).unwrap();
    fs.sync_store(&mut |_| {}).unwrap();
    let mut expected = content;
    expected[..MIB].fill(0);
    expected[5 * MIB..6 * MIB].fill(0);
    assert!(fs.get(Ino::ROOT, "gap") == expected, "inode {}", attr.ino.0);
}

#[test]
fn bytes_written_again_while_they_are_sealed_stay_the_newest() {
    let (place, fs) = Place::found_calm(11);
    let (_, handle) = fs.file(Ino::ROOT, "rewritten");
    // Long runs over the same bytes, shifted against each other, faster than they can be sealed.
    let mut expected = vec![0; 24 * MIB];
    for round in 0..12 {
        let content = noise(20 + round, 20 * MIB);
        let start = (round as usize * 3 % 5) * (MIB - 4321);
        for at in (0..content.len()).step_by(MIB) {
            let bytes = &content[at..at + MIB];
            fs.write(handle, (start + at) as u64, bytes, false).unwrap();
            expected[start + at..start + at + MIB].copy_from_slice(bytes);
        }
        if round % 4 == 3 {
            fs.fsync(handle, false).unwrap();
        }
    }
    let end = expected.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
    expected.truncate(end);
    assert!(fs.get(Ino::ROOT, "rewritten") == expected, "while it is open");
    fs.release(handle).unwrap();
    fs.sync_store(&mut |_| {}).unwrap();
    assert!(fs.get(Ino::ROOT, "rewritten") == expected, "when everything is in chunks");
    fs.close().unwrap();
    drop(fs);
    let fs = place.reopen();
    assert!(fs.get(Ino::ROOT, "rewritten") == expected, "after the next mount");
}
