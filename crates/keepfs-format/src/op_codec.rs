//! The bytes of operations: in segments, and in the local journal.
//!
//! It owns a compact encoding in which each number is told by its difference to one just before, so that
//! groups that follow each other in one run must be decoded in order. Encoding is canonical: bytes that
//! decode are the only bytes of what they mean. It never applies anything.

mod decode;
mod encode;

use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::{Hlc, Ino, Time};
use crate::op::{Kind, OpGroup};
use crate::op_rules::{GROUP_OPS_MAX, check_group};
use decode::Decoder;
use encode::Encoder;

const WHAT: &str = "operations";

const TAG_MKDIR: u8 = 1;
const TAG_CREATE: u8 = 2;
const TAG_LINK: u8 = 3;
const TAG_UNLINK: u8 = 4;
const TAG_RMDIR: u8 = 5;
const TAG_RENAME: u8 = 6;
const TAG_EXCHANGE: u8 = 7;
const TAG_SET_ATTR: u8 = 8;
const TAG_SET_XATTR: u8 = 9;
const TAG_SET_CONTENT: u8 = 10;
const TAG_PACK_ADD: u8 = 11;

const CHANGE_MODE: u8 = 1;
const CHANGE_UID: u8 = 2;
const CHANGE_GID: u8 = 4;
const CHANGE_ATIME: u8 = 8;
const CHANGE_MTIME: u8 = 16;
const CHANGE_ALL: u8 = 31;

/// Owner and mode are those of the last `MkDir` or `Create` before; no bytes follow for them.
const LIKE_LAST: u8 = 8;

const SOURCE_HOLE: u8 = 0;
/// The chunk after the last one named, from its first byte on.
const SOURCE_NEXT: u8 = 1;
const SOURCE_CHUNK: u8 = 2;

/// Fewest bytes of an edit: gap, length, source.
const EDIT_LEN_MIN: usize = 3;

/// Directories that were named most lately, so that one byte names them again.
const RECENT: usize = 4;
/// A directory that is not among the recent ones: its eight bytes follow.
const DIRECTORY_LITERAL: u64 = RECENT as u64;
/// From here on: the difference of an inode's number to the last one.
const INO_DELTA: u64 = DIRECTORY_LITERAL + 1;

/// What the next group is told in relation to. A run of groups (a segment, a batch of the journal) starts
/// with [`DeltaState::new`], on both sides.
#[derive(Clone)]
pub struct DeltaState {
    hlc: Hlc,
    time: Time,
    ino: u64,
    link: u64,
    pack: u64,
    next_index: u32,
    directory_owner: Owner,
    file_owner: Owner,
    recent: [Ino; RECENT],
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Owner {
    mode: u16,
    uid: u32,
    gid: u32,
}

impl Default for DeltaState {
    fn default() -> Self {
        let owner = |mode| Owner { mode, uid: 0, gid: 0 };
        Self {
            hlc: Hlc(0),
            time: Time::default(),
            ino: 0,
            link: 0,
            pack: 0,
            next_index: 0,
            directory_owner: owner(0o755),
            file_owner: owner(0o644),
            // Zero is no directory's number, so the empty places never match.
            recent: [Ino::ROOT, Ino(0), Ino(0), Ino(0)],
        }
    }
}

impl DeltaState {
    /// The state a run of groups starts with.
    pub fn new() -> Self {
        Self::default()
    }

    /// Logical time of the last group of the run, [`Hlc`] 0 before the first.
    pub fn hlc(&self) -> Hlc {
        self.hlc
    }

    /// Place of a directory among the recent ones.
    #[inline]
    fn recent_place(&self, directory: Ino) -> Option<usize> {
        self.recent.iter().position(|recent| *recent == directory)
    }

    /// Moves a directory to the front of the recent ones; the one named longest ago makes room.
    #[inline]
    fn touch(&mut self, directory: Ino) {
        let at = self.recent_place(directory).unwrap_or(RECENT - 1);
        self.recent.copy_within(..at, 1);
        self.recent[0] = directory;
    }

