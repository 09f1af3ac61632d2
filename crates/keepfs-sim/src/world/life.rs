//! The life of a world: sessions full of calls, each with its trouble and its end, and the judgement after each.

use std::fmt;

use keepfs_fs::{Fs, FsError};
use keepfs_store::Store;

use super::action::{Action, Draw, Named};
use super::call::{Caller, OpenFile, apply, show};
use super::history::History;
use super::machine::{Machine, Vault};
use super::model::Model;
use super::tree::difference;
use super::trouble::Trouble;
use super::{End, Verdict};
use crate::seeded::Chance;

/// Sessions of a world, at least and at most.
const SESSIONS: (u64, u64) = (2, 9);
/// Calls of a session, at least and at most.
const CALLS: (u64, u64) = (4, 60);
/// Times that a session is tried to be opened while something goes wrong.
const TROUBLED_OPENS_MAX: u64 = 2;
/// Longest object that is taken into the digest, in bytes.
const OBJECT_LEN_MAX: u64 = 64 << 20;

/// What a world did, when all of it was right.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Lived {
    /// Calls that were made.
    pub calls: u64,
    /// Calls that failed because something went wrong.
    pub failures: u64,
    /// Deaths of a machine, and how many of them struck within a call.
    pub deaths: (u64, u64),
    /// Machines that were lost, and replaced by one that joined.
    pub losses: u64,
    /// The troubles of its sessions.
    pub troubles: Vec<Trouble>,
    /// Every call and every answer, with the calls of store and disk so far in their session; and the objects that
    /// are on the store in the end.
    pub trace: Vec<String>,
    /// A digest of that.
    pub digest: String,
}

impl fmt::Display for Lived {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { calls, failures, deaths, losses, troubles, digest, .. } = self;
        write!(
            out,
            "digest {digest}, {calls} calls, {failures} failed, {} deaths, {losses} losses",
            deaths.0
        )?;
        write!(out, ", {troubles:?}")
    }
}

pub(super) struct World<'a> {
    pub(super) machine: Machine<'a>,
    pub(super) fs: Option<Fs>,
    pub(super) chance: Chance,
    pub(super) model: Model,
    pub(super) open: Vec<OpenFile>,
    pub(super) history: History,
    pub(super) trouble: Trouble,
    /// Times that a session is tried to be opened while something goes wrong, at most.
    pub(super) troubled_opens_max: u64,
    pub(super) lived: Lived,
}

/// Lives the world of a seed.
///
/// # Errors
/// What the file system did wrong, and everything that led there.
pub fn live(vault: &Vault, seed: u64) -> Verdict<Lived> {
    let mut world = World::begin_with(vault.machine(seed), seed)?;
    world.troubled_opens_max = TROUBLED_OPENS_MAX;
    let outcome = world.live();
    world.judged(outcome)
}

impl<'a> World<'a> {
    /// A new vault, open.
    pub(super) fn begin_with(mut machine: Machine<'a>, seed: u64) -> Verdict<Self> {
        let fs =
            machine.open(Trouble::None).map_err(|error| format!("a new vault does not open: {error}"))?;
        let shown = show(&fs).map_err(|error| format!("a new vault does not show: {error}"))?;
        Ok(Self {
            machine,
            fs: Some(fs),
            chance: Chance::new(seed),
            model: Model::of(&shown),
            open: Vec::new(),
            history: History::from(shown),
            trouble: Trouble::None,
            troubled_opens_max: 0,
            lived: Lived::default(),
        })
    }

    /// What it did, or what was wrong and everything that led there.
    pub(super) fn judged(self, outcome: Verdict) -> Verdict<Lived> {
        let trace = self.lived.trace.join("\n");
        outcome.map(|()| self.lived).map_err(|wrong| format!("{wrong}\nwhat led there:\n{trace}"))
    }
}

