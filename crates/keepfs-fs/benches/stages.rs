//! What each stage of a write and a read costs by itself, and the whole of them: `cargo bench -p keepfs-fs`, a word behind
//! `--` picks stages. `bench/stages.py` shows each stage's share of the whole. Chunks are sealed on one thread here.
#![allow(clippy::unwrap_used)]
// The macros make functions that nobody documents.
#![allow(missing_docs)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use criterion::{
    BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main, measurement::WallTime,
};
use keepfs_format::Env;
use keepfs_format::chunk::{ChunkOpener, ChunkSealer};
use keepfs_format::compress::Compression;
use keepfs_format::ids::{ChunkId, Locator, MachineTag, NamespaceId, Time, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets};
use keepfs_format::local::LocalKeys;
use keepfs_format::secret::Secret;
use keepfs_fs::disk::{LocalDisk, OsDisk};
use keepfs_fs::home::{self, KdfParams, NewVault, Site};
use keepfs_fs::journal::{Journal, JournalOptions, JournalPlace, Position};
use keepfs_fs::{Caller, Fs, Ino, Kind, NewNode, Options, World};
use keepfs_store::{MemoryStore, ObjectName, Staged, Staging, Store};
use keepfs_stores::FileStore;
use keepfs_vault::{ChunkIndex, ChunkSpace, Chunker, Cutting, SpaceOptions, StagingPlace, VaultError};
use parking_lot::RwLock;

const MIB: usize = 1 << 20;
/// Bytes that one round of a stage works on.
const TOTAL: usize = 64 * MIB;
/// Pieces in which chunks are identified and sealed: the average length.
const PIECE_LEN: usize = MIB;
/// Each stretch of this length is made different for each round, so that no chunk is known already.
const STIR_LEN: usize = 64 << 10;
const ZSTD: Compression = Compression::Zstd(1);
const CALLER: Caller = Caller { uid: 0, gid: 0, pid: 1 };

/// Numbers that follow from a seed (xorshift64*, Vigna, "An experimental exploration of Marsaglia's xorshift
/// generators, scrambled", 2016).
struct Noise(u64);

impl Noise {
    fn word(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len / 8).flat_map(|_| self.word().to_le_bytes()).collect()
    }
}

/// Source text: windows of this repository's files, in random order.
fn text(len: usize) -> Vec<u8> {
    let mut source = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut source);
    let mut noise = Noise(1);
    let mut out = Vec::with_capacity(len + 8192);
    while out.len() < len {
        let start = noise.word() as usize % (source.len() - 8192);
        out.extend_from_slice(&source[start..start + 8192]);
    }
    out.truncate(len);
    out
}

fn collect(directory: &Path, out: &mut Vec<u8>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.extend(std::fs::read(&path).unwrap());
        }
    }
}

/// Makes every chunk of `data` one that was never seen.
fn stir(data: &mut [u8], round: u64) {
    for stretch in data.chunks_mut(STIR_LEN) {
        stretch[..8].copy_from_slice(&round.to_le_bytes());
    }
}

/// The clock, and randomness that is good enough to measure with.
struct System(AtomicU64);

impl Env for System {
    fn now(&self) -> Time {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Time { secs: now.as_secs() as i64, nanos: now.subsec_nanos() }
    }

    fn fill(&self, out: &mut [u8]) {
        let mut noise = Noise(self.0.fetch_add(1 << 32, Ordering::Relaxed) | 1);
        out.iter_mut().for_each(|byte| *byte = noise.word() as u8);
    }
}

fn system() -> Arc<System> {
    Arc::new(System(AtomicU64::new(7)))
}

fn keys() -> Arc<NamespaceKeys> {
    Arc::new(NamespaceKeys::derive(&NamespaceSecrets {
        vault: VaultId([9; 32]),
        namespace: NamespaceId(1),
        epoch: 1,
        epoch_key: Secret::new([1; 32]),
        id_key: Secret::new([2; 32]),
        cut_key: Secret::new([3; 32]),
        directory_key: Secret::new([4; 32]),
        name_key: Secret::new([5; 32]),
    }))
}

/// An index that knows nothing.
struct Empty;

impl ChunkIndex for Empty {
    fn lookup(&self, _: &ChunkId) -> Result<Option<Locator>, VaultError> {
        Ok(None)
    }
}

/// A pack in memory that was touched before: on a virtual machine the first touch of a page costs more than everything
/// that is measured here.
struct Plain(Arc<RwLock<Vec<u8>>>);

/// Memory for the packs of one space, used again and again.
struct PlainStaging(Vec<Arc<RwLock<Vec<u8>>>>, AtomicU64);

impl PlainStaging {
    fn new() -> Self {
        let packs = TOTAL / (40 * MIB) + 4;
        Self((0..packs).map(|_| Arc::new(RwLock::new(vec![1; 48 * MIB]))).collect(), AtomicU64::new(0))
    }
}

