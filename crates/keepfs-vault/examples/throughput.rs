//! How fast chunks go in and come out on this machine, one thread and two, over a store in memory:
//! `cargo run --release -p keepfs-vault --example throughput`. An argument picks the kinds of data whose name
//! holds it; a second one is a directory, over which the same is done with files.
#![allow(clippy::unwrap_used)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use keepfs_format::Env;
use keepfs_format::compress::Compression;
use keepfs_format::ids::{ChunkId, Locator, MachineTag, NamespaceId, Time, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets};
use keepfs_format::op::Op;
use keepfs_format::secret::Secret;
use keepfs_store::{MemoryStore, ObjectName, Staged, Staging};
use keepfs_vault::{ChunkIndex, ChunkSpace, SpaceOptions, StagingPlace, Stored, VaultError};
use parking_lot::RwLock;

const MIB: usize = 1 << 20;
const TOTAL: usize = 256 * MIB;

struct Noise(u64);

impl Noise {
    fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word ^ (word >> 29)
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len / 8).flat_map(|_| self.word().to_le_bytes()).collect()
    }
}

fn text(len: usize) -> Vec<u8> {
    let mut source = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), &mut source);
    let mut noise = Noise(1);
    let mut out = Vec::with_capacity(len + source.len());
    while out.len() < len {
        let start = noise.word() as usize % (source.len() - 8192);
        out.extend_from_slice(&source[start..start + 8192]);
    }
    out.truncate(len);
    out
}

fn collect(directory: &Path, out: &mut Vec<u8>) {
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.extend(std::fs::read(&path).unwrap());
        }
    }
}

struct System(AtomicU64);

impl Env for System {
    fn now(&self) -> Time {
        Time { secs: 0, nanos: 0 }
    }

    fn fill(&self, out: &mut [u8]) {
        let mut noise = Noise(self.0.fetch_add(1 << 40, Ordering::Relaxed));
        out.iter_mut().for_each(|byte| *byte = noise.word() as u8);
    }
}

struct Empty;

impl ChunkIndex for Empty {
    fn lookup(&self, _: &ChunkId) -> Result<Option<Locator>, VaultError> {
        Ok(None)
    }
}

/// Staged objects without the bookkeeping that lets a memory store lose power.
struct Plain(Arc<RwLock<Vec<u8>>>);

/// Memory for the packs of one space, used again for the next: on a virtual machine the first touch of a page
/// costs more than everything that is measured here.
struct PlainStaging(Vec<Arc<RwLock<Vec<u8>>>>, AtomicU64);

