//! What a crash left: staged packs that must be finished, and tables read back from packs.

use std::ops::Range;
use std::sync::Arc;

use keepfs_format::FormatError;
use keepfs_format::chunk::{CHUNK_LEN_MAX, ChunkOpener, SEALED_LEN_MAX};
use keepfs_format::ids::{COUNTER_BITS, MachineTag, PackId};
use keepfs_format::pack::{self, PACK_CHUNKS_MAX, PACK_LEN_MAX, PACK_TAIL_LEN, PackTable};
use keepfs_store::{ObjectName, Result as StoreResult, Staged, StoreError};
use rustc_hash::FxHashSet;

use crate::error::{Result, VaultError};
use crate::pack_file::PackFile;
use crate::packs::{PackJob, Packs};
use crate::publisher::Publisher;

/// What became of a staged pack.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Positions of entries whose bytes did not survive, although they were synced: the disk lied or is
    /// dying. Reads of these chunks are damaged.
    pub damaged: Vec<u32>,
    /// It was on the store already.
    pub published: bool,
}

/// Most numbers that recovery compares with the names in the staging place: the highest ones, because what
/// a crash leaves is young.
const COUNTERS_MAX: u64 = 1 << 20;

pub(crate) fn staged_packs(packs: &Packs, machine: MachineTag, counters: Range<u64>) -> Result<Vec<PackId>> {
    let mut staged: FxHashSet<ObjectName> = packs.staging()?.list()?.into_iter().collect();
    let mut found = Vec::new();
    let start = counters.start.max(counters.end.saturating_sub(COUNTERS_MAX));
    for counter in (start..counters.end).rev() {
        if staged.is_empty() {
            break;
        }
        let pack = PackId(u64::from(machine.0) << COUNTER_BITS | counter);
        if staged.remove(&ObjectName::new(&packs.keys.pack_name(pack))?) {
            found.push(pack);
        }
    }
    found.reverse();
    Ok(found)
}

/// Makes a staged pack readable where it lies. Nothing is written, and it is not published.
pub(crate) fn adopt_pack(packs: &Packs, id: PackId, table: PackTable) -> Result<()> {
    check_len(&table)?;
    let name = packs.name(id)?;
    let staged = packs.staging()?.reopen(&name)?;
    let pack = Arc::new(PackFile::new(id, name, staged).recovered(table, None));
    packs.insert(pack.clone());
    packs.note_idle(&pack);
    Ok(())
}

fn check_len(table: &PackTable) -> Result<()> {
    match pack::fits(table.body_len(), table.entries.len()) {
        true => Ok(()),
        false => Err(VaultError::ChunkLength { len: table.entries.len(), limit: PACK_CHUNKS_MAX }),
    }
}

pub(crate) fn finish_pack(
    packs: &Arc<Packs>,
    id: PackId,
    table: PackTable,
    publisher: &Publisher,
) -> Result<Recovered> {
    let name = packs.name(id)?;
    check_len(&table)?;
    let staged = match packs.staging()?.reopen(&name) {
        Ok(staged) => staged,
        Err(StoreError::NotFound { .. }) => return published(packs, id, &name),
        Err(error) => return Err(error.into()),
    };
    if table.entries.is_empty() {
        drop(staged);
        packs.staging()?.discard(&name)?;
        return Ok(Recovered::default());
    }
    let damaged = damaged_entries(packs, &*staged, id, &table)?;
    let object_len = if has_trailer(packs, &*staged, id, &table)? {
        Some(staged.len()?)
    } else {
        // Entries beyond the end become zeros, which do not authenticate: positions stay what they were.
        staged.truncate(table.body_len())?;
        None
    };
    let pack = Arc::new(PackFile::new(id, name, staged).recovered(table, object_len));
    pack.seal(&packs.keys, &*packs.env, packs.staging()?)?;
    pack.sync(packs.staging()?)?;
    packs.insert(pack.clone());
    packs.note_idle(&pack);
    publisher.enqueue_pack(Arc::new(PackJob::new(packs.clone(), pack)));
    Ok(Recovered { damaged, published: false })
}

