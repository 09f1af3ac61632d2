//! A disk in memory that behaves as badly as the contract of [`LocalDisk`] allows.
//!
//! The fault model. Every file has what is durable and what was written since; every directory likewise. When
//! the power is cut, each sector that was written since the last sync keeps its old content or one of the
//! newer ones, each on its own; the length of a file and each change of a name may be lost. A sync that fails
//! forgets what it should have written: it stays readable, the next sync succeeds, and the power loss takes
//! it away. A write that fails has written some of its first sectors. Sectors are never half written, and what
//! is durable is never lost.
//!
//! Everything follows from the seeds; there is no clock and no other chance.

mod node;
mod state;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{LocalDisk, LocalFile, SECTOR_LEN};
use node::{Chance, Node};
use state::{Failure, NameChange, State};

/// What shall go wrong. Calls of disk and files are counted from the moment this is set; the first is 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// One call fails with this error number.
    Fail {
        /// Which call.
        call: u64,
        /// The error number, such as that of `EIO` or `ENOSPC`.
        errno: i32,
    },
    /// From this call on all fail with this error number.
    FailFrom {
        /// The first call that fails.
        call: u64,
        /// The error number.
        errno: i32,
    },
    /// One call has its effect, and is answered with this error number all the same.
    FailAfter {
        /// Which call.
        call: u64,
        /// The error number.
        errno: i32,
    },
    /// From this call on there is no room: what needs more fails with this error number, everything else works.
    Full {
        /// The first call that may fail.
        call: u64,
        /// The error number: that of `ENOSPC` for a full disk, of `EDQUOT` for a quota.
        errno: i32,
    },
    /// From this call on all fail, until [`FaultyDisk::power_cut`] says what was left.
    PowerOff {
        /// The first call that fails.
        call: u64,
    },
}

/// A disk in memory with faults on demand. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

impl FaultyDisk {
    /// An empty disk whose only directory is `root`.
    pub fn new(root: &Path) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.state.lock();
            let node = state.add_node(true);
            state.root = root.to_owned();
            state.names.insert(root.to_owned(), node);
            state.durable_names.insert(root.to_owned(), node);
        }
        disk
    }

    /// A disk of its own with the same durable contents, and nothing pending, open or locked.
    pub fn fork(&self) -> Self {
        let state = self.state.lock();
        let node = |node: &Node| Node {
            is_dir: node.is_dir,
            bytes: node.durable.clone(),
            durable: node.durable.clone(),
            pending: Vec::new(),
        };
        let copy = State {
            root: state.root.clone(),
            nodes: state.nodes.iter().map(|(number, old)| (*number, node(old))).collect(),
            names: state.durable_names.clone(),
            durable_names: state.durable_names.clone(),
            next_node: state.next_node,
            ..State::default()
        };
        Self { state: Arc::new(Mutex::new(copy)) }
    }

    /// Sets what shall go wrong from here on; nothing, if `None`.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        let mut state = self.state.lock();
        state.calls = 0;
        state.trouble = trouble;
    }

    /// Calls since [`set_trouble`](Self::set_trouble).
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Cuts the power and starts again: what was not durable survives as `seed` decides, open files and locks
    /// are gone, and so is any trouble.
    pub fn power_cut(&self, seed: u64) {
        self.state.lock().power_cut(seed);
    }

    /// The process that uses the disk ends, and the machine goes on: open files and locks are gone, and so is
    /// any trouble. What was not durable can be read on, and is still lost by a power cut.
    pub fn end_process(&self) {
        self.state.lock().end_process();
    }

    /// Every call from here on fails without an effect, until [`power_cut`](Self::power_cut) or
    /// [`end_process`](Self::end_process).
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.trouble = Some(Trouble::PowerOff { call: 0 });
        state.calls = state.calls.max(1);
    }

    /// Whether the power went, or the disk was stopped.
    pub fn is_stopped(&self) -> bool {
        let state = self.state.lock();
        matches!(state.trouble, Some(Trouble::PowerOff { call }) if state.calls > call)
    }

    /// All files, sorted by path.
    pub fn files(&self) -> Vec<PathBuf> {
        let state = self.state.lock();
        let is_file = |node: &u64| state.nodes.get(node).is_some_and(|node| !node.is_dir);
        state.names.iter().filter(|(_, node)| is_file(node)).map(|(path, _)| path.clone()).collect()
    }

    /// All bytes of a file as they are now, if there is one.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let node = state.names.get(path)?;
        state.nodes.get(node).map(|node| node.bytes.clone())
    }

    /// Puts a durable file in place, made if need be: how tests damage, cut short or bring back old files.
    pub fn replace(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        let number = match state.names.get(path) {
            Some(number) => *number,
            None => state.add_node(false),
        };
        state.names.insert(path.to_owned(), number);
        state.durable_names.insert(path.to_owned(), number);
        state
            .nodes
            .insert(number, Node { is_dir: false, durable: bytes.clone(), bytes, pending: Vec::new() });
    }
}

