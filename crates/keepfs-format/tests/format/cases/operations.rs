//! Vectors of operations.

use keepfs_format::codec::Writer;
use keepfs_format::ids::{Hlc, Ino, LinkId, PackId, Time};
use keepfs_format::op::{AttrChange, Edit, Kind, Op, OpGroup, PackedChunk, Place, Source};
use keepfs_format::op_codec::{DeltaState, encode_group};

use crate::support::{chunk_id, directory_ino, number};
use crate::vectors::Vector;

pub(crate) fn all() -> Vec<Vector> {
    let mut all = good();
    let refused = [groups(), names_and_numbers(), creation(), attributes(), contents(), packs()];
    all.extend(refused.concat().into_iter().map(|(name, bytes)| Vector::new("operations", name, bytes)));
    all
}

type Named = (&'static str, Vec<u8>);

fn place(name: &str) -> Place {
    Place { parent: directory_ino(1), name: name.as_bytes().into() }
}

fn good() -> Vec<Vector> {
    let (file, link) = (Ino(number(7)), LinkId(number(8)));
    let create = |kind, rdev, target: &[u8]| {
        let (mode, uid, gid, target) = (0o640, 1000, 1000, target.into());
        Op::Create { at: place("new"), ino: file, link, kind, mode, uid, gid, rdev, target }
    };
    let mtime = Time { secs: 9, nanos: 9 };
    let edit = |offset, len, source| Edit { offset, len, source };
    let chunk = |index, skip| Source::Chunk { pack: PackId(number(1)), index, skip };
    let change = AttrChange {
        mode: Some(0o4755),
        uid: Some(1),
        gid: Some(2),
        atime: Some(mtime),
        mtime: Some(Time { secs: -1, nanos: 0 }),
    };
    let all: Vec<(&str, Vec<Op>)> = vec![
        (
            "good_mkdir",
            vec![Op::MkDir { at: place("d"), ino: directory_ino(2), link, mode: 0o755, uid: 0, gid: 0 }],
        ),
        ("good_create", vec![create(Kind::File, 0, b"")]),
        ("good_symlink", vec![create(Kind::Symlink, 0, b"../x")]),
        ("good_device", vec![create(Kind::BlockDevice, 0x0801, b"")]),
        ("good_fifo_and_socket", vec![create(Kind::Fifo, 0, b""), create(Kind::Socket, 0, b"")]),
        ("good_link", vec![Op::Link { at: place("l"), ino: file, link }]),
        ("good_unlink", vec![Op::Unlink { at: place("l"), link }]),
        ("good_rmdir", vec![Op::RmDir { at: place("d"), link }]),
        ("good_rename", vec![Op::Rename { from: place("a"), to: place("b"), link, replaced: None }]),
        (
            "good_rename_replacing",
            vec![Op::Rename { from: place("a"), to: place("b"), link, replaced: Some(LinkId(3)) }],
        ),
        (
            "good_exchange",
            vec![Op::Exchange { a: place("a"), b: place("b"), link_a: link, link_b: LinkId(3) }],
        ),
        ("good_set_attr", vec![Op::SetAttr { ino: file, change }]),
        ("good_set_attr_none", vec![Op::SetAttr { ino: Ino::ROOT, change: AttrChange::default() }]),
        (
            "good_set_xattr",
            vec![Op::SetXattr {
                ino: file,
                name: b"user.a".as_slice().into(),
                value: Some(b"v".as_slice().into()),
            }],
        ),
        (
            "good_remove_xattr",
            vec![Op::SetXattr { ino: file, name: b"user.a".as_slice().into(), value: None }],
        ),
        ("good_truncate", vec![Op::SetContent { ino: file, size: 10, mtime, edits: vec![] }]),
        (
            "good_set_content",
            vec![Op::SetContent {
                ino: file,
                size: 1000,
                mtime,
                edits: vec![
                    edit(0, 100, chunk(0, 0)),
                    edit(100, 100, chunk(1, 0)),
                    edit(300, 100, chunk(1, 50)),
                    edit(500, 500, Source::Hole),
                ],
            }],
        ),
        (
            "good_pack_add_then_its_first_chunk",
            vec![
                Op::PackAdd {
                    pack: PackId(number(2)),
                    first: 3,
                    chunks: vec![PackedChunk { id: chunk_id(1), sealed_len: 120, plain_len: 100 }],
                },
                Op::SetContent {
                    ino: file,
                    size: 100,
                    mtime,
                    edits: vec![edit(0, 100, Source::Chunk { pack: PackId(number(2)), index: 3, skip: 0 })],
                },
            ],
        ),
    ];
    let mut vectors: Vec<Vector> = all
        .into_iter()
        .map(|(name, ops)| {
            let group = OpGroup { hlc: Hlc(5 << 16), time: Time { secs: 7, nanos: 0 }, ops };
            let mut writer = Writer::new();
            encode_group(&mut writer, &group, &mut DeltaState::new()).unwrap();
            Vector::new("operations", name, writer.into_bytes())
        })
        .collect();
    vectors.push(Vector::new("operations", "good_no_groups", []));
    vectors.push(Vector::new("operations", "good_two_groups", [UNLINK, UNLINK].concat()));
    vectors
}

/// A group with the one operation `Unlink a` in the root.
const UNLINK: &[u8] = &[1, 0, 0, 1, 4, 0, 1, b'a', 2];

/// A group around the bytes of one operation.
fn op(bytes: &[u8]) -> Vec<u8> {
    [&[1, 0, 0, 1], bytes].concat()
}

fn varint(value: u64) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.varint(value);
    writer.into_bytes()
}