impl PlainStaging {
    fn new() -> Self {
        let packs = TOTAL / (40 * MIB) + 2;
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

fn space(staging: &Arc<PlainStaging>, compression: Compression) -> ChunkSpace {
    let env = Arc::new(System(AtomicU64::new(7)));
    let mut options =
        SpaceOptions::new(Arc::new(MemoryStore::new()), keys(), env, MachineTag(1), Arc::new(Empty));
    options.staging = StagingPlace::Separate(staging.clone());
    options.compression = compression;
    ChunkSpace::open(options).unwrap()
}

/// A moment, in wall-clock time and in time this thread was on a processor: on a shared machine the second
/// says what the code costs.
struct Watch(Instant, u64);

fn on_processor_ns() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn start() -> Watch {
    Watch(Instant::now(), on_processor_ns())
}

fn report(what: &str, watch: Watch, bytes: usize, operations: usize) {
    let secs = watch.0.elapsed().as_secs_f64();
    let busy_secs = (on_processor_ns() - watch.1) as f64 / 1e9;
    println!(
        "{what:<40} {:>6.2} GB/s {:>9.0} /s   on processor {:>6.2} GB/s {:>9.0} /s",
        bytes as f64 / secs / 1e9,
        operations as f64 / secs,
        bytes as f64 / busy_secs / 1e9,
        operations as f64 / busy_secs,
    );
}

fn cut_all(space: &ChunkSpace, data: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < data.len() {
        let len = space.cut(&data[start..], true);
        ranges.push(start..start + len);
        start += len;
    }
    ranges
}

fn put_all(space: &ChunkSpace, data: &[u8], ranges: &[std::ops::Range<usize>]) -> Vec<Stored> {
    ranges.iter().map(|range| space.put(&data[range.clone()]).unwrap()).collect()
}

/// Makes the buffers and contexts that a space keeps.
fn warm_up(space: &ChunkSpace) {
    for byte in 0..4 {
        space.put(&vec![byte; 4 * MIB]).unwrap();
    }
}

fn large(staging: &Arc<PlainStaging>, name: &str, data: &[u8], compression: Compression) {
    let space_ = space(staging, compression);
    warm_up(&space_);
    let watch = start();
    let ranges = cut_all(&space_, data);
    report(&format!("{name}: cut"), watch, data.len(), ranges.len());

    let watch = start();
    let stored = put_all(&space_, data, &ranges);
    report(&format!("{name}: put, one thread"), watch, data.len(), ranges.len());

    let mut out = vec![0; 4 * MIB];
    let watch = start();
    for stored in &stored {
        space_.read(&stored.id, &stored.at, 0, &mut out[..stored.at.plain_len as usize]).unwrap();
        black_box(&out);
    }
    report(&format!("{name}: read whole chunks"), watch, data.len(), stored.len());

    let watch = start();
    for stored in &stored {
        for skip in (0..stored.at.plain_len).step_by(128 << 10) {
            let len = (stored.at.plain_len - skip).min(128 << 10) as usize;
            space_.read(&stored.id, &stored.at, skip, &mut out[..len]).unwrap();
        }
    }
    report(&format!("{name}: read 128 KiB at a time"), watch, data.len(), data.len() / (128 << 10));

    random_reads(&format!("{name}: read 4 KiB at random"), &space_, &stored);

    let two = space(staging, compression);
    warm_up(&two);
    let (one, other) = ranges.split_at(ranges.len() / 2);
    let watch = start();
    std::thread::scope(|scope| {
        scope.spawn(|| put_all(&two, data, one));
        scope.spawn(|| put_all(&two, data, other));
    });
    report(&format!("{name}: put, two threads"), watch, data.len(), ranges.len());
}

fn small(staging: &Arc<PlainStaging>, name: &str, data: &[u8], len: usize) {
    let space = space(staging, Compression::Zstd(1));
    warm_up(&space);
    let ranges: Vec<_> = (0..data.len() / len).map(|index| index * len..(index + 1) * len).collect();
    let watch = start();
    let stored = put_all(&space, data, &ranges);
    report(&format!("{name}: put {len} B chunks"), watch, ranges.len() * len, ranges.len());
    let mut out = vec![0; len];
    let watch = start();
    for stored in &stored {
        space.read(&stored.id, &stored.at, 0, &mut out).unwrap();
    }
    report(&format!("{name}: read {len} B chunks"), watch, ranges.len() * len, ranges.len());
    black_box(space.take_added());
}

/// A file store in a directory: what is put is synced, closed, published, and read back by a second space
/// that has no handle of it, from the page cache.
fn over_files(directory: &str, data: &[u8]) {
    let directory = tempfile::tempdir_in(directory).unwrap();
    let store = || Arc::new(keepfs_stores::FileStore::open(directory.path(), Default::default()).unwrap());
    let open = || {
        let env = Arc::new(System(AtomicU64::new(7)));
        ChunkSpace::open(SpaceOptions::new(store(), keys(), env, MachineTag(1), Arc::new(Empty))).unwrap()
    };
    let space = open();
    let ranges = cut_all(&space, data);
    let watch = start();
    let stored = put_all(&space, data, &ranges);
    report("files: put, one thread", watch, data.len(), ranges.len());
    let watch = start();
    space.sync().unwrap();
    report("files: sync", watch, data.len(), 1);
    space.close_packs().unwrap();
    for added in space.take_added() {
        let Op::PackAdd { pack, first, chunks } = added else { continue };
        space.settled(pack, first + chunks.len() as u32);
    }
    let watch = start();
    while space.publisher().run_next() {}
    report("files: publish", watch, data.len(), 1);

    let space = open();
    let mut out = vec![0; 4 * MIB];
    let watch = start();
    for stored in &stored {
        space.read(&stored.id, &stored.at, 0, &mut out[..stored.at.plain_len as usize]).unwrap();
    }
    report("files: read whole chunks", watch, data.len(), stored.len());
    space.trim();
    random_reads("files: read 4 KiB at random", &space, &stored);
}

fn random_reads(what: &str, space: &ChunkSpace, stored: &[Stored]) {
    let mut noise = Noise(3);
    let mut out = [0; 4096];
    let count = 50_000;
    let watch = start();
    for _ in 0..count {
        let stored = &stored[noise.word() as usize % stored.len()];
        let skip = noise.word() as u32 % (stored.at.plain_len - 4096);
        space.read(&stored.id, &stored.at, skip & !4095, &mut out).unwrap();
    }
    report(what, watch, count * 4096, count);
}

fn main() {
    let wanted = std::env::args().nth(1).unwrap_or_default();
    let staging = Arc::new(PlainStaging::new());
    let run = |name: &str, data: &[u8], compression| {
        if name.contains(&wanted) {
            large(&staging, name, data, compression);
        }
    };
    let noise = Noise(1).bytes(TOTAL);
    run("incompressible, zstd 1", &noise, Compression::Zstd(1));
    run("incompressible, lz4", &noise, Compression::Lz4);
    if let Some(directory) = std::env::args().nth(2) {
        over_files(&directory, &noise);
        return;
    }
    let text = text(TOTAL);
    run("source text, zstd 1", &text, Compression::Zstd(1));
    run("source text, lz4", &text, Compression::Lz4);
    if "small".contains(&wanted) {
        small(&staging, "incompressible", &noise[..128 * MIB], 4096);
        small(&staging, "source text", &text[..128 * MIB], 4096);
    }
}