impl Staging for PlainStaging {
    fn create(&self, _: &ObjectName) -> keepfs_store::Result<Box<dyn Staged>> {
        let next = self.1.fetch_add(1, Ordering::Relaxed) as usize;
        Ok(Box::new(Plain(self.0[next % self.0.len()].clone())))
    }
    fn reopen(&self, name: &ObjectName) -> keepfs_store::Result<Box<dyn Staged>> {
        Err(keepfs_store::StoreError::not_found(name))
    }
    fn list(&self) -> keepfs_store::Result<Vec<ObjectName>> {
        Ok(Vec::new())
    }
    fn discard(&self, _: &ObjectName) -> keepfs_store::Result<()> {
        Ok(())
    }
}

impl Staged for Plain {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> keepfs_store::Result<()> {
        self.0.write()[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> keepfs_store::Result<()> {
        out.copy_from_slice(&self.0.read()[offset as usize..offset as usize + out.len()]);
        Ok(())
    }
    fn len(&self) -> keepfs_store::Result<u64> {
        Ok(self.0.read().len() as u64)
    }
    fn truncate(&self, _: u64) -> keepfs_store::Result<()> {
        Ok(())
    }
    fn sync(&self) -> keepfs_store::Result<()> {
        Ok(())
    }
    fn publish(&self) -> keepfs_store::Result<()> {
        Ok(())
    }
}

fn space(staging: &Arc<PlainStaging>) -> ChunkSpace {
    let store = Arc::new(MemoryStore::new());
    let mut options = SpaceOptions::new(store, keys(), system(), MachineTag(1), Arc::new(Empty));
    options.staging = StagingPlace::Separate(staging.clone());
    options.compression = ZSTD;
    // What is read here was never read before.
    options.block_cache_len_max = 0;
    ChunkSpace::open(options).unwrap()
}

fn group<'a>(
    criterion: &'a mut Criterion,
    name: &str,
    throughput: Throughput,
) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.throughput(throughput).sample_size(10);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    group
}

/// The kinds of bytes that everything is measured with.
fn kinds() -> [(&'static str, Vec<u8>); 2] {
    [("noise", Noise(1).bytes(TOTAL)), ("text", text(TOTAL))]
}

/// Finding boundaries, and naming what lies between them.
fn cut_and_name(criterion: &mut Criterion) {
    let keys = keys();
    let chunker = Chunker::new(keys.gear_table(), Cutting::Content);
    let mut group = group(criterion, "bytes", Throughput::Bytes(TOTAL as u64));
    for (kind, data) in &kinds() {
        group.bench_function(format!("cut {kind}"), |bencher| {
            bencher.iter(|| {
                let mut rest = data.as_slice();
                while !rest.is_empty() {
                    rest = &rest[chunker.cut(rest, true)..];
                }
            });
        });
    }
    let noise = &kinds()[0].1;
    group.bench_function("keyed BLAKE3", |bencher| {
        bencher.iter(|| noise.chunks(PIECE_LEN).for_each(|piece| _ = black_box(keys.chunk_id(piece))));
    });
}

/// Compressing and sealing, and the way back.
fn seal_and_open(criterion: &mut Criterion) {
    let keys = keys();
    let mut group = group(criterion, "bytes", Throughput::Bytes(TOTAL as u64));
    let [noise, text] = kinds();
    let sealers = [
        ("seal", &noise, ZSTD),
        ("zstd 1 + seal text", &text, ZSTD),
        ("LZ4 + seal text", &text, Compression::Lz4),
    ];
    for (name, (_, data), compression) in sealers {
        let mut sealer = ChunkSealer::new(compression);
        let mut out = Vec::with_capacity(2 * PIECE_LEN);
        let ids: Vec<ChunkId> = data.chunks(PIECE_LEN).map(|piece| keys.chunk_id(piece)).collect();
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for (piece, id) in data.chunks(PIECE_LEN).zip(&ids) {
                    sealer.seal(&keys, id, [7; 16], piece, &mut out).unwrap();
                }
            });
        });
        let sealed: Vec<Vec<u8>> = data
            .chunks(PIECE_LEN)
            .zip(&ids)
            .map(|(piece, id)| {
                let mut out = Vec::new();
                sealer.seal(&keys, id, [7; 16], piece, &mut out).unwrap();
                out
            })
            .collect();
        let (mut opener, mut plain) = (ChunkOpener::new(), vec![0; PIECE_LEN]);
        group.bench_function(name.replace("seal", "open"), |bencher| {
            bencher.iter(|| {
                for (sealed, id) in sealed.iter().zip(&ids) {
                    opener.open_chunk(&keys, id, sealed, &mut plain).unwrap();
                }
            });
        });
    }
}

