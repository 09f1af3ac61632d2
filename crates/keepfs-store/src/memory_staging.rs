//! Staging of the memory store: growing objects that remember what was synced, so that a simulated power
//! cut can lose the rest.

use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Result, StoreError};
use crate::memory::{Contents, copy_range};
use crate::name::ObjectName;
use crate::staging::{Staged, Staging, check_stageable};

/// Unit in which a torn write survives, in bytes.
const SECTOR_LEN: usize = 512;

/// Longest staged object, in bytes.
const STAGED_LEN_MAX: u64 = 1 << 30;

/// One staged object, shared by the store and the handle.
pub(crate) struct StagedBytes(RwLock<State>);

enum State {
    Growing {
        /// What a reader sees.
        now: Vec<u8>,
        /// What is certain to survive a power cut.
        durable: Vec<u8>,
        /// What happened since, in order.
        pending: Vec<Change>,
        /// Whether the object itself survives: false until the first sync.
        entry_durable: bool,
    },
    Published(Arc<Vec<u8>>),
}

enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Truncate { len: usize },
}

impl Change {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Change::Write { offset, bytes } => write_at(to, *offset, bytes),
            Change::Truncate { len } => to.resize(*len, 0),
        }
    }
}

fn write_at(to: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let end = offset + bytes.len();
    if to.len() < end {
        to.resize(end, 0);
    }
    to[offset..end].copy_from_slice(bytes);
}

impl StagedBytes {
    fn new() -> Self {
        StagedBytes(RwLock::new(State::Growing {
            now: Vec::new(),
            durable: Vec::new(),
            pending: Vec::new(),
            entry_durable: false,
        }))
    }

    /// What is left of it; `None` if nothing is. See [`crate::MemoryStore::cut_power`].
    pub(crate) fn after_power_cut(&self, random: &mut dyn FnMut() -> u64) -> Option<Self> {
        let state = self.0.read();
        let State::Growing { durable, pending, entry_durable, .. } = &*state else { return None };
        if !entry_durable && random().is_multiple_of(2) {
            return None;
        }
        let mut left = durable.clone();
        for change in pending {
            match (random() % 3, change) {
                (0, _) => {}
                (1, Change::Write { offset, bytes }) => {
                    let sectors = bytes.len() / SECTOR_LEN + 1;
                    let kept = (random() % sectors as u64) as usize * SECTOR_LEN;
                    write_at(&mut left, *offset, &bytes[..kept.min(bytes.len())]);
                }
                _ => change.apply(&mut left),
            }
        }
        Some(StagedBytes(RwLock::new(State::Growing {
            now: left.clone(),
            durable: left,
            pending: Vec::new(),
            entry_durable: true,
        })))
    }

    fn change(&self, name: &ObjectName, change: Change) -> Result<()> {
        match &mut *self.0.write() {
            State::Growing { now, pending, .. } => {
                change.apply(now);
                pending.push(change);
                Ok(())
            }
            State::Published(_) => Err(StoreError::invalid(format!("{name} is published"))),
        }
    }
}

/// The staging place of a memory store.
#[derive(Clone)]
pub(crate) struct MemoryStaging(Arc<RwLock<Contents>>);

impl MemoryStaging {
    pub(crate) fn new(contents: Arc<RwLock<Contents>>) -> Self {
        MemoryStaging(contents)
    }

    fn handle(&self, name: &ObjectName, bytes: Arc<StagedBytes>) -> Box<dyn Staged> {
        Box::new(MemoryStaged { name: name.clone(), contents: self.0.clone(), bytes })
    }
}

/// A handle to one staged object of a memory store.
struct MemoryStaged {
    name: ObjectName,
    contents: Arc<RwLock<Contents>>,
    bytes: Arc<StagedBytes>,
}

impl Staging for MemoryStaging {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        check_stageable(name)?;
        let mut contents = self.0.write();
        if contents.staged.contains_key(name) {
            return Err(StoreError::exists(name));
        }
        let bytes = Arc::new(StagedBytes::new());
        contents.staged.insert(name.clone(), bytes.clone());
        Ok(self.handle(name, bytes))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        let found = self.0.read().staged.get(name).cloned();
        let bytes = found.ok_or_else(|| StoreError::not_found(name))?;
        Ok(self.handle(name, bytes))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        Ok(self.0.read().staged.keys().cloned().collect())
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.0.write().staged.remove(name);
        Ok(())
    }
}

/// Checks `offset + len` against the longest staged object; gives the offset as an index.
fn checked_start(name: &ObjectName, offset: u64, len: u64) -> Result<usize> {
    let end = offset.saturating_add(len);
    if end > STAGED_LEN_MAX {
        return Err(StoreError::too_large(name, end, STAGED_LEN_MAX));
    }
    usize::try_from(offset).map_err(|_| StoreError::too_large(name, end, STAGED_LEN_MAX))
}

impl Staged for MemoryStaged {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let offset = checked_start(&self.name, offset, bytes.len() as u64)?;
        self.bytes.change(&self.name, Change::Write { offset, bytes: bytes.to_vec() })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let copied = match &*self.bytes.0.read() {
            State::Growing { now, .. } => copy_range(now, offset, out),
            State::Published(bytes) => copy_range(bytes, offset, out),
        };
        if copied { Ok(()) } else { Err(StoreError::short(&self.name, offset, out.len() as u64)) }
    }

    fn len(&self) -> Result<u64> {
        Ok(match &*self.bytes.0.read() {
            State::Growing { now, .. } => now.len() as u64,
            State::Published(bytes) => bytes.len() as u64,
        })
    }

    fn truncate(&self, len: u64) -> Result<()> {
        let len = checked_start(&self.name, len, 0)?;
        self.bytes.change(&self.name, Change::Truncate { len })
    }

    fn sync(&self) -> Result<()> {
        if let State::Growing { durable, pending, entry_durable, .. } = &mut *self.bytes.0.write() {
            for change in pending.drain(..) {
                change.apply(durable);
            }
            *entry_durable = true;
        }
        Ok(())
    }

    fn publish(&self) -> Result<()> {
        let mut contents = self.contents.write();
        let mut state = self.bytes.0.write();
        let State::Growing { now, .. } = &mut *state else { return Ok(()) };
        let ours = contents.staged.get(&self.name).is_some_and(|staged| Arc::ptr_eq(staged, &self.bytes));
        if !ours {
            return Err(StoreError::not_found(&self.name));
        }
        if contents.objects.contains_key(&self.name) {
            return Err(StoreError::exists(&self.name));
        }
        let bytes = Arc::new(std::mem::take(now));
        contents.objects.insert(self.name.clone(), bytes.clone());
        contents.staged.remove(&self.name);
        *state = State::Published(bytes);
        Ok(())
    }
}
