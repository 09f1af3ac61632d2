//! Test vectors: files of bytes and of what a reader has to make of them, for any implementation.
//!
//! `KEEPFS_WRITE_VECTORS=1 cargo test -p keepfs-format --test format vectors` writes them anew. That changes
//! the format: it is done when the format's version rises, or to add vectors, never to make a test pass.

use std::fmt::Write as _;
use std::path::PathBuf;

use keepfs_format::FormatError;
use keepfs_format::checkpoint::Checkpoint;
use keepfs_format::chunk::ChunkOpener;
use keepfs_format::codec::Reader;
use keepfs_format::directory::{DirectoryReader, InodeReader, decode_extents, decode_list};
use keepfs_format::head::Head;
use keepfs_format::ids::{ChunkId, MachineTag, PackId, Time};
use keepfs_format::keys::Role;
use keepfs_format::op_codec::decode_run;
use keepfs_format::pack::open_trailer;
use keepfs_format::run::{Run, RunId};
use keepfs_format::segment::{Segment, SegmentPlace};
use keepfs_format::signed::ObjectHash;

use crate::cases;
use crate::log_objects::key_at;
use crate::support::{DIRECTORY, keys};

/// One vector, before or after it was in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vector {
    /// What reads it: the name of its file.
    pub(crate) kind: &'static str,
    /// What it shows; of a refused one, its flaw.
    pub(crate) name: String,
    /// What the reader is told besides the bytes.
    pub(crate) args: Vec<String>,
    /// The bytes.
    pub(crate) bytes: Vec<u8>,
}

impl Vector {
    pub(crate) fn new(kind: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self { kind, name: name.to_owned(), args: Vec::new(), bytes: bytes.into() }
    }

    pub(crate) fn arg(mut self, arg: impl ToString) -> Self {
        self.args.push(arg.to_string());
        self
    }

    fn number(&self, at: usize) -> u64 {
        self.args[at].parse().unwrap()
    }

    fn hash(&self, at: usize) -> [u8; 32] {
        unhex(&self.args[at]).try_into().unwrap()
    }

    /// What our reader makes of it.
    fn outcome(&self) -> String {
        match self.read() {
            Ok(value) => format!("accepted {value}"),
            Err(error) => format!("refused {error}"),
        }
    }

    fn read(&self) -> Result<String, FormatError> {
        let (keys, bytes) = (keys(), &self.bytes[..]);
        Ok(match self.kind {
            "number" => {
                let mut reader = Reader::new(bytes, "number");
                let value = reader.varint()?;
                reader.finish()?;
                value.to_string()
            }
            "time" => {
                let mut reader = Reader::new(bytes, "time");
                let time = reader.time(Time { secs: 100, nanos: 500_000_000 })?;
                reader.finish()?;
                format!("{time:?}")
            }
            "operations" => format!("{:?}", decode_run(bytes)?),
            "directory-leaf" => {
                let mut entries = Vec::new();
                DirectoryReader::new(DIRECTORY).leaf(bytes, &mut |entry| entries.push(entry))?;
                format!("{entries:?}")
            }
            "inode-leaf" => {
                let mut records = Vec::new();
                InodeReader::new().leaf(bytes, &mut |record| records.push(record))?;
                format!("{records:?}")
            }
            "extent-leaf" => format!("{:?}", decode_extents(bytes)?),
            "list" => decode_list(bytes)?.iter().map(|id| hex(&id.0)).collect::<Vec<_>>().join(" "),
            "chunk" => {
                let mut plain = vec![0; self.number(1) as usize];
                ChunkOpener::new().open_chunk(&keys, &ChunkId(self.hash(0)), bytes, &mut plain)?;
                format!("blake3 {}", blake3::hash(&plain).to_hex())
            }
            "object" => {
                let role = match self.args[0].as_str() {
                    "head" => Role::Head,
                    _ => Role::Checkpoint,
                };
                let plain = keys.open_object(role, &self.args[1], bytes, self.number(2) as usize)?;
                format!("blake3 {}", blake3::hash(&plain).to_hex())
            }
            "pack" => format!("{:?}", open_trailer(&keys, PackId(self.number(0)), self.number(1), bytes)?),
            "run" => {
                let id = RunId { machine: self.machine(), number: self.number(1) };
                let run = Run::open(&keys, id, self.number(2), bytes)?;
                format!("{} entries in {} blocks", run.entry_count(), run.block_count())
            }
            "segment" => {
                let previous = ObjectHash(self.hash(2));
                let place = SegmentPlace { machine: self.machine(), seq: self.number(1), previous };
                let (segment, _) = Segment::open(&keys, &place, bytes, &key_at)?;
                format!("{segment:?}")
            }
            "head" => format!("{:?}", Head::open(&keys, self.machine(), bytes, &key_at)?.0),
            "checkpoint" => {
                let place = (self.machine(), self.number(1));
                format!("{:?}", Checkpoint::open(&keys, place, bytes, &key_at)?.0)
            }
            kind => panic!("no reader for {kind}"),
        })
    }

