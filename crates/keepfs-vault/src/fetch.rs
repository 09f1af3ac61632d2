//! Sealed bytes of packs, from wherever they are nearest: a staged object, the store read in place, the
//! cache on the local disk, the remote store.
//!
//! From a remote store it asks for whole pieces at fixed places of a pack, each by one caller at a time. It
//! never opens or understands what it fetches.

use std::ops::Range;
use std::sync::Arc;

use keepfs_format::ids::PackId;
use keepfs_store::{BlobCache, ObjectName, StoreError};
use parking_lot::{Condvar, Mutex};
use rustc_hash::FxHashMap;

use crate::error::{Result, VaultError};
use crate::limits::PIECE_LEN;
use crate::packs::Packs;

/// A piece of a pack: which pack, which piece.
type PieceKey = (PackId, u32);

/// One fetch that others may wait for.
#[derive(Default)]
struct Flight {
    landed: Mutex<Option<Landing>>,
    changed: Condvar,
}

/// The bytes of a piece; `None` if the fetch failed and whoever waits may try.
type Landing = Option<Arc<[u8]>>;

impl Flight {
    fn wait(&self) -> Landing {
        let mut landed = self.landed.lock();
        loop {
            match &*landed {
                Some(landing) => return landing.clone(),
                None => self.changed.wait(&mut landed),
            }
        }
    }
}

/// The flights one caller has to make. However that ends, who waits for them is told.
struct Departures<'a> {
    fetcher: &'a Fetcher,
    pack: PackId,
    flights: Vec<(u32, Arc<Flight>)>,
}

impl Departures<'_> {
    fn land(&self, piece: u32, bytes: Landing) {
        let Some((_, flight)) = self.flights.iter().find(|(other, _)| *other == piece) else { return };
        let mut landed = flight.landed.lock();
        if landed.is_none() {
            *landed = Some(bytes);
            drop(landed);
            self.fetcher.flights.lock().remove(&(self.pack, piece));
            flight.changed.notify_all();
        }
    }
}

impl Drop for Departures<'_> {
    fn drop(&mut self) {
        for (piece, _) in &self.flights {
            self.land(*piece, None);
        }
    }
}

/// Where sealed bytes come from.
pub(crate) struct Fetcher {
    packs: Arc<Packs>,
    cache: Arc<dyn BlobCache>,
    flights: Mutex<FxHashMap<PieceKey, Arc<Flight>>>,
}

/// The part of a pack that a reader wants, and the buffer it goes to.
struct Wanted<'a> {
    pack: PackId,
    name: &'a ObjectName,
    offset: u64,
    out: &'a mut [u8],
}

impl Wanted<'_> {
    fn pieces(&self) -> Range<u32> {
        let piece = |offset: u64| u32::try_from(offset / u64::from(PIECE_LEN)).unwrap_or(u32::MAX);
        let end = self.offset + self.out.len() as u64;
        piece(self.offset)..piece(end.saturating_sub(1)).saturating_add(1)
    }

    /// The part of the buffer that lies in a piece, and where in the piece it begins.
    fn part(&mut self, piece: u32) -> (u64, &mut [u8]) {
        let start = u64::from(piece) * u64::from(PIECE_LEN);
        let end = start + u64::from(PIECE_LEN);
        let from = self.offset.max(start);
        let to = (self.offset + self.out.len() as u64).min(end);
        let range = (from - self.offset) as usize..(to - self.offset) as usize;
        (from - start, &mut self.out[range])
    }

    /// Takes what it wants out of a piece; false if the piece ends before.
    fn take(&mut self, piece: u32, bytes: &[u8]) -> bool {
        let (skip, out) = self.part(piece);
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        let Some(found) = skip.checked_add(out.len()).and_then(|end| bytes.get(skip..end)) else {
            return false;
        };
        out.copy_from_slice(found);
        true
    }
}

fn piece_key(name: &ObjectName, piece: u32) -> String {
    format!("{name}/{piece}")
}

impl Fetcher {
    pub(crate) fn new(packs: Arc<Packs>, cache: Arc<dyn BlobCache>) -> Self {
        Self { packs, cache, flights: Mutex::default() }
    }

    /// Fills `out` from `offset` of a pack on.
    pub(crate) fn read(&self, pack: PackId, offset: u64, out: &mut [u8]) -> Result<()> {
        let end = offset + out.len() as u64;
        if let Some(staged) = self.packs.handle(pack)? {
            let name = self.packs.name(pack)?;
            return staged.read_at(offset, out).map_err(|error| match staged.len() {
                Ok(len) if len < end => truncated(pack, &name, len),
                _ => error.into(),
            });
        }
        let name = self.packs.name(pack)?;
        if self.packs.is_local {
            return self
                .packs
                .store
                .get_range(&name, offset, out)
                .map_err(|e| self.explain(pack, &name, e, end));
        }
        self.read_remote(Wanted { pack, name: &name, offset, out })
    }

