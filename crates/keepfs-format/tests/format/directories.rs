//! Directory objects: equal trees make equal bytes, and one change makes one new leaf.

use keepfs_format::FormatError;
use keepfs_format::directory::{
    Content, DirectoryEntry, DirectoryReader, DirectoryWriter, FileRecord, InodeReader, InodeWriter, Node,
    ObjectRef,
};
use keepfs_format::ids::{Ino, MachineTag};
use keepfs_format::op::{Inode, Kind};

use crate::support::{
    Chunks, DIRECTORY, Dice, all_entries, directory_ino, entry, file, file_entry, inode, keys, number, time,
};

fn write(entries: &[DirectoryEntry], chunks: &mut Chunks) -> ObjectRef {
    let keys = keys();
    let mut writer = DirectoryWriter::new(&keys, DIRECTORY);
    for entry in entries {
        writer.push(entry, &mut |bytes| chunks.put(bytes)).unwrap();
    }
    writer.finish(&mut |bytes| chunks.put(bytes)).unwrap()
}

fn read(object: &ObjectRef, chunks: &Chunks) -> Vec<DirectoryEntry> {
    let mut entries = Vec::new();
    let mut reader = DirectoryReader::new(DIRECTORY);
    for leaf in object.leaves(100_000, &mut |id| chunks.get(id)).unwrap() {
        reader.leaf(&chunks.0[&leaf], &mut |entry| entries.push(entry)).unwrap();
    }
    entries
}

fn many(count: u64) -> Vec<DirectoryEntry> {
    (0..count).map(|n| file_entry(&format!("file {n:07}"), n, DIRECTORY)).collect()
}

/// One leaf of these entries.
pub(crate) fn leaf(entries: &[DirectoryEntry]) -> Vec<u8> {
    let mut chunks = Chunks::default();
    let object = write(entries, &mut chunks);
    assert_eq!((object.depth, object.ids.len()), (0, 1), "the sample happens to be one leaf");
    chunks.0.remove(&object.ids[0]).unwrap()
}

#[test]
fn entries_of_all_sorts_come_back() {
    let mut chunks = Chunks::default();
    let entries = all_entries(DIRECTORY);
    let object = write(&entries, &mut chunks);
    assert_eq!(read(&object, &chunks), entries);
    assert_eq!(write(&[], &mut chunks), ObjectRef::default());
}

#[test]
fn random_records_come_back() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let entries: Vec<_> = (0..50).map(|n| random_entry(&mut dice, n)).collect();
        let mut chunks = Chunks::default();
        let object = write(&entries, &mut chunks);
        assert_eq!(read(&object, &chunks), entries, "seed {seed}");
    }
}

fn random_entry(dice: &mut Dice, n: u64) -> DirectoryEntry {
    let mut record = file(dice.below(1 << 20), DIRECTORY);
    let times = [time(0), time(1), time(2)];
    let mut pick = || times[dice.below(3) as usize];
    record.inode.mtime = pick();
    record.inode.ctime = pick();
    record.inode.btime = pick();
    record.inode.atime = pick();
    if dice.below(3) == 0 {
        record.inode.attr_stamp.machine = MachineTag(1 + dice.below(3) as u32);
        record.inode.content_stamp.machine = MachineTag(1 + dice.below(3) as u32);
        record.inode.content_stamp.hlc.0 = dice.next();
    }
    if dice.below(4) == 0 {
        record.inode.mode = dice.below(0o10000) as u16;
        record.inode.uid = dice.next() as u32;
    }
    if dice.below(4) == 0 {
        record.inode.size += dice.below(1000);
    }
    if dice.below(5) == 0 {
        let name = dice.bytes(5).into_iter().map(|byte| byte | 1).collect();
        let len = dice.below(300) as usize;
        record.inode.xattrs = vec![(name, dice.bytes(len).into())];
    }
    entry(&format!("{n:03} {}", dice.below(1000)), dice.below(1 << 30), Node::File(Box::new(record)))
}

