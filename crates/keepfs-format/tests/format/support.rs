//! Keys, randomness and samples that are the same on every run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_format::directory::{Content, DirectoryEntry, Extent, FileRecord, Node, ObjectRef};
use keepfs_format::identity::SigningKey;
use keepfs_format::ids::{ChunkId, Hlc, Ino, LinkId, MachineTag, NamespaceId, Stamp, Time, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets};
use keepfs_format::op::{Inode, Kind};
use keepfs_format::roster::EntryHash;
use keepfs_format::secret::Secret;
use keepfs_format::signed::RosterPoint;
use keepfs_format::{Env, FormatError};

/// Randomness from a seed and a counter: `BLAKE3(seed ‖ counter)`, extended.
pub(crate) struct CountingEnv {
    seed: u64,
    drawn: AtomicU64,
}

impl CountingEnv {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, drawn: AtomicU64::new(0) }
    }
}

impl Env for CountingEnv {
    fn now(&self) -> Time {
        Time { secs: 1_800_000_000, nanos: 0 }
    }

    fn fill(&self, out: &mut [u8]) {
        let drawn = self.drawn.fetch_add(1, Ordering::Relaxed);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.seed.to_le_bytes()).update(&drawn.to_le_bytes());
        hasher.finalize_xof().fill(out);
    }
}

/// Small random numbers from a seed, for histories that a seed replays.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| (self.next() >> 32) as u8).collect()
    }
}

pub(crate) fn random_bytes(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    CountingEnv::new(seed).fill(&mut bytes);
    bytes
}

pub(crate) const VAULT: VaultId = VaultId([9; 32]);
pub(crate) const NAMESPACE: NamespaceId = NamespaceId(1);
pub(crate) const MACHINE: MachineTag = MachineTag(5);
/// The directory whose leaves the tests read.
pub(crate) const DIRECTORY: Ino = Ino(1 << 62 | 4711);

pub(crate) fn secrets(vault: VaultId, namespace: NamespaceId, epoch: u32) -> NamespaceSecrets {
    NamespaceSecrets {
        vault,
        namespace,
        epoch,
        epoch_key: Secret::new([epoch as u8; 32]),
        id_key: Secret::new([21; 32]),
        cut_key: Secret::new([22; 32]),
        directory_key: Secret::new([23; 32]),
        name_key: Secret::new([24; 32]),
    }
}

pub(crate) fn keys() -> NamespaceKeys {
    NamespaceKeys::derive(&secrets(VAULT, NAMESPACE, 1))
}

pub(crate) fn signer() -> SigningKey {
    SigningKey::from_seed(Secret::new([31; 32]))
}

pub(crate) fn roster() -> RosterPoint {
    RosterPoint { position: 3, hash: EntryHash([8; 32]) }
}

pub(crate) fn number(counter: u64) -> u64 {
    u64::from(MACHINE.0) << 40 | counter
}

pub(crate) fn directory_ino(n: u64) -> Ino {
    Ino(1 << 62 | n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 2)
}

pub(crate) fn time(secs: i64) -> Time {
    Time { secs: 1_700_000_000 + secs, nanos: 123_456_789 }
}

pub(crate) fn chunk_id(n: u64) -> ChunkId {
    ChunkId(*blake3::hash(&n.to_le_bytes()).as_bytes())
}

pub(crate) fn inode(ino: Ino, kind: Kind, parent: Ino) -> Inode {
    let stamp = Stamp { hlc: Hlc((1_700_000_000_123 << 16) | 4), machine: MACHINE };
    Inode {
        ino,
        kind,
        mode: if kind == Kind::Directory { 0o755 } else { 0o644 },
        uid: 1000,
        gid: 1000,
        rdev: 0,
        nlink: if kind == Kind::Directory { 2 } else { 1 },
        size: 0,
        atime: time(0),
        mtime: time(0),
        ctime: time(0),
        btime: time(0),
        parent,
        attr_stamp: stamp,
        content_stamp: stamp,
        xattrs: Vec::new(),
        target: Box::default(),
    }
}