/// Everything from a cut chunk to its place in a pack in memory, with the check of what was sealed; and back.
fn pack(criterion: &mut Criterion) {
    let staging = Arc::new(PlainStaging::new());
    let mut group = group(criterion, "bytes", Throughput::Bytes(TOTAL as u64));
    for (kind, mut data) in kinds() {
        let space = space(&staging);
        let mut round = 0;
        group.bench_function(format!("pack {kind}"), |bencher| {
            bencher.iter(|| {
                round += 1;
                stir(&mut data, round);
                for piece in data.chunks(PIECE_LEN) {
                    black_box(space.put(piece).unwrap());
                }
                black_box(space.take_added());
            });
        });
        let space = self::space(&staging);
        let stored: Vec<_> = data.chunks(PIECE_LEN).map(|piece| space.put(piece).unwrap()).collect();
        let mut out = vec![0; PIECE_LEN];
        group.bench_function(format!("read {kind}"), |bencher| {
            bencher.iter(|| {
                for stored in &stored {
                    space.read(&stored.id, &stored.at, 0, &mut out[..stored.at.plain_len as usize]).unwrap();
                }
            });
        });
    }
}

/// A record of the journal, durable on this machine's disk.
fn journal(criterion: &mut Criterion) {
    const FILE_APPENDS: u64 = 1_000;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let place = JournalPlace {
        disk: Arc::new(OsDisk),
        dir: folder.path().join("journal"),
        keys: Arc::new(LocalKeys::derive(&Secret::new([1; 32]))),
        env: system(),
        options: JournalOptions::default(),
    };
    let (journal, _) = Journal::open(place, Position::OLDEST, &mut |_, _| Ok(())).unwrap();
    let record = [7; 4096];
    let mut group = group(criterion, "calls", Throughput::Elements(1));
    let mut count = 0;
    let mut renew = |journal: &Journal, end: Position| {
        count += 1;
        if count % FILE_APPENDS == 0 {
            journal.trim(end);
            journal.prepare().unwrap();
        }
    };
    group.bench_function("journal append + fdatasync", |bencher| {
        bencher.iter(|| renew(&journal, journal.append(&record).unwrap()));
    });
}

/// A mounted vault without its mount, over a directory.
struct Whole {
    fs: Fs,
    _folder: tempfile::TempDir,
}

impl Whole {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (store_dir, state_dir) = (folder.path().join("store"), folder.path().join("state"));
        std::fs::create_dir(&store_dir).unwrap();
        let store: Arc<dyn Store> = Arc::new(FileStore::open(&store_dir, Default::default()).unwrap());
        let (disk, env) = (Arc::new(OsDisk) as Arc<dyn LocalDisk>, system() as Arc<dyn Env>);
        let site = Site { store: Some(&*store), disk: &*disk, state_dir: &state_dir, env: &*env };
        let (kdf, compression) = (KdfParams::FLOOR, ZSTD);
        let new =
            NewVault { password: b"correct horse", kdf, user_name: "u", machine_name: "m", compression };
        let (_, unlocked) = home::init(&site, &new).unwrap();
        let world = World { store, staging: None, cache: None, disk, env, unlocked };
        Self { fs: Fs::start(world, Options::new(state_dir)).unwrap(), _folder: folder }
    }

    /// Writes a new file as the kernel would, and waits until it is durable.
    fn write(&self, name: &str, data: &[u8]) {
        let node = NewNode { kind: Kind::File, mode: 0o644, rdev: 0, target: b"", caller: CALLER };
        let (_, opened) = self.fs.create(Ino::ROOT, name.as_bytes(), &node, libc::O_RDWR).unwrap();
        for (at, piece) in data.chunks(MIB).enumerate() {
            self.fs.write(opened.handle, (at * MIB) as u64, piece, false).unwrap();
        }
        self.fs.fsync(opened.handle, false).unwrap();
        self.fs.release(opened.handle).unwrap();
        self.fs.unlink(Ino::ROOT, name.as_bytes()).unwrap();
    }
}

/// Everything that stands behind the mount.
fn whole(criterion: &mut Criterion) {
    let mut bytes = group(criterion, "bytes", Throughput::Bytes(TOTAL as u64));
    let whole = Whole::new();
    for (kind, mut data) in kinds() {
        let mut round = 0;
        bytes.bench_function(format!("whole write + fsync {kind}"), |bencher| {
            bencher.iter(|| {
                round += 1;
                stir(&mut data, round);
                whole.write(&format!("{kind} {round}"), &data);
            });
        });
    }
    bytes.finish();
    let mut calls = group(criterion, "calls", Throughput::Elements(2));
    let mut count = 0_u64;
    calls.bench_function("metadata transaction", |bencher| {
        let node = NewNode { kind: Kind::Directory, mode: 0o755, rdev: 0, target: b"", caller: CALLER };
        bencher.iter(|| {
            count += 1;
            let name = count.to_string();
            whole.fs.make(Ino::ROOT, name.as_bytes(), &node).unwrap();
            whole.fs.rmdir(Ino::ROOT, name.as_bytes()).unwrap();
        });
    });
    whole.fs.close().unwrap();
}

criterion_group!(stages, cut_and_name, seal_and_open, pack, journal, whole);
criterion_main!(stages);
