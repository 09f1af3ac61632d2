//! The whole disk in memory: names, files, and what shall go wrong. Owns the fault model of names.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::Trouble;
use super::node::{Chance, Node, Survival};

/// The disk.
#[derive(Default)]
pub(super) struct State {
    pub(super) root: PathBuf,
    pub(super) nodes: HashMap<u64, Node>,
    pub(super) names: BTreeMap<PathBuf, u64>,
    pub(super) durable_names: BTreeMap<PathBuf, u64>,
    pub(super) pending_names: Vec<NameChange>,
    pub(super) locks: HashSet<PathBuf>,
    pub(super) next_node: u64,
    /// Counts power cuts: a handle of an earlier life is dead.
    pub(super) life: u64,
    pub(super) calls: u64,
    pub(super) trouble: Option<Trouble>,
    /// What the call under way will be answered with, whatever its effect.
    pub(super) lost_answer: Option<i32>,
    pub(super) chance: Chance,
}

/// A change of names that a power cut leaves or undoes as a whole.
pub(super) struct NameChange {
    pub(super) removed: Option<PathBuf>,
    pub(super) set: Option<(PathBuf, u64)>,
}

/// How a call fails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    Error(i32),
    /// The power goes during this call.
    PowerLost,
    /// The power went before this call, which therefore does nothing.
    PowerOff,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        Self::from_raw_os_error(match failure {
            Failure::Error(errno) => errno,
            Failure::PowerLost | Failure::PowerOff => libc::EIO,
        })
    }
}

impl State {
    pub(super) fn add_node(&mut self, is_dir: bool) -> u64 {
        self.next_node += 1;
        self.nodes.insert(self.next_node, Node { is_dir, ..Node::default() });
        self.next_node
    }

    /// Counts a call and says whether and how it shall fail.
    pub(super) fn step(&mut self) -> Result<(), Failure> {
        let call = self.calls;
        self.calls += 1;
        self.lost_answer = match self.trouble {
            Some(Trouble::FailAfter { call: at, errno }) if call == at => Some(errno),
            _ => None,
        };
        match self.trouble {
            Some(Trouble::Fail { call: at, errno }) if call == at => Err(Failure::Error(errno)),
            Some(Trouble::FailFrom { call: at, errno }) if call >= at => Err(Failure::Error(errno)),
            Some(Trouble::PowerOff { call: at }) if call == at => Err(Failure::PowerLost),
            Some(Trouble::PowerOff { call: at }) if call > at => Err(Failure::PowerOff),
            _ => Ok(()),
        }
    }

    /// Refuses the call under way if the disk is full.
    pub(super) fn need_room(&self) -> Result<(), Failure> {
        match self.trouble {
            Some(Trouble::Full { call, errno }) if self.calls > call => Err(Failure::Error(errno)),
            _ => Ok(()),
        }
    }

    /// The answer to a call that had its effect.
    pub(super) fn answer<T>(&mut self, value: T) -> io::Result<T> {
        match self.lost_answer.take() {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(value),
        }
    }

    pub(super) fn end_process(&mut self) {
        self.life += 1;
        self.trouble = None;
        self.calls = 0;
        self.locks.clear();
    }

    pub(super) fn change_name(&mut self, removed: Option<PathBuf>, set: Option<(PathBuf, u64)>) {
        let change = NameChange { removed, set };
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<u64> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn need_parent(&self, path: &Path) -> io::Result<()> {
        let parent = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        let number = self.find(parent)?;
        match self.nodes.get(&number) {
            Some(node) if node.is_dir => Ok(()),
            _ => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn power_cut(&mut self, seed: u64) {
        self.end_process();
        self.chance = Chance(seed);
        let survival = match self.chance.below(8) {
            0 => Survival::Nothing,
            1 => Survival::All,
            _ => Survival::Some,
        };
        for change in std::mem::take(&mut self.pending_names) {
            if survival == Survival::All || (survival == Survival::Some && self.chance.below(2) == 0) {
                change.apply(&mut self.durable_names);
            }
        }
        let all = std::mem::take(&mut self.durable_names);
        for (path, number) in &all {
            // A parent sorts before what it holds, so it has been judged already.
            let parent_is_held = path.parent().is_some_and(|parent| self.durable_names.contains_key(parent));
            if parent_is_held || *path == self.root {
                self.durable_names.insert(path.clone(), *number);
            }
        }
        self.names = self.durable_names.clone();
        let held: HashSet<u64> = self.names.values().copied().collect();
        self.nodes.retain(|number, _| held.contains(number));
        let mut numbers: Vec<u64> = held.into_iter().collect();
        numbers.sort_unstable();
        for number in numbers {
            if let Some(node) = self.nodes.get_mut(&number) {
                node.power_cut(&mut self.chance, survival);
            }
        }
    }
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, u64>) {
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, node)) = &self.set {
            names.insert(path.clone(), *node);
        }
    }

    pub(super) fn is_in(&self, dir: &Path) -> bool {
        let parent_is_dir = |path: &PathBuf| path.parent() == Some(dir);
        self.removed.as_ref().is_some_and(parent_is_dir)
            || self.set.as_ref().is_some_and(|(path, _)| parent_is_dir(path))
    }
}