/// A file of one whole chunk.
pub(crate) fn file(n: u64, parent: Ino) -> FileRecord {
    let len = 1000 + n as u32 % 5000;
    let extent = Extent { offset: 0, len, skip: 0, plain_len: len, chunk: chunk_id(n) };
    FileRecord {
        inode: Inode { size: u64::from(len), ..inode(Ino(number(2 * n)), Kind::File, parent) },
        content: Content::Inline(vec![extent]),
    }
}

pub(crate) fn entry(name: &str, n: u64, node: Node) -> DirectoryEntry {
    DirectoryEntry { name: name.as_bytes().into(), link: LinkId(number(2 * n + 1)), node }
}

pub(crate) fn file_entry(name: &str, n: u64, parent: Ino) -> DirectoryEntry {
    entry(name, n, Node::File(Box::new(file(n, parent))))
}

/// Entries with everything that can be in one: the parent is `parent`.
pub(crate) fn all_entries(parent: Ino) -> Vec<DirectoryEntry> {
    let extent = |offset, len, skip, n| Extent { offset, len, skip, plain_len: 5000, chunk: chunk_id(n) };
    let special = |name: &str, n, kind, rdev, target: &[u8]| {
        let size = target.len() as u64;
        let inode = Inode { rdev, size, target: target.into(), ..inode(Ino(number(n)), kind, parent) };
        entry(name, n, Node::File(Box::new(FileRecord { inode, content: Content::default() })))
    };
    let with = |name: &str, n, size, content| {
        let inode = Inode { size, ..inode(Ino(number(n)), Kind::File, parent) };
        entry(name, n, Node::File(Box::new(FileRecord { inode, content })))
    };
    let mut odd = file(70, parent);
    odd.inode.xattrs = vec![
        (b"security.x".as_slice().into(), Box::default()),
        (b"user.y".as_slice().into(), b"value".as_slice().into()),
    ];
    odd.inode.atime = time(500);
    odd.inode.ctime = time(10);
    odd.inode.btime = Time { secs: -77, nanos: 1 };
    odd.inode.attr_stamp = Stamp { hlc: Hlc(5), machine: MachineTag(6) };
    odd.inode.mode = 0o6711;
    let mut directory = inode(directory_ino(3), Kind::Directory, parent);
    directory.nlink = 9;
    directory.mtime = time(-9);
    let listed = ObjectRef { depth: 1, ids: vec![chunk_id(90), chunk_id(91)] };
    let mut entries = vec![
        file_entry("plain", 60, parent),
        file_entry("plain too", 61, parent),
        entry("odd", 70, Node::File(Box::new(odd))),
        with("empty", 62, 0, Content::default()),
        with("hole", 63, 1 << 40, Content::default()),
        with(
            "parts",
            64,
            20_000,
            Content::Inline(vec![
                extent(10, 5000, 0, 1),
                extent(5010, 100, 7, 2),
                extent(6000, 4000, 1000, 3),
            ]),
        ),
        with("listed", 65, 1 << 30, Content::Listed(listed.clone())),
        special("link", 71, Kind::Symlink, 0, b"../elsewhere"),
        special("fifo", 72, Kind::Fifo, 0, b""),
        special("socket", 73, Kind::Socket, 0, b""),
        special("char", 74, Kind::CharDevice, 0x0501, b""),
        special("block", 75, Kind::BlockDevice, 0x0800, b""),
        entry("shared", 76, Node::Shared { ino: Ino(number(500)), kind: Kind::File }),
        entry("directory", 77, Node::Directory { inode: Box::new(directory.clone()), children: listed }),
        entry(
            "directory, empty",
            78,
            Node::Directory { inode: Box::new(directory), children: ObjectRef::default() },
        ),
    ];
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// Chunks in memory, by a hash.
#[derive(Default)]
pub(crate) struct Chunks(pub(crate) HashMap<ChunkId, Vec<u8>>);

impl Chunks {
    pub(crate) fn put(&mut self, bytes: &[u8]) -> Result<ChunkId, FormatError> {
        let id = keys().chunk_id(bytes);
        self.0.insert(id, bytes.to_vec());
        Ok(id)
    }

    pub(crate) fn get(&self, id: &ChunkId) -> Result<Vec<u8>, FormatError> {
        Ok(self.0[id].clone())
    }
}