    fn owner(&mut self, kind: Kind) -> &mut Owner {
        if kind == Kind::Directory { &mut self.directory_owner } else { &mut self.file_owner }
    }
}

/// Appends one group.
///
/// # Errors
/// [`FormatError::Invalid`] when the group breaks a rule; then neither `writer` nor `state` has changed.
pub fn encode_group(writer: &mut Writer, group: &OpGroup, state: &mut DeltaState) -> Result<(), FormatError> {
    check_group(group)?;
    if group.hlc <= state.hlc {
        return Err(FormatError::Invalid { what: "logical time rises" });
    }
    writer.varint(group.hlc.0 - state.hlc.0);
    writer.time(group.time, state.time);
    writer.varint(group.ops.len() as u64);
    state.hlc = group.hlc;
    state.time = group.time;
    let mut encoder = Encoder { writer, state };
    group.ops.iter().for_each(|op| encoder.op(op));
    Ok(())
}

/// Reads one group.
///
/// # Errors
/// Any [`FormatError`] that bytes from a faulty writer deserve. `state` is of no use after that.
pub fn decode_group(reader: &mut Reader<'_>, state: &mut DeltaState) -> Result<OpGroup, FormatError> {
    let rise = reader.varint()?;
    let hlc = state.hlc.0.checked_add(rise).filter(|_| rise > 0);
    let hlc = Hlc(hlc.ok_or(FormatError::Invalid { what: "logical time rises" })?);
    let time = reader.time(state.time)?;
    let count = reader.count("operations in a group", GROUP_OPS_MAX, 1)?;
    state.hlc = hlc;
    state.time = time;
    let mut ops = Vec::with_capacity(count.min(64));
    let mut decoder = Decoder { reader, state };
    for _ in 0..count {
        ops.push(decoder.op()?);
    }
    let group = OpGroup { hlc, time, ops };
    check_group(&group)?;
    Ok(group)
}

/// Reads groups until the bytes end.
///
/// # Errors
/// As [`decode_group`].
pub fn decode_run(bytes: &[u8]) -> Result<Vec<OpGroup>, FormatError> {
    let mut reader = Reader::new(bytes, WHAT);
    let mut state = DeltaState::new();
    let mut groups = Vec::new();
    while !reader.is_empty() {
        groups.push(decode_group(&mut reader, &mut state)?);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ChunkId, LinkId, MachineTag, PackId};
    use crate::op::{AttrChange, Edit, Op, PackedChunk, Place, Source};

    fn place(parent: Ino, name: &str) -> Place {
        Place { parent, name: name.as_bytes().into() }
    }

    fn directory(n: u64) -> Ino {
        Ino(1 << 62 | n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2)
    }

    fn number(counter: u64) -> u64 {
        u64::from(MachineTag(3).0) << 40 | counter
    }

    fn group(hlc: u64, ops: Vec<Op>) -> OpGroup {
        OpGroup { hlc: Hlc(hlc), time: Time { secs: 1_800_000_000, nanos: hlc as u32 }, ops }
    }

    fn all_ops() -> Vec<Op> {
        let time = Time { secs: -5, nanos: 999_999_999 };
        let chunk = |n: u8| PackedChunk { id: ChunkId([n; 32]), sealed_len: 132, plain_len: 100 };
        let file = Ino(number(7));
        let create = |kind, rdev, target: &[u8]| Op::Create {
            at: place(directory(1), "file"),
            ino: file,
            link: LinkId(number(8)),
            kind,
            mode: 0o640,
            uid: 1000,
            gid: 1000,
            rdev,
            target: target.into(),
        };
        let edit = |offset, index, skip| Edit {
            offset,
            len: 50,
            source: Source::Chunk { pack: PackId(number(1)), index, skip },
        };
        vec![
            Op::PackAdd { pack: PackId(number(1)), first: 4, chunks: vec![chunk(1), chunk(2)] },
            Op::MkDir {
                at: place(Ino::ROOT, "d"),
                ino: directory(1),
                link: LinkId(number(1)),
                mode: 0o755,
                uid: 0,
                gid: 0,
            },
            create(Kind::File, 0, b""),
            create(Kind::Symlink, 0, b"../x"),
            create(Kind::CharDevice, 0x0103, b""),
            create(Kind::BlockDevice, 0, b""),
            create(Kind::Fifo, 0, b""),
            create(Kind::Socket, 0, b""),
            Op::Link { at: place(directory(2), "again"), ino: file, link: LinkId(number(9)) },
            Op::Unlink { at: place(directory(3), "again"), link: LinkId(number(9)) },
            Op::RmDir { at: place(directory(4), "gone"), link: LinkId(number(2)) },
            Op::Rename {
                from: place(directory(5), "a"),
                to: place(directory(1), "b"),
                link: LinkId(number(8)),
                replaced: None,
            },
            Op::Rename {
                from: place(Ino::ROOT, "a"),
                to: place(directory(5), "b"),
                link: LinkId(number(8)),
                replaced: Some(LinkId(1)),
            },
            Op::Exchange {
                a: place(directory(1), "a"),
                b: place(directory(2), "b"),
                link_a: LinkId(5),
                link_b: LinkId(6),
            },
            Op::SetAttr { ino: directory(9), change: AttrChange::default() },
            Op::SetAttr {
                ino: file,
                change: AttrChange {
                    mode: Some(0o7777),
                    uid: Some(u32::MAX),
                    gid: Some(0),
                    atime: Some(time),
                    mtime: Some(Time { secs: i64::MAX, nanos: 0 }),
                },
            },
            Op::SetXattr { ino: file, name: b"user.a".as_slice().into(), value: None },
            Op::SetXattr { ino: file, name: b"user.a".as_slice().into(), value: Some(Box::default()) },
            Op::SetContent { ino: file, size: 0, mtime: time, edits: vec![] },
            Op::SetContent {
                ino: file,
                size: 1 << 40,
                mtime: time,
                edits: vec![
                    edit(0, 4, 0),
                    edit(50, 5, 0),
                    edit(100, 9, 7),
                    Edit { offset: 1 << 30, len: 1 << 39, source: Source::Hole },
                ],
            },
        ]
    }

    fn encode(groups: &[OpGroup]) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut state = DeltaState::new();
        groups.iter().for_each(|group| encode_group(&mut writer, group, &mut state).unwrap());
        writer.into_bytes()
    }

