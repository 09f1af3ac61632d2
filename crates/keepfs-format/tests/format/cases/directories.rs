//! Vectors of directory objects.

use keepfs_format::codec::Writer;
use keepfs_format::directory::{Content, DirectoryEntry, Extent, InodeWriter, RefBuilder, write_content};

use crate::directories::leaf;
use crate::support::{Chunks, DIRECTORY, all_entries, chunk_id, file, keys};
use crate::vectors::Vector;

pub(crate) fn all() -> Vec<Vector> {
    let mut all = good();
    all.extend(leaves());
    all.extend(records());
    all.extend(contents());
    all.extend(others());
    all
}

fn good() -> Vec<Vector> {
    let entries = all_entries(DIRECTORY);
    let mut vectors: Vec<Vector> = entries
        .iter()
        .map(|entry| {
            let DirectoryEntry { name, .. } = entry;
            let name = String::from_utf8_lossy(name).replace([' ', ','], "_");
            Vector::new("directory-leaf", &format!("good_{name}"), leaf(std::slice::from_ref(entry)))
        })
        .collect();
    vectors.push(Vector::new("directory-leaf", "good_all_together", leaf(&entries)));

    let keys = keys();
    let mut chunks = Chunks::default();
    let mut table = InodeWriter::new(&keys);
    for n in 0..2 {
        let mut record = file(10 + n, keepfs_format::ids::Ino(0));
        record.inode.nlink = 1 + n as u32;
        table.push(&record, &mut |bytes| chunks.put(bytes)).unwrap();
    }
    let object = table.finish(&mut |bytes| chunks.put(bytes)).unwrap();
    vectors.push(Vector::new("inode-leaf", "good_two_inodes", chunks.get(&object.ids[0]).unwrap()));

    let mut list = RefBuilder::new();
    (0..9).for_each(|n| list.push(chunk_id(n)));
    let object = list.finish(&mut |bytes| chunks.put(bytes)).unwrap();
    vectors.push(Vector::new("list", "good_nine_ids", chunks.get(&object.ids[0]).unwrap()));

    let mut extents = (0..9u32).map(|n| Extent {
        offset: u64::from(n) * 1000,
        len: 900,
        skip: n % 2,
        plain_len: 901 - (n + 1) % 2,
        chunk: chunk_id(u64::from(n)),
    });
    let content = write_content(&mut extents, &mut |bytes| chunks.put(bytes)).unwrap();
    let Content::Listed(object) = content else { panic!("nine extents are listed") };
    vectors.push(Vector::new("extent-leaf", "good_nine_extents", chunks.get(&object.ids[0]).unwrap()));
    vectors
}

/// An entry piece by piece: an empty file with every number as small as it can be.
#[derive(Clone)]
struct Pieces {
    name: Vec<u8>,
    link: Vec<u8>,
    first: u8,
    ino: Vec<u8>,
    owner: Vec<u8>,
    times: Vec<u8>,
    stamps: Vec<u8>,
    rest: Vec<u8>,
}

const FILE: u8 = 1;
const LIKE_LAST: u8 = 16;
const HAS_XATTRS: u8 = 32;
const SAME_MACHINE: u8 = 64;
const WHOLE_CHUNK: u8 = 128;

