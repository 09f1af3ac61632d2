//! What became of a harm: an error, or exactly the right tree; all else is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use keepfs_fs::Result;
use keepfs_sim::world::{Shown, difference};
use keepfs_store::{Faults, ObjectName};

use crate::harm::Harm;
use crate::vault::{Changes, Place, Vault};

/// Harms of one sort that are told in full.
const TOLD_MAX: usize = 3;

/// Somebody who reads the whole tree of a vault.
struct Reader<'a> {
    who: &'static str,
    right: &'a Shown,
    find: fn(&Vault, &Changes, &Arc<Faults>) -> Result<Shown>,
    /// Whether anything but the store matters.
    has_state: bool,
    /// The objects that are asked for where nothing is harmed. Nothing here happens by chance, so bytes of any other
    /// object cannot matter.
    asked_for: BTreeSet<ObjectName>,
}

/// Looks at a vault after each harm.
pub(crate) struct Judge<'a> {
    vault: &'a Vault,
    readers: [Reader<'a>; 2],
    /// How often somebody looked.
    pub(crate) looks: u64,
    /// What went wrong, by sort of harm.
    pub(crate) wrong: Vec<(String, String)>,
}

/// What a harm led to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody reads what was harmed.
    Unread,
    /// Everybody saw the right tree.
    Right,
    /// Somebody got an error.
    Told,
}

impl<'a> Judge<'a> {
    /// Looks at the vault as it is, which must be right.
    pub(crate) fn new(vault: &'a Vault) -> Self {
        let reader = |who, right, has_state, find: fn(&Vault, &Changes, &Arc<Faults>) -> Result<Shown>| {
            let faults = Faults::none();
            faults.start_trace();
            let found = find(vault, &Changes::new(), &faults).unwrap();
            assert_eq!(difference(&found, right), "", "{who} sees another tree without any harm");
            let asked_for = faults.take_trace().into_iter().filter_map(|call| call.name).collect();
            Reader { who, right, find, has_state, asked_for }
        };
        let readers = [
            reader("a stranger", &vault.on_store, false, Vault::stranger),
            reader("the writer", &vault.on_machine, true, Vault::writer),
        ];
        Self { vault, readers, looks: 0, wrong: Vec::new() }
    }

    /// Does it, and looks.
    pub(crate) fn judge(&mut self, harm: &Harm) -> Outcome {
        let changes = harm.changes(self.vault);
        let mut outcome = Outcome::Unread;
        for reader in &self.readers {
            if !changes.iter().any(|(place, bytes)| reader.may_notice(self.vault, place, bytes.is_some())) {
                continue;
            }
            self.looks += 1;
            if outcome == Outcome::Unread {
                outcome = Outcome::Right;
            }
            match reader.look(self.vault, &changes) {
                Ok(true) => outcome = Outcome::Told,
                Ok(false) => {}
                Err(wrong) => {
                    let told = format!("{} after {harm:?}: {wrong}", reader.who);
                    self.wrong.push((harm.told(self.vault), told));
                }
            }
        }
        outcome
    }

    /// A few of each sort.
    pub(crate) fn summary(&self) -> String {
        let mut sorts = BTreeMap::<&str, Vec<&str>>::new();
        for (sort, told) in &self.wrong {
            sorts.entry(sort).or_default().push(told);
        }
        let mut out = String::new();
        for (sort, told) in sorts {
            let some = told[..told.len().min(TOLD_MAX)].join("\n  ");
            out += &format!("{sort}: {} wrong\n  {some}\n", told.len());
        }
        out
    }
}

impl Reader<'_> {
    fn may_notice(&self, vault: &Vault, place: &Place, is_there: bool) -> bool {
        match place {
            // What comes or goes can be seen in a listing.
            Place::Object(name) => {
                !is_there || !vault.things.contains_key(place) || self.asked_for.contains(name)
            }
            _ => self.has_state,
        }
    }

    /// Whether there was an error; or what was wrong.
    fn look(&self, vault: &Vault, changes: &Changes) -> std::result::Result<bool, String> {
        let find = AssertUnwindSafe(|| (self.find)(vault, changes, &Faults::none()));
        match catch_unwind(find) {
            Err(_) => Err("a panic, which is told above".to_owned()),
            Ok(Err(error)) if error.to_string().is_empty() => Err("an error that says nothing".to_owned()),
            Ok(Err(_)) => Ok(true),
            Ok(Ok(found)) if found == *self.right => Ok(false),
            Ok(Ok(found)) => Err(difference(&found, self.right)),
        }
    }
}