impl World<'_> {
    fn live(&mut self) -> Verdict {
        // A new vault is on the store before anybody can lose the machine that founded it.
        self.acknowledged_by_store("the first sync")?;
        for _ in 0..SESSIONS.0 + self.chance.below(SESSIONS.1 - SESSIONS.0 + 1) {
            self.session()?;
        }
        self.acknowledged_by_store("the last sync")?;
        let expected = self.history.last().clone();
        self.end(End::Loss)?;
        let found = self.history.last();
        if *found != expected {
            return Err(format!("the last join shows less:{}", difference(found, &expected)));
        }
        self.digest()
    }

    pub(super) fn tell(&mut self, what: String) {
        let (store, disk) = (self.machine.faults.calls(), self.machine.place.disk.calls());
        self.lived.trace.push(format!("{what} [{store} {disk}]"));
    }

    fn session(&mut self) -> Verdict {
        let trouble = Trouble::draw(&mut self.chance);
        self.trouble = trouble;
        self.lived.troubles.push(trouble);
        self.tell(format!("-- {trouble:?}"));
        trouble.begin(&self.machine.place.disk, &self.machine.faults);
        for _ in 0..CALLS.0 + self.chance.below(CALLS.1 - CALLS.0 + 1) {
            let shown = self.history.last().clone();
            let action = Draw::new(&mut self.chance, &shown, self.open.len()).action();
            if self.chance.one_in(40) {
                // Clocks jump: an hour, a year, back.
                let hours = self.chance.below(3 * 8760) as i64 - 8760;
                self.machine.place.env.advance(hours * 3_600_000);
            }
            self.act(&action)?;
            if self.machine.is_dead() {
                self.lived.deaths.1 += 1;
                break;
            }
        }
        let ends = [End::Unmount, End::Kill, End::PowerCut, End::PowerCut, End::Loss];
        let end = self.chance.pick(&ends).copied().unwrap_or(End::PowerCut);
        self.end(end)
    }

    /// One call, and the judgement of its answer.
    pub(super) fn act(&mut self, action: &Action) -> Verdict {
        let Some(fs) = &self.fs else { return Err("no file system is open".into()) };
        self.lived.calls += 1;
        let mut model = self.model.clone();
        let expected = apply(&mut model, &self.open, action);
        let was_unhealthy = fs.status().unhealthy.is_some();
        let answer = Caller { fs, open: &self.open }.call(action);
        let told = match &answer {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => format!("error {} ({error})", error.errno()),
        };
        self.tell(format!("{action:?} -> {told}"));
        match (answer, expected) {
            (Ok(answer), Ok(expected)) if answer == expected => {
                self.model = model;
                self.history.push(self.model.shown());
                if action.is_sync() && was_unhealthy {
                    return Err(format!("{action:?} was acknowledged after an error that stopped writing"));
                }
                self.acknowledge(action);
                self.keep(action)
            }
            (Err(error), Err(expected)) if error.errno() == expected => Ok(()),
            (Err(_), expected) if self.trouble.excuses() => self.failed(action, expected.is_ok(), model),
            (answer, expected) => {
                let answer = answer.map_err(|error| error.to_string());
                Err(format!("{action:?}: {answer:?} instead of {expected:?}"))
            }
        }
    }

    fn acknowledge(&mut self, action: &Action) {
        if action.is_sync() {
            let is_stored = *action == Action::SyncStore || self.machine.syncs_to_store();
            self.history.acknowledge(is_stored);
        }
    }

    /// A call failed that would have succeeded if nothing had gone wrong: it did nothing, or everything.
    fn failed(&mut self, action: &Action, would_succeed: bool, changed: Model) -> Verdict {
        self.lived.failures += 1;
        if !would_succeed {
            return Ok(());
        }
        let shown = changed.shown();
        if self.machine.is_dead() {
            self.history.push(shown);
            return Ok(());
        }
        let Some(fs) = &self.fs else { return Ok(()) };
        let found = self.machine.in_peace(self.trouble, || show(fs));
        let found =
            found.map_err(|error| format!("after {action:?} failed the tree does not show: {error}"))?;
        if found == **self.history.last() {
            return Ok(());
        }
        if found == shown {
            self.model = changed;
            self.history.push(shown);
            return Ok(());
        }
        let flaw = difference(&found, &shown);
        Err(format!("{action:?} failed, and did neither nothing nor everything; it lacks:{flaw}"))
    }

    /// The world's own table of open files.
    fn keep(&mut self, action: &Action) -> Verdict {
        let Some(fs) = &self.fs else { return Ok(()) };
        match action {
            Action::Open(Named(path)) => {
                let caller = Caller { fs, open: &self.open };
                let opened = caller.find(path).and_then(|ino| Ok((ino, fs.open(ino, libc::O_RDWR)?.handle)));
                let node = self.model.find(path).and_then(|node| self.model.file(node).map(|_| node));
                match (opened, node) {
                    (Ok((ino, handle)), Ok(node)) => self.open.push(OpenFile { handle, ino, node }),
                    (Err(_), Err(_)) => {}
                    (Err(_), Ok(_)) if self.trouble.excuses() => {}
                    (opened, node) => {
                        let opened = opened.map_err(|error| error.to_string());
                        return Err(format!("open gave {opened:?} instead of {node:?}"));
                    }
                }
            }
            Action::Close(at) if *at < self.open.len() => {
                let file = self.open.swap_remove(*at);
                fs.release(file.handle).map_err(|error| format!("closing failed: {error}"))?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Ends the session in some way, begins the next, and judges what it shows.
    pub(super) fn end(&mut self, end: End) -> Verdict {
        let end = self.stop(end)?;
        self.go_on(end)
    }

    /// Begins the session after one that ended, and judges what it shows.
    pub(super) fn go_on(&mut self, end: End) -> Verdict {
        let oldest = match end {
            End::Loss => self.history.stored,
            _ => self.history.local,
        };
        let fs = self.begin(end == End::Loss)?;
        self.trouble = Trouble::None;
        let found = show(&fs).map_err(|error| format!("after {end:?} the tree does not show: {error}"))?;
        self.fs = Some(fs);
        self.history.settle(&found, oldest)?;
        if end == End::Loss {
            self.history = History::from(found.clone());
        }
        self.model = Model::of(&found);
        Ok(())
    }

    /// Ends the session; what has died is not closed any more.
    pub(super) fn stop(&mut self, end: End) -> Verdict<End> {
        let died = self.machine.is_dead();
        let end = if died && end == End::Unmount { End::Kill } else { end };
        self.tell(format!("-- {end:?}{}", if died { " after it died" } else { "" }));
        self.open.clear();
        let fs = self.fs.take();
        match end {
            End::Unmount => {
                let Some(fs) = fs else { return Ok(end) };
                let was_unhealthy = fs.status().unhealthy.is_some();
                let closed = fs.close();
                self.tell(format!("close -> {:?}", closed.as_ref().map_err(FsError::errno)));
                match closed {
                    Ok(()) if was_unhealthy => return Err("closing vouched for a stopped mount".into()),
                    Ok(()) => self.history.acknowledge(false),
                    Err(_) if self.trouble.excuses() => {}
                    Err(error) => return Err(format!("closing failed: {error}")),
                }
                // It may have died while closing.
                match self.machine.is_dead() {
                    true => self.machine.cut_power(Some(fs), self.chance.word()),
                    false => drop(fs),
                }
            }
            End::Kill => {
                self.lived.deaths.0 += 1;
                self.machine.kill(fs);
            }
            End::PowerCut => {
                self.lived.deaths.0 += 1;
                let seed = self.chance.word();
                self.machine.cut_power(fs, seed);
            }
            End::Loss => {
                self.lived.losses += 1;
                self.machine.kill(fs);
            }
        }
        Ok(end)
    }

    /// Opens the next session: some tries while something goes wrong, then one in peace, which must succeed.
    fn begin(&mut self, joins: bool) -> Verdict<Fs> {
        let mut joins = joins;
        for _ in 0..self.chance.below(self.troubled_opens_max + 1) {
            let trouble = Trouble::draw(&mut self.chance);
            let opened = self.try_begin(&mut joins, trouble);
            let told = opened.as_ref().map(drop).map_err(ToString::to_string);
            self.tell(format!("-- open under {trouble:?} -> {told:?}"));
            match opened {
                Ok(fs) if !self.machine.is_dead() => {
                    // What was found under trouble is judged in peace, in the same session.
                    self.machine.in_peace(Trouble::None, || ());
                    return Ok(fs);
                }
                opened => {
                    let (fs, seed) = (opened.ok(), self.chance.word());
                    match self.chance.one_in(2) {
                        true => self.machine.kill(fs),
                        false => self.machine.cut_power(fs, seed),
                    }
                }
            }
        }
        let opened = self.try_begin(&mut joins, Trouble::None);
        let opened = opened.map_err(|error| format!("it does not open, though nothing is wrong: {error}"))?;
        self.tell("-- open in peace".into());
        Ok(opened)
    }

    fn try_begin(&mut self, joins: &mut bool, trouble: Trouble) -> keepfs_fs::Result<Fs> {
        if !*joins {
            return self.machine.open(trouble);
        }
        let seed = self.chance.word();
        let joined = self.machine.join(seed, trouble);
        // A machine that has joined stays who it is.
        *joins = joined.is_err();
        joined
    }

    /// Everything so far is on the store, and that is acknowledged, in peace.
    pub(super) fn acknowledged_by_store(&mut self, what: &str) -> Verdict {
        if self.fs.as_ref().is_some_and(|fs| fs.status().unhealthy.is_some()) {
            self.end(End::PowerCut)?;
        }
        self.trouble = Trouble::None;
        self.act(&Action::SyncStore).map_err(|wrong| format!("{what}: {wrong}"))
    }

    /// The digest of everything that happened, and of what is on the store now.
    fn digest(&mut self) -> Verdict {
        let store = &self.machine.place.store;
        for name in store.names() {
            let bytes = store.get(&name, OBJECT_LEN_MAX).map_err(|error| error.to_string())?;
            self.lived.trace.push(format!(
                "{} {} bytes {}",
                name.as_str(),
                bytes.len(),
                blake3::hash(&bytes)
            ));
        }
        let digest = blake3::hash(self.lived.trace.join("\n").as_bytes());
        self.lived.digest = digest.to_hex()[..16].to_owned();
        Ok(())
    }
}
