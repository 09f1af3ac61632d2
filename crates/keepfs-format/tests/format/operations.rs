//! Operations: any valid history comes back, and no bytes make the decoder fail otherwise than by an error.

use keepfs_format::codec::{Reader, Writer};
use keepfs_format::directory::{DirectoryReader, InodeReader, decode_extents, decode_list};
use keepfs_format::ids::{ChunkId, Hlc, Ino, LinkId, PackId, Time};
use keepfs_format::op::{AttrChange, Edit, Kind, Op, OpGroup, PackedChunk, Place, Source};
use keepfs_format::op_codec::{DeltaState, decode_group, decode_run, encode_group};

use crate::support::{Dice, directory_ino, number};

fn place(dice: &mut Dice) -> Place {
    let parent = if dice.below(5) == 0 { Ino::ROOT } else { directory_ino(dice.below(12)) };
    let len = 1 + dice.below(30) as usize;
    let name = dice.bytes(len).into_iter().map(|byte| b'a' + byte % 26).collect();
    Place { parent, name }
}

fn any_ino(dice: &mut Dice) -> Ino {
    if dice.below(3) == 0 { directory_ino(dice.below(12)) } else { Ino(number(dice.below(1000))) }
}

fn any_time(dice: &mut Dice) -> Time {
    let secs = if dice.below(10) == 0 { dice.next() as i64 } else { 1_700_000_000 };
    Time { secs, nanos: dice.below(1_000_000_000) as u32 }
}

fn edits(dice: &mut Dice) -> (u64, Vec<Edit>) {
    let mut end = 0;
    let edits = (0..dice.below(6))
        .map(|_| {
            let offset = end + dice.below(2) * dice.below(1 << 30);
            let len = 1 + dice.below(1 << 20);
            end = offset + len;
            let source = match dice.below(4) {
                0 => Source::Hole,
                _ => Source::Chunk {
                    pack: PackId(number(dice.below(3))),
                    index: dice.below(5) as u32,
                    skip: dice.below(3) as u32,
                },
            };
            Edit { offset, len, source }
        })
        .collect();
    (end + dice.below(100), edits)
}

fn op(dice: &mut Dice) -> Op {
    let link = LinkId(number(dice.below(100_000)));
    let mode = dice.below(0o10000) as u16;
    let (uid, gid) = (dice.below(2) as u32 * 1000, 1000);
    match dice.below(11) {
        0 => Op::MkDir { at: place(dice), ino: directory_ino(dice.below(12)), link, mode, uid, gid },
        1 => {
            let kinds = [Kind::File, Kind::Symlink, Kind::Fifo, Kind::Socket, Kind::CharDevice];
            let kind = kinds[dice.below(5) as usize];
            let rdev = if kind == Kind::CharDevice { dice.next() as u32 } else { 0 };
            let target = if kind == Kind::Symlink { b"target".as_slice().into() } else { Box::default() };
            let ino = Ino(number(dice.below(1000)));
            Op::Create { at: place(dice), ino, link, kind, mode, uid, gid, rdev, target }
        }
        2 => Op::Link { at: place(dice), ino: Ino(number(dice.below(1000))), link },
        3 => Op::Unlink { at: place(dice), link },
        4 => Op::RmDir { at: place(dice), link },
        5 => {
            let replaced = (dice.below(2) == 0).then(|| LinkId(number(dice.below(100))));
            Op::Rename { from: place(dice), to: place(dice), link, replaced }
        }
        6 => Op::Exchange { a: place(dice), b: place(dice), link_a: link, link_b: LinkId(1) },
        7 => {
            let change = AttrChange {
                mode: (dice.below(2) == 0).then_some(mode),
                uid: (dice.below(2) == 0).then_some(uid),
                gid: (dice.below(2) == 0).then_some(gid),
                atime: (dice.below(2) == 0).then(|| any_time(dice)),
                mtime: (dice.below(2) == 0).then(|| any_time(dice)),
            };
            Op::SetAttr { ino: any_ino(dice), change }
        }
        8 => {
            let len = dice.below(50) as usize;
            let value = (dice.below(3) > 0).then(|| dice.bytes(len).into());
            Op::SetXattr { ino: any_ino(dice), name: b"user.x".as_slice().into(), value }
        }
        9 => {
            let (size, edits) = edits(dice);
            Op::SetContent { ino: Ino(number(dice.below(1000))), size, mtime: any_time(dice), edits }
        }
        _ => {
            let chunks = (0..1 + dice.below(4))
                .map(|_| {
                    let id = ChunkId(dice.bytes(32).try_into().unwrap());
                    let plain_len = 1 + dice.below(4 << 20) as u32;
                    let sealed_len = 33 + dice.below(u64::from(plain_len)) as u32;
                    PackedChunk { id, sealed_len, plain_len }
                })
                .collect();
            Op::PackAdd { pack: PackId(number(dice.below(3))), first: dice.below(5) as u32, chunks }
        }
    }
}

fn history(dice: &mut Dice) -> Vec<OpGroup> {
    let mut hlc = 0;
    (0..1 + dice.below(20))
        .map(|_| {
            hlc += 1 + dice.below(1 << 20);
            let ops = (0..1 + dice.below(4)).map(|_| op(dice)).collect();
            OpGroup { hlc: Hlc(hlc), time: any_time(dice), ops }
        })
        .collect()
}

fn encode(groups: &[OpGroup]) -> Vec<u8> {
    let mut writer = Writer::new();
    let mut state = DeltaState::new();
    groups.iter().for_each(|group| encode_group(&mut writer, group, &mut state).unwrap());
    writer.into_bytes()
}

#[test]
fn random_histories_come_back() {
    for seed in 0..3000 {
        let groups = history(&mut Dice::new(seed));
        assert_eq!(decode_run(&encode(&groups)).unwrap(), groups, "seed {seed}");
    }
}

#[test]
fn damaged_histories_are_refused_or_canonical() {
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let mut bytes = encode(&history(&mut dice));
        for _ in 0..1 + dice.below(3) {
            let at = dice.below(bytes.len() as u64) as usize;
            bytes[at] = dice.next() as u8;
        }
        if let Ok(groups) = decode_run(&bytes) {
            assert_eq!(encode(&groups), bytes, "seed {seed}");
        }
    }
}

#[test]
fn noise_is_never_more_than_an_error() {
    for seed in 0..50_000 {
        let mut dice = Dice::new(seed);
        let len = dice.below(200) as usize;
        let mut bytes = dice.bytes(len);
        // Small numbers reach deeper into the decoders than large ones.
        bytes.iter_mut().for_each(|byte| *byte %= 1 + (seed % 200) as u8);
        let _ = decode_run(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 1 + (seed % 4) as u8;
        }
        let _ = DirectoryReader::new(Ino::ROOT).leaf(&bytes, &mut |_| {});
        let _ = InodeReader::new().leaf(&bytes, &mut |_| {});
        let _ = decode_list(&bytes);
        let _ = decode_extents(&bytes);
    }
}

#[test]
fn groups_can_be_read_one_at_a_time() {
    let groups = history(&mut Dice::new(1));
    let bytes = encode(&groups);
    let mut reader = Reader::new(&bytes, "test");
    let mut state = DeltaState::new();
    for group in &groups {
        assert_eq!(decode_group(&mut reader, &mut state).unwrap(), *group);
        assert_eq!(state.hlc(), group.hlc);
    }
    reader.finish().unwrap();
}
