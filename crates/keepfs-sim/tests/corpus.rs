//! Bytes that were worth keeping, and bytes by chance around them, at every decoder of bytes from outside.
//!
//! `fuzz/corpus/<door>/` holds at least one input that the door accepts. Each is given to the door as it is, then changed
//! again and again by chance that follows from a seed: bits flipped, bytes set, pieces cut, doubled, moved and taken from
//! another input. `KEEPFS_EXECUTIONS=1000000` does it more often, `KEEPFS_SECONDS=60` for so long at each door,
//! `KEEPFS_DOOR=header` at one door only, `KEEPFS_SEED=7` with other chance, `KEEPFS_WRITE_CORPUS=1` writes the inputs that are made here.

#![allow(clippy::unwrap_used, reason = "a claim that does not hold shall panic")]

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Instant;

use keepfs_format::codec::Writer;
use keepfs_format::header::{Header, ListedSlot};
use keepfs_format::ids::{Hlc, Ino, Time};
use keepfs_format::op::{AttrChange, Op, OpGroup};
use keepfs_format::op_codec::{DeltaState, encode_group};
use keepfs_format::phrase::RecoveryPhrase;
use keepfs_sim::doors::{DOORS, Door, door};
use keepfs_sim::{Chance, Place, Repository, SeededEnv};
use keepfs_store::{ObjectName, Store};

/// Inputs that every change tries at a door.
const EXECUTIONS: u64 = 20_000;
/// The same at doors that do far more than to decode.
const EXECUTIONS_SLOW: u64 = 200;
/// Doors that do far more than to decode.
const SLOW: &[&str] = &["journal_batch", "journal_frames"];
/// Most bytes of all inputs together.
const CORPUS_LEN_MAX: usize = 200_000;
/// Longest input by chance.
const INPUT_LEN_MAX: usize = 8192;
/// Most changes of one input.
const CHANGES_MAX: u64 = 6;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn folder(name: &str) -> PathBuf {
    Repository::open().root().join("fuzz/corpus").join(name)
}

fn inputs(name: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// One change.
fn change(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    let len = bytes.len();
    let at = chance.below(len as u64) as usize;
    let piece = at..len.min(at + chance.below(40) as usize);
    match chance.below(9) {
        0 if len > 0 => bytes[at] ^= 1 << chance.below(8),
        1 if len > 0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 4, 16, 64][chance.below(8) as usize],
        2 if len > 0 => bytes[at] = chance.word() as u8,
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(piece)),
        5 => {
            let copy = bytes[piece].to_vec();
            bytes.splice(at..at, copy);
        }
        6 => {
            let from = chance.below(other.len() as u64) as usize;
            let to = other.len().min(from + chance.below(60) as usize);
            bytes.splice(at..at, other[from..to].iter().copied());
        }
        7 => {
            let mut writer = Writer::new();
            writer.varint(chance.word() >> chance.below(64));
            bytes.splice(piece, writer.into_bytes());
        }
        _ => bytes.insert(at, chance.word() as u8),
    }
    bytes.truncate(INPUT_LEN_MAX);
}

/// Whether the door keeps its promises with these bytes, and what it says.
fn knock(name: &str, door: Door, bytes: &[u8]) -> bool {
    catch_unwind(AssertUnwindSafe(|| door(bytes))).unwrap_or_else(|_| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{name}: a broken promise, told above, with {hex}")
    })
}

#[test]
fn every_door_keeps_its_promises() {
    if std::env::var_os("KEEPFS_WRITE_CORPUS").is_some() {
        write_corpus();
    }
    let only = std::env::var("KEEPFS_DOOR").ok();
    let (seed, seconds) = (number("KEEPFS_SEED").unwrap_or(1), number("KEEPFS_SECONDS"));
    let (mut total, mut total_len) = (0, 0);
    for (name, door) in DOORS.iter().filter(|(name, _)| only.as_deref().is_none_or(|only| only == *name)) {
        let inputs = inputs(name);
        let accepted = inputs.iter().filter(|bytes| knock(name, *door, bytes)).count();
        total_len += inputs.iter().map(Vec::len).sum::<usize>();
        assert!(accepted > 0, "{name} accepts nothing of its corpus");
        let usual = if SLOW.contains(name) { EXECUTIONS_SLOW } else { EXECUTIONS };
        let executions = number("KEEPFS_EXECUTIONS").unwrap_or(usual);
        let mut chance = Chance::new(seed);
        let (mut done, mut more, begun) = (0, 0, Instant::now());
        while seconds.map_or(done < executions, |seconds| begun.elapsed().as_secs() < seconds) {
            done += 1;
            let mut bytes = chance.pick(&inputs).cloned().unwrap_or_default();
            let other = chance.pick(&inputs).cloned().unwrap_or_default();
            for _ in 0..=chance.below(CHANGES_MAX) {
                change(&mut chance, &mut bytes, &other);
            }
            more += u64::from(knock(name, *door, &bytes));
        }
        let count = inputs.len();
        println!(
            "{name}: {count} inputs, {accepted} accepted; {done} by chance of seed {seed}, {more} accepted"
        );
        total += done;
    }
    assert!(total_len <= CORPUS_LEN_MAX, "{total_len} bytes of corpus");
    println!("{total} executions at {} decoders, 0 broken promises", DOORS.len());
}