fn groups() -> Vec<Named> {
    let last_time = [&varint(u64::MAX)[..], &UNLINK[1..]].concat();
    vec![
        ("logical_time_stands_still", [&[0], &UNLINK[1..]].concat()),
        ("logical_time_overflows", [&last_time, UNLINK].concat()),
        ("logical_time_in_a_longer_form", [&[0x81, 0], &UNLINK[1..]].concat()),
        ("whole_second_of_nanoseconds", [&[1, 0], &varint(1_000_000_000)[..], &UNLINK[3..]].concat()),
        ("no_operations", vec![1, 0, 0, 0]),
        ("more_operations_than_bytes", [&[1, 0, 0, 9], &UNLINK[4..]].concat()),
        ("too_many_operations", [&[1, 0, 0], &varint(65_537)[..], &[4; 70_000]].concat()[..100].to_vec()),
        ("group_ends_early", UNLINK[..UNLINK.len() - 1].to_vec()),
        ("byte_behind_the_last_group", [UNLINK, &[1]].concat()),
        ("operation_zero", op(&[0])),
        ("operation_unknown", op(&[12, 0, 1, b'a', 2])),
    ]
}

fn names_and_numbers() -> Vec<Named> {
    let unlink = |name: &[u8]| op(&[&[4, 0, name.len() as u8], name, &[2]].concat());
    let parent = |code: &[u8]| op(&[&[4], code, &[1, b'a', 2]].concat());
    let directory = |ino: u64| [&[4][..], &ino.to_le_bytes()].concat();
    // The zigzag distance from 0 to a directory's number, behind the five codes that mean other things.
    let directory_by_distance = varint(5 + 2 * ((1 << 62) + 7));
    vec![
        ("name_empty", unlink(b"")),
        ("name_dot", unlink(b".")),
        ("name_dot_dot", unlink(b"..")),
        ("name_with_slash", unlink(b"a/b")),
        ("name_with_nul", unlink(b"a\0")),
        ("name_longer_than_bytes", op(&[4, 0, 200, b'a', 2])),
        ("parent_is_a_file", parent(&[5 + 20])),
        ("parent_is_an_empty_place", parent(&[1])),
        ("parent_told_in_full_though_recent", parent(&directory(1))),
        ("parent_told_in_full_is_a_file", parent(&directory(7))),
        ("parent_with_the_highest_bit", parent(&directory(1 << 63))),
        ("directory_told_by_distance", op(&[&[8, 0][..], &directory_by_distance].concat())),
        ("inode_zero", op(&[8, 0, 5])),
        ("link_number_too_high", op(&[&[4, 0, 1, b'a'][..], &varint(1 << 63)].concat())),
    ]
}