    fn machine(&self) -> MachineTag {
        MachineTag(self.number(0) as u32)
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn unhex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn kinds(vectors: &[Vector]) -> Vec<&'static str> {
    let mut kinds: Vec<_> = vectors.iter().map(|vector| vector.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds
}

/// Writes one file a kind.
fn write_files(vectors: &[Vector]) {
    for kind in kinds(vectors) {
        let mut text = String::new();
        for vector in vectors.iter().filter(|vector| vector.kind == kind) {
            let Vector { name, args, bytes, .. } = vector;
            writeln!(text, "name: {name}").unwrap();
            if !args.is_empty() {
                writeln!(text, "args: {}", args.join(" ")).unwrap();
            }
            writeln!(text, "bytes: {}\noutcome: {}\n", hex(bytes), vector.outcome()).unwrap();
        }
        std::fs::create_dir_all(folder()).unwrap();
        std::fs::write(folder().join(format!("{kind}.txt")), text).unwrap();
    }
}

/// Reads the file of a kind: vectors and their outcomes.
fn read_file(kind: &'static str) -> Vec<(Vector, String)> {
    let text = std::fs::read_to_string(folder().join(format!("{kind}.txt"))).unwrap();
    text.split("\n\n")
        .filter(|block| !block.trim().is_empty())
        .map(|block| {
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(&format!("{name}:"))).map(str::trim)
            };
            let vector = Vector {
                kind,
                name: field("name").unwrap().to_owned(),
                args: field("args").unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
                bytes: unhex(field("bytes").unwrap()),
            };
            (vector, field("outcome").unwrap().to_owned())
        })
        .collect()
}

#[test]
fn vectors_are_read_as_they_always_were() {
    let made = cases::all();
    if std::env::var_os("KEEPFS_WRITE_VECTORS").is_some() {
        write_files(&made);
    }
    let (mut total, mut refused) = (0, 0);
    for kind in kinds(&made) {
        let vectors = read_file(kind);
        for (vector, outcome) in &vectors {
            assert_eq!(&vector.outcome(), outcome, "{kind} {}", vector.name);
            total += 1;
            refused += usize::from(outcome.starts_with("refused"));
        }
        let names: Vec<_> = vectors.iter().map(|(vector, _)| &vector.name).collect();
        let made: Vec<_> =
            made.iter().filter(|vector| vector.kind == kind).map(|vector| &vector.name).collect();
        assert_eq!(names, made, "the file of {kind} holds the vectors that are made");
    }
    assert!(total >= 150, "{total} vectors");
    assert!(2 * refused >= total, "{refused} of {total} are refused");
}

#[test]
fn every_vector_has_its_own_name_and_the_outcome_the_name_says() {
    let mut seen = std::collections::HashSet::new();
    for vector in cases::all() {
        let Vector { kind, name, .. } = &vector;
        assert!(seen.insert((*kind, name.clone())), "{kind} {name} is there twice");
        let says_good = name.starts_with("good_");
        assert_eq!(vector.read().is_ok(), says_good, "{kind} {name}: {}", vector.outcome());
    }
}
