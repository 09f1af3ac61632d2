//! The index runs of a checkpoint: which run covers which packs, and when runs are merged.
//!
//! A run covers whole packs, so that merging needs no run to be read: the local tables have the packs.

use keepfs_format::checkpoint::RunRef;
use keepfs_format::codec::{Reader, Writer};
use keepfs_format::env::Env;
use keepfs_format::ids::{COUNTER_BITS, ChunkId, Locator, MachineTag, PackId};
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::run::{RUN_ENTRIES_MAX, RunId, RunWriter};
use keepfs_format::signed::ObjectHash;

use crate::database::Snapshot;
use crate::error::Result;

/// A run is merged with its newer neighbour unless it has at least this many times its entries: each entry
/// is written again a logarithmic number of times.
const MERGE_RATIO: u64 = 4;

/// End of every machine's packs.
type Ends = Vec<(MachineTag, u64)>;

/// One run and how far all runs up to it cover each machine's packs.
#[derive(Clone)]
struct Covering {
    run: RunRef,
    ends: Ends,
}

/// The runs, oldest first.
#[derive(Clone, Default)]
pub(super) struct Runs {
    list: Vec<Covering>,
}

impl Runs {
    /// Reads what [`Self::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes, "index runs");
        let mut list = Vec::new();
        while !reader.is_empty() {
            let machine = MachineTag(reader.u32()?);
            let (number, entries, object_len) = (reader.u64()?, reader.u64()?, reader.u64()?);
            let run = RunRef { machine, number, entries, object_len, hash: ObjectHash(reader.array()?) };
            let mut ends = Vec::new();
            for _ in 0..reader.u32()? {
                ends.push((MachineTag(reader.u32()?), reader.u64()?));
            }
            list.push(Covering { run, ends });
        }
        Ok(Self { list })
    }

    /// The row of the local database.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        for Covering { run, ends } in &self.list {
            out.u32(run.machine.0);
            [run.number, run.entries, run.object_len].into_iter().for_each(|number| out.u64(number));
            out.raw(&run.hash.0);
            out.u32(ends.len() as u32);
            for (machine, end) in ends {
                out.u32(machine.0);
                out.u64(*end);
            }
        }
        out.into_bytes()
    }

    /// As a checkpoint lists them.
    pub(super) fn references(&self) -> Vec<RunRef> {
        self.list.iter().map(|covering| covering.run).collect()
    }

    /// How far they cover each machine's packs.
    pub(super) fn ends(&self) -> &[(MachineTag, u64)] {
        self.list.last().map_or(&[], |covering| &covering.ends)
    }

    /// Makes the run of everything that is not covered yet, together with runs that are due for merging.
    /// Returns its object; `None` when there is nothing new.
    pub(super) fn extend(
        &mut self,
        (machine, number): (MachineTag, u64),
        keys: &NamespaceKeys,
        (snapshot, env): (&Snapshot, &dyn Env),
    ) -> Result<Option<Vec<u8>>> {
        let mut entries = Vec::new();
        let ends = collect(snapshot, self.ends(), &mut entries)?;
        if entries.is_empty() {
            return Ok(None);
        }
        while let Some(last) = self.list.last() {
            let merged = last.run.entries + entries.len() as u64;
            if last.run.entries >= MERGE_RATIO * entries.len() as u64 || merged > RUN_ENTRIES_MAX as u64 {
                break;
            }
            self.list.pop();
            entries.clear();
            collect(snapshot, self.ends(), &mut entries)?;
        }
        entries.sort_unstable_by_key(|(id, _)| *id);
        entries.dedup_by_key(|(id, _)| *id);
        let mut writer = RunWriter::new(keys, RunId { machine, number }, env)?;
        for (id, at) in &entries {
            writer.push(id, at)?;
        }
        let bytes = writer.finish(env)?;
        let run = RunRef {
            machine,
            number,
            entries: entries.len() as u64,
            object_len: bytes.len() as u64,
            hash: ObjectHash::of(&bytes),
        };
        self.list.push(Covering { run, ends });
        Ok(Some(bytes))
    }
}

/// Chunks of all packs beyond `from`, and where the packs now end.
fn collect(
    snapshot: &Snapshot,
    from: &[(MachineTag, u64)],
    entries: &mut Vec<(ChunkId, Locator)>,
) -> Result<Ends> {
    let mut ends = from.to_vec();
    for machine in snapshot.pack_machines()? {
        let base = u64::from(machine.0) << COUNTER_BITS;
        let at = ends.binary_search_by_key(&machine, |(known, _)| *known);
        let begin = at.map_or(0, |at| ends[at].1);
        let mut end = begin;
        let last = PackId(base | ((1 << COUNTER_BITS) - 1));
        snapshot.each_pack_piece((PackId(base | begin), last), |pack, first, offset, chunks| {
            end = (pack.0 - base) + 1;
            let mut locator = Locator { pack, index: first, offset, sealed_len: 0, plain_len: 0 };
            for chunk in chunks {
                (locator.sealed_len, locator.plain_len) = (chunk.sealed_len, chunk.plain_len);
                entries.push((chunk.id, locator));
                locator.index += 1;
                locator.offset += chunk.sealed_len;
            }
            Ok(())
        })?;
        match at {
            Ok(at) => ends[at].1 = end,
            Err(at) => ends.insert(at, (machine, end)),
        }
    }
    Ok(ends)
}