impl LocalDisk for FaultyDisk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.need_parent(path)?;
        if !state.names.contains_key(path) {
            state.need_room()?;
            let node = state.add_node(true);
            state.change_name(None, Some((path.to_owned(), node)));
        }
        state.answer(())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn LocalFile>> {
        let mut state = self.state.lock();
        state.step()?;
        state.need_parent(path)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.need_room()?;
        let node = state.add_node(false);
        state.change_name(None, Some((path.to_owned(), node)));
        let file = Arc::new(FaultyFile { state: self.state.clone(), node, life: state.life });
        state.answer(file as Arc<dyn LocalFile>)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn LocalFile>> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(path)?;
        let file = Arc::new(FaultyFile { state: self.state.clone(), node, life: state.life });
        state.answer(file as Arc<dyn LocalFile>)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        let node = state.find(from)?;
        state.need_parent(to)?;
        state.change_name(Some(from.to_owned()), Some((to.to_owned(), node)));
        state.answer(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.find(path)?;
        state.change_name(Some(path.to_owned()), None);
        state.answer(())
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let mut state = self.state.lock();
        state.step()?;
        state.find(path)?;
        let children = state.names.keys().filter(|name| name.parent() == Some(path));
        let names = children.filter_map(|name| Some(name.file_name()?.to_str()?.to_owned())).collect();
        state.answer(names)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.step()?;
        state.find(path)?;
        let (synced, rest) =
            std::mem::take(&mut state.pending_names).into_iter().partition(|change| change.is_in(path));
        state.pending_names = rest;
        let synced: Vec<NameChange> = synced;
        for change in synced {
            change.apply(&mut state.durable_names);
        }
        state.answer(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let mut state = self.state.lock();
        state.step()?;
        state.need_parent(path)?;
        if !state.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultyLock { state: self.state.clone(), path: path.to_owned(), life: state.life }))
    }
}

struct FaultyLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
    life: u64,
}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        let mut state = self.state.lock();
        if state.life == self.life {
            state.locks.remove(&self.path);
        }
    }
}

struct FaultyFile {
    state: Arc<Mutex<State>>,
    node: u64,
    life: u64,
}

impl FaultyFile {
    /// Runs `act` on the file, which is then at least `len_after` bytes long; its last argument says whether and how
    /// the call shall fail.
    fn on_node<T>(
        &self,
        len_after: usize,
        act: impl FnOnce(&mut Node, &mut Chance, Result<(), Failure>) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut state = self.state.lock();
        let state = &mut *state;
        if state.life != self.life {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let mut verdict = state.step();
        if verdict.is_ok() && state.nodes.get(&self.node).is_some_and(|node| node.bytes.len() < len_after) {
            verdict = state.need_room();
        }
        if let Err(failure @ Failure::PowerOff) = verdict {
            return Err(failure.into());
        }
        let node = state.nodes.get_mut(&self.node).ok_or(io::ErrorKind::NotFound)?;
        let outcome = act(node, &mut state.chance, verdict)?;
        state.answer(outcome)
    }
}

/// An offset as the vectors in memory count.
fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput.into())
}

impl LocalFile for FaultyFile {
    fn length(&self) -> io::Result<u64> {
        self.on_node(0, |node, _, verdict| {
            verdict?;
            Ok(node.bytes.len() as u64)
        })
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = index(offset)?;
        self.on_node(0, |node, _, verdict| {
            verdict?;
            let end = start.checked_add(out.len()).ok_or(io::ErrorKind::InvalidInput)?;
            out.copy_from_slice(node.bytes.get(start..end).ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let start = index(offset)?;
        self.on_node(start.saturating_add(data.len()), |node, chance, verdict| {
            let written = match verdict {
                Ok(()) => data.len(),
                Err(_) => chance.below(data.len() as u64 + 1) as usize / SECTOR_LEN * SECTOR_LEN,
            };
            node.write(start, &data[..written]);
            Ok(verdict?)
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = index(len)?;
        self.on_node(len, |node, _, verdict| {
            verdict?;
            // What is cut off reads as zeroes when the file grows again, whatever survives.
            let end = node.bytes.len();
            if len < end {
                node.write(len, &vec![0; end - len]);
            }
            node.bytes.resize(len, 0);
            Ok(())
        })
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let len = index(len)?;
        self.on_node(len, |node, _, verdict| {
            verdict?;
            if node.bytes.len() < len {
                node.bytes.resize(len, 0);
            }
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.on_node(0, |node, _, verdict| {
            match verdict {
                Ok(()) => node.sync(),
                Err(Failure::Error(_)) => node.forget(),
                // What is pending is judged by the power cut.
                Err(Failure::PowerLost | Failure::PowerOff) => {}
            }
            Ok(verdict?)
        })
    }
}
