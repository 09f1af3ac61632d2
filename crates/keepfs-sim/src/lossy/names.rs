//! The names in directories, and which changes of them a power cut may still take back.
//!
//! A change is what one call did, and survives as a whole or not at all. Syncing a directory makes every change
//! durable that touched it, and with each the earlier ones of the same names. What the names lead to is not its
//! business.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};

use super::chance::Chance;

/// Number of a file or directory; never used twice.
pub(super) type Number = u64;

/// Where a name stands: its directory, and the name.
pub(super) type Place = (Number, OsString);

type Tree = HashMap<Number, BTreeMap<OsString, Number>>;

/// What one call makes of the names it touches.
type Change = Vec<(Place, Option<Number>)>;

pub(super) struct Names {
    now: Tree,
    synced: Tree,
    unsynced: Vec<Change>,
}

impl Names {
    /// An empty directory `root`.
    pub(super) fn new(root: Number) -> Self {
        let tree = Tree::from([(root, BTreeMap::new())]);
        Names { now: tree.clone(), synced: tree, unsynced: Vec::new() }
    }

    /// Everything in a directory; `None` if it is none.
    pub(super) fn list(&self, directory: Number) -> Option<&BTreeMap<OsString, Number>> {
        self.now.get(&directory)
    }

    pub(super) fn find(&self, directory: Number, name: &OsStr) -> Option<Number> {
        self.now.get(&directory)?.get(name).copied()
    }

    /// A new directory, which has no name yet.
    pub(super) fn add_directory(&mut self, number: Number) {
        self.now.insert(number, BTreeMap::new());
        self.synced.insert(number, BTreeMap::new());
    }

    /// Does a change, which is not synced.
    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.now, &change);
        self.unsynced.push(change);
    }

    /// How many names lead to a file or directory now.
    pub(super) fn count(&self, number: Number) -> usize {
        self.now.values().flat_map(BTreeMap::values).filter(|found| **found == number).count()
    }

    pub(super) fn sync(&mut self, directory: Number) {
        let touched: Vec<bool> = self
            .unsynced
            .iter()
            .map(|change| change.iter().any(|((place, _), _)| *place == directory))
            .collect();
        self.keep(touched);
    }

    /// The power went. Without chance no change survives that was not synced; with it, each does or does not.
    /// Gives the numbers that still have a name.
    pub(super) fn lose_power(&mut self, root: Number, chance: Option<&mut Chance>) -> HashSet<Number> {
        if let Some(chance) = chance {
            let survivors = self.unsynced.iter().map(|_| chance.coin()).collect();
            self.keep(survivors);
        }
        self.unsynced.clear();
        let mut reached = HashSet::from([root]);
        let mut waiting = vec![root];
        while let Some(directory) = waiting.pop() {
            let found = self.synced.get(&directory).into_iter().flat_map(BTreeMap::values);
            waiting.extend(found.filter(|number| reached.insert(**number)));
        }
        self.synced.retain(|number, _| reached.contains(number));
        self.now = self.synced.clone();
        reached
    }

    /// Makes the chosen changes durable, and before each all earlier ones of the same names.
    fn keep(&mut self, mut chosen: Vec<bool>) {
        let mut places: HashSet<&Place> = HashSet::new();
        for (change, chosen) in self.unsynced.iter().zip(&mut chosen).rev() {
            *chosen |= change.iter().any(|(place, _)| places.contains(place));
            if *chosen {
                places.extend(change.iter().map(|(place, _)| place));
            }
        }
        let mut left = Vec::new();
        for (change, chosen) in std::mem::take(&mut self.unsynced).into_iter().zip(chosen) {
            if chosen {
                apply(&mut self.synced, &change);
            } else {
                left.push(change);
            }
        }
        self.unsynced = left;
    }
}

fn apply(tree: &mut Tree, change: &Change) {
    for ((directory, name), number) in change {
        let Some(names) = tree.get_mut(directory) else { continue };
        match number {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: Number = 1;

    fn place(directory: Number, name: &str) -> Place {
        (directory, name.into())
    }

    fn names(tree: &Names, directory: Number) -> Vec<String> {
        let list = tree.list(directory).unwrap();
        list.iter().map(|(name, number)| format!("{}={number}", name.display())).collect()
    }

    #[test]
    fn a_name_is_durable_when_its_directory_is_synced() {
        let mut tree = Names::new(ROOT);
        tree.change(vec![(place(ROOT, "kept"), Some(2))]);
        tree.sync(ROOT);
        tree.change(vec![(place(ROOT, "lost"), Some(3))]);
        tree.change(vec![(place(ROOT, "kept"), None)]);
        let reached = tree.lose_power(ROOT, None);
        assert_eq!(names(&tree, ROOT), ["kept=2"]);
        assert_eq!(reached, HashSet::from([ROOT, 2]));
    }

    #[test]
    fn a_directory_without_a_synced_name_takes_its_synced_names_along() {
        let mut tree = Names::new(ROOT);
        tree.add_directory(2);
        tree.change(vec![(place(ROOT, "folder"), Some(2))]);
        tree.change(vec![(place(2, "file"), Some(3))]);
        tree.sync(2);
        assert_eq!(tree.lose_power(ROOT, None), HashSet::from([ROOT]));
    }

    #[test]
    fn a_rename_is_never_half_done() {
        let mut outcomes = HashSet::new();
        for seed in 0..40 {
            let mut tree = Names::new(ROOT);
            tree.add_directory(2);
            tree.change(vec![(place(ROOT, "folder"), Some(2))]);
            tree.change(vec![(place(ROOT, "a"), Some(3))]);
            tree.sync(ROOT);
            tree.change(vec![(place(ROOT, "a"), None), (place(2, "b"), Some(3))]);
            tree.lose_power(ROOT, Some(&mut Chance::new(seed)));
            let found = (tree.find(ROOT, "a".as_ref()), tree.find(2, "b".as_ref()));
            assert!(found == (Some(3), None) || found == (None, Some(3)), "{found:?}");
            outcomes.insert(found);
        }
        assert_eq!(outcomes.len(), 2);
    }

    #[test]
    fn syncing_either_directory_of_a_rename_makes_it_durable() {
        for synced in [ROOT, 2] {
            let mut tree = Names::new(ROOT);
            tree.add_directory(2);
            tree.change(vec![(place(ROOT, "folder"), Some(2))]);
            tree.sync(ROOT);
            tree.change(vec![(place(ROOT, "a"), Some(3))]);
            tree.change(vec![(place(ROOT, "a"), None), (place(2, "b"), Some(3))]);
            tree.sync(synced);
            tree.lose_power(ROOT, Some(&mut Chance::new(9)));
            assert_eq!(names(&tree, ROOT), ["folder=2"]);
            assert_eq!(names(&tree, 2), ["b=3"]);
        }
    }

    #[test]
    fn unsynced_changes_survive_in_any_selection() {
        let mut outcomes = HashSet::new();
        for seed in 0..60 {
            let mut tree = Names::new(ROOT);
            tree.change(vec![(place(ROOT, "a"), Some(2))]);
            tree.change(vec![(place(ROOT, "b"), Some(3))]);
            tree.lose_power(ROOT, Some(&mut Chance::new(seed)));
            outcomes.insert(names(&tree, ROOT));
        }
        assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    }
}