#[test]
fn one_entry_more_or_less_changes_one_leaf() {
    for count in [2_000, 20_000, 200_000] {
        let mut chunks = Chunks::default();
        let mut entries = many(count);
        let before_object = write(&entries, &mut chunks);
        let before = chunks.0.len();
        let at = count as usize / 3;
        let name = format!("file {at:07} and one more");
        entries.insert(at + 1, file_entry(&name, count, DIRECTORY));
        write(&entries, &mut chunks);
        // The leaf itself, and one list on every level above it (two where the new id ends a list).
        let new = chunks.0.len() - before;
        let levels = usize::from(before_object.depth);
        assert!(new <= 1 + 2 * levels, "{new} new objects among {before} at depth {levels}");
        entries.remove(at + 1);
        assert_eq!(write(&entries, &mut chunks), before_object);
    }
}

#[test]
fn leaves_are_of_a_useful_size() {
    let mut chunks = Chunks::default();
    let object = write(&many(100_000), &mut chunks);
    let leaves = object.leaves(10_000, &mut |id| chunks.get(id)).unwrap();
    let sizes: Vec<usize> = leaves.iter().map(|id| chunks.0[id].len()).collect();
    let mean = sizes.iter().sum::<usize>() / sizes.len();
    assert!((24 << 10..96 << 10).contains(&mean), "mean {mean}");
    assert!(sizes.iter().all(|len| *len <= 256 << 10));
    let each = sizes.iter().sum::<usize>() / 100_000;
    assert!(each <= 64, "{each} bytes a file of one chunk, its name of 12 included");
}

#[test]
fn a_leaf_ends_at_its_limit_whatever_the_names_say() {
    let mut entries = many(50);
    for entry in &mut entries {
        if let Node::File(record) = &mut entry.node {
            let value = vec![7; 60_000].into_boxed_slice();
            record.inode.xattrs = vec![(b"user.a".as_slice().into(), value)];
        }
    }
    let mut chunks = Chunks::default();
    let object = write(&entries, &mut chunks);
    assert!(chunks.0.values().all(|leaf| leaf.len() <= 256 << 10));
    assert_eq!(read(&object, &chunks), entries);
}

#[test]
fn bytes_of_a_leaf_that_are_read_are_the_only_ones_of_what_they_mean() {
    let bytes = leaf(&all_entries(DIRECTORY));
    let parse = |bytes: &[u8]| {
        let mut entries = Vec::new();
        DirectoryReader::new(DIRECTORY).leaf(bytes, &mut |entry| entries.push(entry)).map(|()| entries)
    };
    let mut read = 0;
    for at in 0..bytes.len() {
        for value in 0..=255 {
            let mut other = bytes.clone();
            other[at] = value;
            if let Ok(entries) = parse(&other) {
                let mut chunks = Chunks::default();
                let object = write(&entries, &mut chunks);
                // A changed name may start a leaf of its own; the first leaf is then a prefix.
                if object.ids.len() == 1 {
                    assert_eq!(chunks.0[&object.ids[0]], other, "byte {at} became {value}");
                    read += 1;
                }
            }
        }
    }
    assert!(read > bytes.len());
}

#[test]
fn truncated_leaves_are_refused_or_shorter() {
    let entries = all_entries(DIRECTORY);
    let bytes = leaf(&entries);
    let mut whole = 0;
    for end in 0..bytes.len() {
        let mut count = 0;
        if DirectoryReader::new(DIRECTORY).leaf(&bytes[..end], &mut |_| count += 1).is_ok() {
            assert!(count > 0 && count < entries.len());
            whole += 1;
        }
    }
    // A cut between entries is a leaf, but its id is another one: the reference above does not name it.
    assert_eq!(whole, entries.len() - 1);
}