    #[test]
    fn all_operations_come_back() {
        let mut groups = vec![group(1, all_ops())];
        groups.extend(all_ops().into_iter().zip(2..).map(|(op, hlc)| group(hlc << 16, vec![op])));
        assert_eq!(decode_run(&encode(&groups)).unwrap(), groups);
    }

    #[test]
    fn bytes_that_decode_are_the_only_bytes_of_what_they_mean() {
        let bytes = encode(&[group(1, all_ops())]);
        let mut decoded = 0;
        for at in 0..bytes.len() {
            assert!(decode_run(&bytes[..at]).is_err() || at == 0, "cut at {at}");
            for value in 0..=255 {
                let mut other = bytes.clone();
                other[at] = value;
                if let Ok(groups) = decode_run(&other) {
                    assert_eq!(encode(&groups), other, "byte {at} became {value}");
                    decoded += 1;
                }
            }
        }
        assert!(decoded > bytes.len(), "some changed bytes must still decode");
    }

    #[test]
    fn a_small_file_costs_few_bytes() {
        let parent = directory(1);
        let groups: Vec<_> = (0..100u64)
            .map(|n| {
                let create = Op::Create {
                    at: place(parent, "eightchr"),
                    ino: Ino(number(2 * n)),
                    link: LinkId(number(2 * n + 1)),
                    kind: Kind::File,
                    mode: 0o644,
                    uid: 0,
                    gid: 0,
                    rdev: 0,
                    target: Box::default(),
                };
                group((n + 1) << 16, vec![create])
            })
            .collect();
        let more = encode(&groups).len() - encode(&groups[..50]).len();
        assert!(more <= 50 * 22, "{} bytes a file", more / 50);
    }

    #[test]
    fn groups_that_break_a_rule_are_neither_written_nor_read() {
        let file = Ino(number(1));
        let mtime = Time::default();
        let content = |size, edits| Op::SetContent { ino: file, size, mtime, edits };
        let hole = |offset, len| Edit { offset, len, source: Source::Hole };
        let unlink = |name: &str| Op::Unlink { at: place(Ino::ROOT, name), link: LinkId(1) };
        let bad = vec![
            vec![],
            vec![unlink("")],
            vec![unlink(".")],
            vec![unlink("..")],
            vec![unlink("a/b")],
            vec![unlink("a\0b")],
            vec![unlink(&"n".repeat(256))],
            vec![Op::Unlink { at: place(file, "a"), link: LinkId(1) }],
            vec![Op::Unlink { at: place(Ino(0), "a"), link: LinkId(1) }],
            vec![Op::Unlink { at: place(Ino::ROOT, "a"), link: LinkId(1 << 62) }],
            vec![content(10, vec![hole(0, 11)])],
            vec![content(10, vec![hole(0, 0)])],
            vec![content(10, vec![hole(5, 2), hole(6, 1)])],
            vec![content(10, vec![hole(5, 2), hole(0, 1)])],
            vec![content(1 << 63, vec![])],
            vec![content(u64::MAX, vec![hole(u64::MAX, 5)])],
            vec![Op::SetContent { ino: directory(1), size: 0, mtime, edits: vec![] }],
            vec![Op::SetAttr {
                ino: file,
                change: AttrChange { mode: Some(0o10000), ..AttrChange::default() },
            }],
            vec![Op::PackAdd { pack: PackId(1), first: 0, chunks: vec![] }],
        ];
        for ops in bad {
            let group = group(1, ops);
            let mut writer = Writer::new();
            let mut state = DeltaState::new();
            assert!(encode_group(&mut writer, &group, &mut state).is_err(), "{group:?}");
            assert!(writer.is_empty() && state.hlc() == Hlc(0));
        }
        let mut state = DeltaState::new();
        let mut writer = Writer::new();
        encode_group(&mut writer, &group(5, vec![unlink("a")]), &mut state).unwrap();
        assert!(encode_group(&mut writer, &group(5, vec![unlink("a")]), &mut state).is_err());
    }

    #[test]
    fn counts_that_the_bytes_do_not_pay_for_allocate_nothing() {
        // hlc 1, time 0 0, one operation, SetContent of a file, size 0, mtime 0 0, then 2^20 edits.
        let mut writer = Writer::new();
        writer.raw(&[1, 0, 0, 1, 10, 9, 0, 0, 0]);
        writer.varint(1 << 20);
        assert_eq!(decode_run(writer.as_slice()).unwrap_err(), FormatError::Truncated { what: "edits" });
    }
}