impl Pieces {
    fn new() -> Self {
        Self {
            name: b"\x04name".to_vec(),
            link: vec![2],
            first: FILE | LIKE_LAST,
            ino: vec![20],
            owner: vec![],
            times: vec![0, 0, 0],
            stamps: vec![0, 0, 5, 5],
            rest: vec![100, 0],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let Self { name, link, first, ino, owner, times, stamps, rest } = self;
        [name, link, &vec![*first], ino, owner, times, stamps, rest].into_iter().flatten().copied().collect()
    }

    fn leaf(&self) -> Vec<u8> {
        [vec![1], self.bytes()].concat()
    }
}

fn with(name: &str, change: impl FnOnce(&mut Pieces)) -> Vector {
    let mut pieces = Pieces::new();
    change(&mut pieces);
    Vector::new("directory-leaf", name, pieces.leaf())
}

fn varint(value: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(value);
    writer.into_bytes()
}

fn leaves() -> Vec<Vector> {
    let leaf = |name: &str, bytes: &[u8]| Vector::new("directory-leaf", name, bytes);
    let good = Pieces::new();
    let behind = |name: &[u8]| {
        let name = [&[name.len() as u8], name].concat();
        let (link, stamps) = (vec![0], vec![0, 0]);
        let first = FILE | LIKE_LAST | SAME_MACHINE;
        Pieces { name, link, first, stamps, ino: vec![0], ..Pieces::new() }.bytes()
    };
    let two = |name: &[u8]| [good.leaf(), behind(name)].concat();
    vec![
        leaf("good_by_hand", &good.leaf()),
        leaf("good_two_by_hand", &two(b"namf")),
        leaf("names_descend", &two(b"mame")),
        leaf("name_twice", &two(b"name")),
        leaf("nothing", &[]),
        leaf("no_entry", &[1]),
        leaf("tag_of_another_leaf", &[vec![2], good.bytes()].concat()),
        leaf("tag_unknown", &[vec![9], good.bytes()].concat()),
        leaf("entry_ends_early", &good.leaf()[..15]),
        leaf("byte_behind", &[good.leaf(), vec![0]].concat()),
        with("name_empty", |pieces| pieces.name = vec![0]),
        with("name_with_slash", |pieces| pieces.name = b"\x03a/b".to_vec()),
        with("name_dot_dot", |pieces| pieces.name = b"\x02..".to_vec()),
        with("link_number_too_high", |pieces| pieces.link = varint(1 << 63)),
        with("kind_zero", |pieces| pieces.first = LIKE_LAST),
        with("inode_zero", |pieces| pieces.ino = vec![0]),
        with("inode_of_a_directory", |pieces| pieces.ino = varint(1 << 63)),
    ]
}

fn records() -> Vec<Vector> {
    vec![
        with("shared_with_other_flags", |pieces| pieces.first = FILE | 8 | LIKE_LAST),
        with("shared_directory", |pieces| {
            *pieces = Pieces { first: 2 | 8, times: vec![], stamps: vec![], rest: vec![], ..Pieces::new() };
        }),
        with("owner_told_though_like_the_last", |pieces| {
            pieces.first = FILE;
            pieces.owner = vec![0xa4, 3, 0, 0];
        }),
        with("permission_bits_too_high", |pieces| {
            pieces.first = FILE;
            pieces.owner = [&varint(0o10000)[..], &[0, 0]].concat();
        }),
        with("times_unknown_flag", |pieces| pieces.times[0] = 32),
        with("ctime_told_though_equal", |pieces| pieces.times = vec![1, 0, 0, 0, 0]),
        with("btime_equals_what_is_no_candidate", |pieces| pieces.times[0] = 2 << 1),
        with("btime_told_though_equal", |pieces| pieces.times = vec![3 << 1, 0, 0, 0, 0]),
        with("btime_equals_the_later_candidate", |pieces| pieces.times[0] = 1 << 1),
        with("atime_told_though_equal", |pieces| pieces.times = vec![3 << 3, 0, 0, 0, 0]),
        with("atime_equals_the_later_candidate", |pieces| pieces.times[0] = 2 << 3),
        with("whole_second_of_nanoseconds", |pieces| {
            pieces.times = [&[0, 0][..], &varint(1_000_000_000)].concat();
        }),
        with("same_machine_as_none", |pieces| {
            pieces.first |= SAME_MACHINE;
            pieces.stamps = vec![0, 0];
        }),
        with("machine_zero", |pieces| pieces.stamps = vec![0, 0, 0, 5]),
        with("machine_too_high", |pieces| {
            pieces.stamps = [&[0, 0, 5][..], &varint(1 << 22)].concat();
        }),
        with("xattrs_of_none", |pieces| {
            pieces.first |= HAS_XATTRS;
            pieces.rest = vec![100, 0, 0, 0, 0, 0];
        }),
        with("xattrs_descend", |pieces| {
            pieces.first |= HAS_XATTRS;
            pieces.rest = vec![100, 0, 2, 1, b'b', 0, 1, b'a', 0];
        }),
        with("xattr_twice", |pieces| {
            pieces.first |= HAS_XATTRS;
            pieces.rest = vec![100, 0, 2, 1, b'a', 0, 1, b'a', 0];
        }),
        with("xattr_value_too_long", |pieces| {
            pieces.first |= HAS_XATTRS;
            pieces.rest = [&[100, 0, 1, 1, b'a'][..], &varint(65_537)].concat();
        }),
        with("target_empty", |pieces| *pieces = of_kind(3, &[0])),
        with("target_with_nul", |pieces| *pieces = of_kind(3, &[1, 0])),
        with("fifo_of_a_whole_chunk", |pieces| *pieces = of_kind(4 | WHOLE_CHUNK, &[])),
        with("directory_with_a_number_of_a_file", |pieces| {
            *pieces = Pieces { ino: 7u64.to_le_bytes().to_vec(), ..of_kind(2, &[2, 0]) };
        }),
        with("good_directory_by_hand", |pieces| *pieces = directory(&[2, 0])),
        with("directory_reference_without_ids", |pieces| *pieces = directory(&[2, 9])),
        with("directory_reference_too_deep", |pieces| *pieces = directory(&[2, 64])),
        with("directory_reference_ends_early", |pieces| *pieces = directory(&[2, 1, 0])),
    ]
}

fn of_kind(first: u8, rest: &[u8]) -> Pieces {
    Pieces { first: first | LIKE_LAST, rest: rest.to_vec(), ..Pieces::new() }
}

fn directory(rest: &[u8]) -> Pieces {
    Pieces { ino: (1u64 << 62 | 5).to_le_bytes().to_vec(), ..of_kind(2, rest) }
}

fn contents() -> Vec<Vector> {
    let content = |name: &str, size: u64, behind: &[u8]| {
        with(name, |pieces| pieces.rest = [&varint(size)[..], behind].concat())
    };
    let whole = |name: &str, size: u64| {
        with(name, |pieces| {
            pieces.first |= WHOLE_CHUNK;
            pieces.rest = [&varint(size)[..], &[7; 32]].concat();
        })
    };
    let extent = |bytes: &[u8]| [&[1], bytes, &[7; 32][..]].concat();
    vec![
        whole("good_whole_chunk", 100),
        whole("whole_chunk_of_nothing", 0),
        whole("whole_chunk_too_long", (4 << 20) + 1),
        content("whole_chunk_told_as_extent", 100, &extent(&[0, 100, 0])),
        content("good_extent_by_hand", 101, &extent(&[0, 100, 0])),
        content("size_too_high", 1 << 63, &[0]),
        content("content_unknown", 100, &[10]),
        content("listed_content_of_nothing", 100, &[9, 0]),
        content("extent_without_length", 100, &extent(&[0, 0, 0])),
        content("extent_beyond_the_size", 100, &extent(&[50, 51, 0])),
        content("extent_overflows", 100, &extent(&[&varint(u64::MAX)[..], &[1, 0]].concat())),
        content("extent_form_unknown", 100, &extent(&[0, 50, 2])),
        content("extent_told_as_part_though_whole", 100, &extent(&[0, 50, 1, 0, 0])),
        content("extent_of_too_long_a_chunk", 100, &{
            let long = varint(4 << 20);
            extent(&[&[0, 50, 1][..], &long, &[0]].concat())
        }),
    ]
}

fn others() -> Vec<Vector> {
    let nothing = |kind| Vector::new(kind, "nothing", []);
    let record = {
        // A record of the table has no name and no link, and its number of names at the end.
        let pieces = Pieces { name: vec![], link: vec![], ..Pieces::new() };
        move |names: u8| [pieces.bytes(), vec![names]].concat()
    };
    let inodes = |name: &str, records: &[u8]| Vector::new("inode-leaf", name, [&[2], records].concat());
    let same = {
        let pieces = Pieces {
            name: vec![],
            link: vec![],
            ino: vec![0],
            first: FILE | LIKE_LAST | SAME_MACHINE,
            stamps: vec![0, 0],
            ..Pieces::new()
        };
        [pieces.bytes(), vec![2]].concat()
    };
    let list = |name: &str, bytes: &[u8]| Vector::new("list", name, bytes);
    let extents = |name: &str, bytes: &[u8]| Vector::new("extent-leaf", name, bytes);
    vec![
        nothing("inode-leaf"),
        nothing("list"),
        nothing("extent-leaf"),
        inodes("no_inode", &[]),
        inodes("good_by_hand", &record(2)),
        inodes("inode_without_names", &record(0)),
        inodes("inode_twice", &[record(2), same].concat()),
        inodes("inode_ends_early", &record(2)[..8]),
        Vector::new("inode-leaf", "tag_of_another_leaf", [vec![1], record(2)].concat()),
        list("no_id", &[3]),
        list("id_ends_early", &[&[3][..], &[7; 40]].concat()),
        list("tag_of_another_leaf", &[&[1][..], &[7; 32]].concat()),
        extents("no_extent", &[4]),
        extents("extent_ends_early", &[&[4, 0, 10, 0][..], &[7; 31]].concat()),
        extents("tag_of_another_leaf", &[&[3, 0, 10, 0][..], &[7; 32]].concat()),
        extents("extent_too_long", &[&[4, 0][..], &varint((4 << 20) + 1), &[0], &[7; 32]].concat()),
    ]
}