#[test]
fn entries_that_break_a_rule_are_not_written() {
    let good = file(1, DIRECTORY);
    let with = |change: &dyn Fn(&mut FileRecord)| {
        let mut record = good.clone();
        change(&mut record);
        entry("name", 1, Node::File(Box::new(record)))
    };
    let directory = |inode: Inode| {
        entry("name", 1, Node::Directory { inode: Box::new(inode), children: ObjectRef::default() })
    };
    let bad = [
        with(&|record| record.inode.nlink = 2),
        with(&|record| record.inode.parent = Ino::ROOT),
        with(&|record| record.inode.mode = 0o10000),
        with(&|record| record.inode.ino = Ino(0)),
        with(&|record| record.inode.ino = directory_ino(1)),
        with(&|record| record.inode.size = 10),
        with(&|record| record.inode.rdev = 1),
        with(&|record| record.inode.target = b"x".as_slice().into()),
        with(&|record| record.inode.mtime.nanos = 1_000_000_000),
        with(&|record| record.inode.attr_stamp.machine = MachineTag(0)),
        with(&|record| record.inode.kind = Kind::Directory),
        with(&|record| record.inode.kind = Kind::Fifo),
        with(&|record| record.inode.kind = Kind::Symlink),
        with(&|record| record.content = Content::Listed(ObjectRef::default())),
        with(&|record| record.inode.xattrs = vec![(Box::default(), Box::default())]),
        with(&|record| {
            let xattr = |name: &[u8]| (name.into(), Box::default());
            record.inode.xattrs = vec![xattr(b"b"), xattr(b"a")];
        }),
        with(&|record| {
            let xattr = |n: u8| (vec![b'a', n + 1].into(), vec![0; 65_536].into());
            record.inode.xattrs = (0..17).map(xattr).collect();
        }),
        directory(inode(Ino(number(1)), Kind::Directory, DIRECTORY)),
        directory(inode(directory_ino(1), Kind::File, DIRECTORY)),
        directory(Inode { size: 1, ..inode(directory_ino(1), Kind::Directory, DIRECTORY) }),
        entry("name", 1, Node::Shared { ino: directory_ino(1), kind: Kind::Directory }),
        entry("a/b", 1, Node::File(Box::new(good.clone()))),
    ];
    let keys = keys();
    for entry in bad {
        let mut writer = DirectoryWriter::new(&keys, DIRECTORY);
        let mut chunks = Chunks::default();
        let result: Result<(), FormatError> = writer.push(&entry, &mut |bytes| chunks.put(bytes));
        assert!(result.is_err(), "{entry:?}");
    }
    let mut writer = DirectoryWriter::new(&keys, DIRECTORY);
    let mut chunks = Chunks::default();
    let entry = file_entry("b", 1, DIRECTORY);
    writer.push::<FormatError>(&entry, &mut |bytes| chunks.put(bytes)).unwrap();
    for name in ["b", "a"] {
        let entry = file_entry(name, 1, DIRECTORY);
        assert!(writer.push::<FormatError>(&entry, &mut |bytes| chunks.put(bytes)).is_err());
    }
}

#[test]
fn inodes_with_several_names_come_back() {
    let keys = keys();
    let records: Vec<FileRecord> = (1..5000)
        .map(|n| {
            let mut record = file(n, Ino(0));
            record.inode.nlink = 2 + n as u32 % 3;
            record
        })
        .collect();
    let mut chunks = Chunks::default();
    let mut writer = InodeWriter::new(&keys);
    for record in &records {
        writer.push(record, &mut |bytes| chunks.put(bytes)).unwrap();
    }
    let object = writer.finish(&mut |bytes| chunks.put(bytes)).unwrap();
    let mut back = Vec::new();
    let mut reader = InodeReader::new();
    for leaf in object.leaves(1000, &mut |id| chunks.get(id)).unwrap() {
        reader.leaf(&chunks.0[&leaf], &mut |record| back.push(record)).unwrap();
    }
    assert_eq!(back, records);
    assert!(object.leaves(1000, &mut |id| chunks.get(id)).unwrap().len() > 2);

    let mut writer = InodeWriter::new(&keys);
    let mut bad = file(1, Ino(0));
    bad.inode.nlink = 0;
    assert!(writer.push::<FormatError>(&bad, &mut |bytes| chunks.put(bytes)).is_err());
    bad.inode.nlink = 2;
    bad.inode.parent = DIRECTORY;
    assert!(writer.push::<FormatError>(&bad, &mut |bytes| chunks.put(bytes)).is_err());
}