fn creation() -> Vec<Named> {
    let create = |behind: &[u8]| op(&[&[2, 0, 1, b'a', 20, 2], behind].concat());
    let make =
        |ino: u64, behind: &[u8]| op(&[&[1, 0, 1, b'a'], &ino.to_le_bytes()[..], &[2], behind].concat());
    let target = |len: u64, bytes: &[u8]| create(&[&[3 | 8][..], &varint(len), bytes].concat());
    vec![
        ("create_of_kind_zero", create(&[8])),
        ("create_of_a_directory", create(&[2 | 8])),
        ("create_of_unknown_flags", create(&[1 | 8 | 16])),
        ("create_as_the_root", op(&[2, 0, 1, b'a', 2, 2, 1 | 8])),
        ("owner_told_though_like_the_last", create(&[1, 0xa4, 3, 0, 0])),
        ("permission_bits_too_high", create(&[&[1][..], &varint(0o10000), &[0, 0]].concat())),
        ("owner_over_32_bits", create(&[&[1, 1][..], &varint(1 << 32), &[0]].concat())),
        ("symlink_without_target", target(0, b"")),
        ("symlink_target_with_nul", target(2, b"a\0")),
        ("symlink_target_too_long", target(4096, &[b'a'; 4096])),
        ("device_number_over_32_bits", create(&[&[6 | 8][..], &varint(1 << 32)].concat())),
        ("mkdir_of_the_root", make(1, &[8])),
        ("mkdir_with_a_number_of_a_file", make(1 << 40, &[8])),
        ("mkdir_of_a_file", make(1 << 62, &[1 | 8])),
        ("rename_flag_unknown", op(&[6, 0, 1, b'a', 0, 1, b'b', 2, 2])),
    ]
}

fn attributes() -> Vec<Named> {
    let set = |flags: u8, behind: &[u8]| op(&[&[8, flags, 25], behind].concat());
    let xattr = |name: &[u8], value: &[u8]| op(&[&[9, 25, name.len() as u8], name, value].concat());
    vec![
        ("set_attr_unknown_flag", set(32, &[])),
        ("set_attr_permission_bits_too_high", set(1, &varint(0o10000))),
        ("set_attr_ends_early", set(31, &[1, 1, 1, 0, 0])),
        ("set_attr_whole_second_of_nanoseconds", set(8, &[&[0][..], &varint(1_000_000_000)].concat())),
        ("xattr_name_empty", xattr(b"", &[0])),
        ("xattr_name_with_nul", xattr(b"a\0", &[0])),
        ("xattr_value_too_long", xattr(b"a", &varint(65_538))),
        ("xattr_value_longer_than_bytes", xattr(b"a", &[9, 1])),
    ]
}

fn contents() -> Vec<Named> {
    let content = |size: u64, edits: &[u8]| op(&[&[10, 25][..], &varint(size), &[0, 0], edits].concat());
    // Gap 0, length 100, then a chunk of pack 0.
    let chunk = |index: i64, skip: u64| {
        let zigzag = varint(((index << 1) ^ (index >> 63)) as u64);
        content(100, &[&[1, 0, 100, 2, 2][..], &zigzag, &varint(skip)].concat())
    };
    vec![
        ("content_of_a_directory", op(&[10, 0, 10, 0, 0, 0])),
        ("size_too_high", content(1 << 63, &[0])),
        ("more_edits_than_bytes", content(100, &[9, 0, 1, 0])),
        ("too_many_edits", content(100, &varint((1 << 20) + 1))),
        ("edit_without_length", content(100, &[1, 0, 0, 0])),
        ("edit_beyond_the_size", content(100, &[1, 50, 51, 0])),
        ("edit_overflows", content(100, &[&[1][..], &varint(u64::MAX), &[1, 0]].concat())),
        ("edit_longer_than_a_chunk", {
            let len = varint((4 << 20) + 1);
            content(1 << 30, &[&[1, 0][..], &len, &[1]].concat())
        }),
        ("edit_beyond_its_chunk", chunk(3, 4 << 20)),
        ("source_unknown", content(100, &[1, 0, 100, 3])),
        ("source_told_in_full_though_next", content(100, &[1, 0, 100, 2, 0, 0, 0])),
        ("position_in_pack_too_high", chunk(65_536, 0)),
        ("position_in_pack_below_zero", chunk(-1, 0)),
    ]
}

fn packs() -> Vec<Named> {
    let add = |first: u64, count: u64, chunks: &[u8]| {
        op(&[&[11, 2][..], &varint(first), &varint(count), chunks].concat())
    };
    let chunk = |plain: u64, saved: u64| [&[7; 32][..], &varint(plain), &varint(saved)].concat();
    vec![
        ("pack_add_of_nothing", add(0, 0, &[])),
        ("more_chunks_than_bytes", add(0, 2, &chunk(100, 0))),
        ("too_many_chunks", add(0, 65_537, &[])),
        ("chunks_beyond_the_table", add(65_535, 2, &[chunk(100, 0), chunk(100, 0)].concat())),
        ("chunk_without_length", add(0, 1, &chunk(0, 0))),
        ("chunk_too_long", add(0, 1, &chunk((4 << 20) + 1, 0))),
        ("chunk_that_saves_too_much", add(0, 1, &chunk(100, 100))),
        ("chunk_that_saves_more_than_all", add(0, 1, &chunk(100, 1000))),
    ]
}