    /// Forgets cached bytes of a range, because they turned out to be damaged.
    pub(crate) fn forget(&self, pack: PackId, range: Range<u64>) -> Result<()> {
        if self.packs.is_local || range.is_empty() {
            return Ok(());
        }
        let name = self.packs.name(pack)?;
        self.cache.remove(name.as_str());
        for piece in range.start / u64::from(PIECE_LEN)..=(range.end - 1) / u64::from(PIECE_LEN) {
            self.cache.remove(&piece_key(&name, u32::try_from(piece).unwrap_or(u32::MAX)));
        }
        Ok(())
    }

    fn read_remote(&self, mut wanted: Wanted<'_>) -> Result<()> {
        if self.cached(wanted.name.as_str(), wanted.offset, wanted.out) {
            return Ok(());
        }
        let mut missing = Vec::new();
        for piece in wanted.pieces() {
            let key = piece_key(wanted.name, piece);
            let (skip, out) = wanted.part(piece);
            if !self.cached(&key, skip, out) {
                missing.push(piece);
            }
        }
        // Each round either ends with everything or leaves only what another's fetch failed to bring; that
        // is fetched here in the next one, and then a failure is this caller's own.
        while !missing.is_empty() {
            let (mine, others) = self.depart(wanted.pack, &missing);
            self.fetch(&mut wanted, &mine)?;
            drop(mine);
            missing.clear();
            for (piece, flight) in others {
                match flight.wait() {
                    Some(bytes) if wanted.take(piece, &bytes) => {}
                    _ => missing.push(piece),
                }
            }
        }
        Ok(())
    }

    fn cached(&self, key: &str, offset: u64, out: &mut [u8]) -> bool {
        // A failing cache is a miss: the store has the bytes.
        self.cache.get(key, offset, out).unwrap_or(false)
    }

    /// Divides pieces into those that this caller fetches and those that others are fetching.
    fn depart(&self, pack: PackId, pieces: &[u32]) -> (Departures<'_>, Vec<(u32, Arc<Flight>)>) {
        let mut mine = Departures { fetcher: self, pack, flights: Vec::new() };
        let mut others = Vec::new();
        let mut flights = self.flights.lock();
        for &piece in pieces {
            match flights.get(&(pack, piece)) {
                Some(flight) => others.push((piece, flight.clone())),
                None => {
                    let flight = Arc::<Flight>::default();
                    flights.insert((pack, piece), flight.clone());
                    mine.flights.push((piece, flight));
                }
            }
        }
        drop(flights);
        (mine, others)
    }

    /// Fetches the pieces that are this caller's, neighbours in one request.
    fn fetch(&self, wanted: &mut Wanted<'_>, mine: &Departures<'_>) -> Result<()> {
        let pieces: Vec<u32> = mine.flights.iter().map(|(piece, _)| *piece).collect();
        for run in pieces.chunk_by(|one, next| one + 1 == *next) {
            let (first, count) = (run[0], run.len());
            let bytes = self.fetch_run(wanted, u64::from(first) * u64::from(PIECE_LEN), count)?;
            for (&piece, bytes) in run.iter().zip(bytes.chunks(PIECE_LEN as usize)) {
                if !wanted.take(piece, bytes) {
                    let end = wanted.offset + wanted.out.len() as u64;
                    return Err(truncated(wanted.pack, wanted.name, end));
                }
                self.cache.put(&piece_key(wanted.name, piece), bytes);
                mine.land(piece, Some(bytes.into()));
            }
        }
        Ok(())
    }

    /// The bytes of `count` pieces from `start` on, or fewer where the object ends.
    fn fetch_run(&self, wanted: &Wanted<'_>, start: u64, count: usize) -> Result<Vec<u8>> {
        let end = wanted.offset + wanted.out.len() as u64;
        let mut bytes = vec![0; count * PIECE_LEN as usize];
        // The last piece of an object is shorter than the others.
        let found = match self.packs.store.read_up_to(wanted.name, start, &mut bytes) {
            Ok(found) => found,
            Err(error) => return Err(self.explain(wanted.pack, wanted.name, error, end)),
        };
        let needed_end = end.min(start + bytes.len() as u64);
        if start + (found as u64) < needed_end {
            // Too short to be right: the object was cut, or the answer was.
            let len = self.packs.store.len(wanted.name)?;
            return Err(match len < needed_end {
                true => truncated(wanted.pack, wanted.name, len),
                false => StoreError::io_soon(format!("{} was not sent to its end", wanted.name)).into(),
            });
        }
        bytes.truncate(found);
        Ok(bytes)
    }

    /// What an error of the store means for a pack.
    fn explain(&self, pack: PackId, name: &ObjectName, error: StoreError, end: u64) -> VaultError {
        match &error {
            StoreError::NotFound { .. } => VaultError::Missing { pack, object: name.to_string() },
            StoreError::Io { .. } => match self.packs.store.len(name) {
                Ok(len) if len < end => truncated(pack, name, len),
                _ => error.into(),
            },
            _ => error.into(),
        }
    }
}

fn truncated(pack: PackId, name: &ObjectName, len: u64) -> VaultError {
    let what = format!("it has only {len} bytes");
    VaultError::Damaged { pack, object: name.to_string(), what }
}