/// A pack that is not staged any more must be on the store.
fn published(packs: &Packs, pack: PackId, name: &ObjectName) -> Result<Recovered> {
    match packs.store.len(name) {
        Ok(_) => Ok(Recovered { damaged: Vec::new(), published: true }),
        Err(StoreError::NotFound { .. }) => Err(VaultError::Missing { pack, object: name.to_string() }),
        Err(error) => Err(error.into()),
    }
}

/// Opens every chunk of a staged pack; gives the positions of those that do not open.
fn damaged_entries(packs: &Packs, staged: &dyn Staged, id: PackId, table: &PackTable) -> Result<Vec<u32>> {
    let mut opener = ChunkOpener::new();
    let mut sealed = vec![0; SEALED_LEN_MAX as usize];
    let mut plain = vec![0; CHUNK_LEN_MAX];
    let len = staged.len()?;
    let mut damaged = Vec::new();
    for (chunk, at) in table.locators(id) {
        let end = u64::from(at.offset) + u64::from(at.sealed_len);
        let (Some(sealed), Some(plain)) =
            (sealed.get_mut(..at.sealed_len as usize), plain.get_mut(..at.plain_len as usize))
        else {
            damaged.push(at.index);
            continue;
        };
        if end > len {
            damaged.push(at.index);
            continue;
        }
        staged.read_at(u64::from(at.offset), sealed)?;
        if opener.open_chunk(&packs.keys, &chunk, sealed, plain).is_err() {
            damaged.push(at.index);
        }
    }
    Ok(damaged)
}

/// Whether the staged object already ends in the trailer of exactly this table. Then it stays: an upload
/// that a crash cut off may have left the same bytes on the store.
fn has_trailer(packs: &Packs, staged: &dyn Staged, id: PackId, table: &PackTable) -> Result<bool> {
    let len = staged.len()?;
    if len <= table.body_len() {
        return Ok(false);
    }
    let found = open_table(packs, id, len, &mut |offset, out| staged.read_at(offset, out))?;
    Ok(found.is_ok_and(|found| found == *table))
}

pub(crate) fn read_table(packs: &Packs, id: PackId) -> Result<PackTable> {
    let name = packs.name(id)?;
    let explain = |error: StoreError| match error {
        StoreError::NotFound { .. } => VaultError::Missing { pack: id, object: name.to_string() },
        error => error.into(),
    };
    let len = packs.store.len(&name).map_err(explain)?;
    let found = open_table(packs, id, len, &mut |offset, out| packs.store.get_range(&name, offset, out))?;
    found.map_err(|error| VaultError::Damaged { pack: id, object: name.to_string(), what: error.to_string() })
}

/// Opens the table at the end of a pack of `len` bytes. The outer error is that of reading, the inner one
/// that of what was read.
fn open_table(
    packs: &Packs,
    id: PackId,
    len: u64,
    read: &mut dyn FnMut(u64, &mut [u8]) -> StoreResult<()>,
) -> Result<Result<PackTable, FormatError>> {
    if len > PACK_LEN_MAX {
        return Ok(Err(FormatError::TooLong { what: "pack", actual: len, limit: PACK_LEN_MAX }));
    }
    let mut tail_len = len.min(PACK_TAIL_LEN as u64);
    // The second round has as much as the first said it needs.
    for _ in 0..2 {
        let mut tail = vec![0; usize::try_from(tail_len).unwrap_or(0)];
        read(len - tail_len, &mut tail)?;
        match pack::trailer_len(&packs.keys, id, len, &tail) {
            Ok(needed) if needed as u64 <= tail_len => {
                return Ok(pack::open_trailer(&packs.keys, id, len, &tail));
            }
            Ok(needed) => tail_len = (needed as u64).min(len),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Err(FormatError::Truncated { what: "pack" }))
}