#[test]
fn no_corpus_is_without_a_door() {
    for entry in std::fs::read_dir(folder("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(door(&name).is_some(), "fuzz/corpus/{name} has no door");
    }
}

fn write_corpus() {
    for (name, inputs) in made() {
        std::fs::create_dir_all(folder(name)).unwrap();
        for (number, bytes) in inputs.into_iter().enumerate() {
            std::fs::write(folder(name).join(format!("made-{number:02}")), bytes).unwrap();
        }
    }
}

/// Inputs that every door accepts, and some that it should not.
fn made() -> BTreeMap<&'static str, Vec<Vec<u8>>> {
    let (header, slot) = header_and_slot();
    let words = RecoveryPhrase::draw(&SeededEnv::new(1)).words().as_bytes().to_vec();
    let names = [&b"vault"[..], b"h/aaaaaaaaaaaaaaaaaaaaaaaaaa", b"o/ab/abcdefghijklmnopqrstuvwxyz"];
    let group = operations();
    let mut made = BTreeMap::from([
        ("numbers", vec![[&[0, 0x80, 1, 2, 3, 1, 2, 3, 3][..], &[7; 8]].concat(), vec![1, 2, 0]]),
        ("object_name", names.map(Vec::from).to_vec()),
        ("phrase", vec![words]),
        ("header", vec![header]),
        ("slot", vec![slot]),
        ("roster_entry", vec![[&[1, 3, 2, 4][..], b"docs", &[1, 2]].concat()]),
        ("sealed", vec![[&[0, 5, 0, 0, 0, 5, 0, 0, 0][..], b"hello"].concat()]),
        (
            "chunk",
            vec![
                [&[0, 4, 0, 0, 0, 0, 0, 0, 0][..], b"hello"].concat(),
                vec![1, 0, 0, 1, 0, 2, 0, 0, 0, 1, 2],
            ],
        ),
        ("pack_table", vec![[&[1][..], &[5; 32], &[5, 0]].concat()]),
        ("run_fence", vec![[&[9; 32][..], &[2, 1], &[7; 32]].concat()]),
        ("run_block", vec![run_entry()]),
        ("segment", vec![[&[2][..], &[3; 32], &[0, 0, 1, 0], &group].concat()]),
        ("head", vec![[&[12, 0, 0, 2][..], &[4; 32], &[0, 0]].concat()]),
        ("checkpoint", vec![checkpoint()]),
        ("journal_frames", vec![frames()]),
        ("journal_batch", vec![batch(&group)]),
    ]);
    for (name, file) in [
        ("operations", "operations"),
        ("directory_leaf", "directory-leaf"),
        ("inode_leaf", "inode-leaf"),
        ("extents", "extent-leaf"),
        ("list", "list"),
    ] {
        made.insert(name, vectors(file));
    }
    made
}

/// The bytes of the vectors of a kind that are not long.
fn vectors(file: &str) -> Vec<Vec<u8>> {
    let text = Repository::open().text(&format!("crates/keepfs-format/tests/vectors/{file}.txt")).unwrap();
    let bytes = text.lines().filter_map(|line| line.strip_prefix("bytes: "));
    let bytes = bytes.map(|hex| data_encoding::HEXLOWER.decode(hex.trim().as_bytes()).unwrap());
    bytes.filter(|bytes| bytes.len() <= 1500).collect()
}

fn header_and_slot() -> (Vec<u8>, Vec<u8>) {
    let (place, _, _) = Place::found(1).unwrap();
    let bytes = place.store.get(&ObjectName::vault(), 1 << 16).unwrap();
    let header = Header::decode(&bytes).unwrap();
    let ListedSlot::Known(slot) = &header.slots()[0] else { panic!("a slot of ours is known") };
    (bytes, slot.encode())
}

/// A group that fits every tree.
fn operations() -> Vec<u8> {
    let change = AttrChange { mode: Some(0o700), ..AttrChange::default() };
    let ops = vec![Op::SetAttr { ino: Ino::ROOT, change }];
    let group =
        OpGroup { hlc: Hlc(1_800_000_000_000 << 16), time: Time { secs: 1_800_000_000, nanos: 0 }, ops };
    let mut writer = Writer::new();
    encode_group(&mut writer, &group, &mut DeltaState::new()).unwrap();
    writer.into_bytes()
}

fn batch(group: &[u8]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u64(1_800_000_000_000 << 16);
    writer.bytes(b"");
    writer.bytes(group);
    // Bytes of a file that is not there count for nothing.
    writer.raw(&[9, 0, 5, 0, 0, 0, 0, 5]);
    writer.raw(b"hello");
    writer.into_bytes()
}

fn run_entry() -> Vec<u8> {
    let mut writer = Writer::new();
    writer.raw(&[5; 32]);
    writer.delta(5 << 40 | 9, 0);
    writer.raw(&[0, 0, 5, 0]);
    writer.into_bytes()
}

/// Number, time, vector, logical time, root, table of shared inodes, counts, runs, packs, next numbers.
fn checkpoint() -> Vec<u8> {
    let root = [&[18, 1, 0, 0, 0, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 1, 1, 2, 0]].concat();
    let seen = [&[1, 5, 2][..], &[6; 32]].concat();
    [&[4, 0, 0][..], &seen, &[0; 8], &root, &[0, 1, 0, 0, 0, 0, 1, 1, 1, 1]].concat()
}

/// Frames of every kind: each a kind, two bytes of length, what it calls durable, flags, and what it carries.
fn frames() -> Vec<u8> {
    let frame = |kind: u8, payload: &[u8]| [&[kind, payload.len() as u8, 0, 0, 0][..], payload].concat();
    [frame(1, b"one"), frame(2, b"begun "), frame(3, b"and "), frame(4, b"ended"), frame(6, b"")].concat()
}
