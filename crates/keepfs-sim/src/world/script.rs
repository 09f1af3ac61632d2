//! A session by the book: the same calls each time, one trouble, one end. What exhaustive tests are made of.

use super::action::Action;
use super::call::show;
use super::life::World;
use super::machine::Vault;
use super::tree::difference;
use super::trouble::Trouble;
use super::{End, Verdict};

/// A session.
#[derive(Clone, Copy, Debug)]
pub struct Script<'a> {
    /// Calls before the trouble.
    pub before: &'a [Action],
    /// Calls while it lasts.
    pub during: &'a [Action],
    /// What goes wrong.
    pub trouble: Trouble,
    /// How it ends.
    pub end: End,
    /// Chooses what a power cut takes along.
    pub seed: u64,
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Played {
    /// Calls of the disk while the trouble lasted.
    pub disk_calls: u64,
    /// Writes to the store while it lasted.
    pub store_writes: u64,
    /// Calls of the file system that failed because of it.
    pub failures: u64,
    /// Whether writing stopped.
    pub stopped: bool,
}

/// Plays a session and judges it.
///
/// # Errors
/// What the file system did wrong, and everything that led there.
pub fn play(vault: &Vault, script: &Script<'_>) -> Verdict<Played> {
    let mut world = World::begin_with(vault.machine(0), script.seed)?;
    let mut played = Played { disk_calls: 0, store_writes: 0, failures: 0, stopped: false };
    let outcome = world.play(script, &mut played);
    world.judged(outcome).map_err(|wrong| format!("{:?}, {:?}: {wrong}", script.trouble, script.end))?;
    Ok(played)
}

impl World<'_> {
    fn play(&mut self, script: &Script<'_>, played: &mut Played) -> Verdict {
        for action in script.before {
            self.act(action)?;
        }
        self.acknowledged_by_store("what was before")?;
        let writes_before = self.machine.faults.writes();
        self.trouble = script.trouble;
        script.trouble.begin(&self.machine.place.disk, &self.machine.faults);
        for action in script.during {
            if self.machine.is_dead() {
                break;
            }
            self.act(action)?;
        }
        played.failures = self.lived.failures;
        played.stopped = self.fs.as_ref().is_some_and(|fs| fs.status().unhealthy.is_some());
        self.readable_while_it_lasts(script.trouble)?;
        let count = |world: &Self| (world.machine.place.disk.calls(), world.machine.faults.writes());
        let counted = count(self);
        let end = self.stop(script.end)?;
        // A session that was not closed has made its calls before it ended.
        let counted = if end == End::Unmount { count(self) } else { counted };
        (played.disk_calls, played.store_writes) = (counted.0, counted.1 - writes_before);
        self.go_on(end)?;
        // Afterwards everything works.
        self.acknowledged_by_store("a sync after the next open")?;
        let expected = self.history.last().clone();
        self.end(End::Loss)?;
        let found = self.history.last();
        match *found == expected {
            true => Ok(()),
            false => Err(format!("the last join shows less:{}", difference(found, &expected))),
        }
    }

    /// A disk or store without room takes nothing away from readers.
    fn readable_while_it_lasts(&mut self, trouble: Trouble) -> Verdict {
        let Some(fs) = self.fs.as_ref().filter(|_| trouble.is_want_of_room()) else { return Ok(()) };
        let found = show(fs).map_err(|error| format!("without room nothing can be read: {error}"))?;
        match found == **self.history.last() {
            true => Ok(()),
            false => {
                Err(format!("without room the tree is another:{}", difference(&found, self.history.last())))
            }
        }
    }
}
