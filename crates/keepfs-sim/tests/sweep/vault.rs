//! The vault that is harmed: two machines wrote it, and the second died with work that no store has. Owns what lies where;
//! judges nothing.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use keepfs_format::ids::{MachineTag, PackId};
use keepfs_format::keys::NamespaceKeys;
use keepfs_fs::disk::LocalDisk;
use keepfs_fs::home::{self, RecoveryPhrase, UnlockSecret, Unlocked};
use keepfs_fs::{AttrSet, Fs, Ino, Kind, NewNode, Options, Result, World};
use keepfs_sim::world::{Shown, show};
use keepfs_sim::{CALLER, noise};
use keepfs_store::{BlobCache, FaultStore, Faults, MemoryStore, ObjectName, PutMode, Store, Weather};
use keepfs_vault::StagingPlace;

use crate::beside::{Beside, OpenCache, all_of};

/// Longest thing that is looked at here, in bytes.
const LEN_MAX: u64 = 64 << 20;
/// Length of a journal file.
const JOURNAL_FILE_LEN: u64 = 16 << 10;
/// More than any machine here has of anything.
const NUMBERS: u64 = 40;
/// How long the threads of the last session get to note that its journal is durable.
const QUIET_TIME: Duration = Duration::from_millis(700);

/// Where a thing lies.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Place {
    /// On the store.
    Object(ObjectName),
    /// In the state directory.
    File(PathBuf),
    /// A pack that is not on the store yet.
    Staged(ObjectName),
    /// A sealed blob in the cache.
    Cached(String),
}

/// All that there is of a vault.
pub(crate) type Things = BTreeMap<Place, Vec<u8>>;

/// A vault, whole.
pub(crate) struct Vault {
    pub(crate) things: Things,
    pub(crate) phrase: RecoveryPhrase,
    /// What a machine shows that has nothing but the store.
    pub(crate) on_store: Shown,
    /// What the machine shows that wrote last.
    pub(crate) on_machine: Shown,
    kinds: BTreeMap<ObjectName, &'static str>,
    /// The machine that wrote last, to be copied.
    machine: keepfs_sim::Place,
}

/// One machine before a store that is not local, with packs and a cache beside it.
struct Machine {
    place: keepfs_sim::Place,
    staged: MemoryStore,
    cache: Arc<OpenCache>,
}

impl Machine {
    fn beside(store: MemoryStore, seed: u64) -> Self {
        Self::with(keepfs_sim::Place::beside(store, seed))
    }

    fn with(place: keepfs_sim::Place) -> Self {
        Self { place, staged: MemoryStore::new(), cache: Arc::default() }
    }

    fn options(&self) -> Options {
        let mut options = self.place.quiet_options();
        options.checkpoint_operations = 12;
        options.journal.file_len = JOURNAL_FILE_LEN;
        options.block_cache_len_max = 0;
        options.database_cache_len = 1 << 20;
        options
    }

    fn start(&self, store: Arc<dyn Store>, unlocked: Unlocked, options: Options) -> Result<Fs> {
        let beside = Beside { staged: self.staged.clone(), store: store.clone() };
        let world = World {
            store,
            staging: Some(StagingPlace::Separate(Arc::new(beside))),
            cache: Some(self.cache.clone()),
            disk: self.place.disk.clone(),
            env: self.place.env.clone(),
            unlocked,
        };
        Fs::start(world, options)
    }

    fn join(&self, store: Arc<dyn Store>, phrase: &RecoveryPhrase) -> Result<(Fs, MachineTag)> {
        let unlocked = home::join(&self.place.site(&*store), UnlockSecret::Phrase(phrase), "another")?;
        let tag = unlocked.machine.tag;
        Ok((self.start(store, unlocked, self.options())?, tag))
    }

    fn open(&self, store: Arc<dyn Store>, phrase: &RecoveryPhrase, options: Options) -> Result<Fs> {
        let unlocked = home::unlock(&self.place.site(&*store), UnlockSecret::Phrase(phrase))?;
        self.start(store, unlocked, options)
    }
}

impl Vault {
    /// Makes it.
    pub(crate) fn make() -> Self {
        let (place, phrase, unlocked) = keepfs_sim::Place::found_on(MemoryStore::remote(), 1).unwrap();
        let first = Machine::with(place);
        let (keys, first_tag) = (unlocked.namespace_keys(), unlocked.machine.tag);
        let store = first.place.store.clone();
        let fs = first.start(Arc::new(store.clone()), unlocked, first.options()).unwrap();
        grow(&fs, "one");
        fs.sync_store(&mut |_| {}).unwrap();
        grow(&fs, "two");
        fs.close().unwrap();
        drop(fs);

        let second = Machine::beside(store.clone(), 2);
        let (fs, second_tag) = second.join(Arc::new(store.clone()), &phrase).unwrap();
        grow(&fs, "three");
        fs.sync_store(&mut |_| {}).unwrap();
        fs.set_xattr(find(&fs, "two"), b"user.note", b"the second machine was here", 0).unwrap();
        fs.sync_store(&mut |_| {}).unwrap();
        let on_store = show(&fs).unwrap();
        fs.close().unwrap();
        drop(fs);
        let on_machine = leave_work(&second, &phrase);
        let kinds = kinds(&keys, &store, [first_tag, second_tag]);
        let things = things(&second);
        Self { things, phrase, on_store, on_machine, kinds, machine: second.place }
    }

    /// What a machine finds that has nothing but the store.
    pub(crate) fn stranger(&self, changes: &Changes, faults: &Arc<Faults>) -> Result<Shown> {
        let store = self.changed_store(changes);
        let machine = Machine::beside(store.clone(), 5);
        let store = Arc::new(FaultStore::new(Arc::new(store), faults.clone()));
        show(&machine.join(store, &self.phrase)?.0)
    }

    /// What the machine finds that wrote last.
    pub(crate) fn writer(&self, changes: &Changes, faults: &Arc<Faults>) -> Result<Shown> {
        let mut place = self.machine.fork(6);
        place.store = self.changed_store(changes);
        let machine = Machine::with(place);
        for (place, bytes) in &self.things {
            let bytes = match changes.get(place) {
                Some(changed) => changed.as_ref(),
                None => Some(bytes),
            };
            machine.put(place, bytes);
        }
        for (place, bytes) in changes.iter().filter(|(place, _)| !self.things.contains_key(*place)) {
            machine.put(place, bytes.as_ref());
        }
        let store = Arc::new(FaultStore::new(Arc::new(machine.place.store.clone()), faults.clone()));
        show(&machine.open(store, &self.phrase, machine.options())?)
    }

    fn changed_store(&self, changes: &Changes) -> MemoryStore {
        let store = self.machine.store.fork();
        for (place, bytes) in changes {
            let Place::Object(name) = place else { continue };
            match bytes {
                Some(bytes) => store.put(name, bytes, PutMode::Replace).unwrap(),
                None => store.delete(name).unwrap(),
            }
        }
        store
    }

    /// What a thing is.
    pub(crate) fn kind(&self, place: &Place) -> String {
        let kind = match place {
            Place::Object(name) => self.kinds.get(name).copied().unwrap_or("roster entry"),
            Place::Staged(_) => "staged pack",
            Place::Cached(_) => "cached blob",
            Place::File(path) => match path.file_name().and_then(|name| name.to_str()).unwrap() {
                "tree.db" => "database",
                "header" => "kept header",
                "roster" => "kept roster",
                "machine" => "machine",
                name if name.starts_with("journal-") => "journal",
                name if name.starts_with("spare-") => "spare file of the journal",
                name => panic!("{name} in the state directory is of no known kind"),
            },
        };
        kind.to_owned()
    }
}

/// What things become; `None` where there is nothing any more.
pub(crate) type Changes = BTreeMap<Place, Option<Vec<u8>>>;

impl Machine {
    /// Sees to it that a thing is so; what is on the store is so already.
    fn put(&self, place: &Place, bytes: Option<&Vec<u8>>) {
        match (place, bytes) {
            (Place::Object(_), _) => {}
            (Place::File(path), Some(bytes)) => {
                if self.place.disk.peek(path).as_ref() != Some(bytes) {
                    self.place.disk.replace(path, bytes.clone());
                }
            }
            (Place::File(path), None) => {
                self.place.disk.remove(path).unwrap();
            }
            (Place::Staged(name), Some(bytes)) => {
                let staged = self.staged.staging().unwrap().create(name).unwrap();
                staged.write_at(0, bytes).unwrap();
                staged.sync().unwrap();
            }
            (Place::Cached(key), Some(bytes)) => self.cache.put(key, bytes),
            (Place::Staged(_) | Place::Cached(_), None) => {}
        }
    }
}

fn find(fs: &Fs, name: &str) -> Ino {
    fs.lookup(Ino::ROOT, name.as_bytes()).unwrap().ino
}

fn node(kind: Kind, target: &[u8]) -> NewNode<'_> {
    NewNode { kind, mode: 0o750, rdev: 0, target, caller: CALLER }
}

fn put(fs: &Fs, parent: Ino, name: &str, bytes: &[u8]) -> Ino {
    let (attr, opened) = fs.create(parent, name.as_bytes(), &node(Kind::File, b""), libc::O_RDWR).unwrap();
    fs.write(opened.handle, 0, bytes, false).unwrap();
    fs.fsync(opened.handle, false).unwrap();
    fs.release(opened.handle).unwrap();
    attr.ino
}

/// A directory with a bit of everything.
fn grow(fs: &Fs, name: &str) {
    let directory = fs.make(Ino::ROOT, name.as_bytes(), &node(Kind::Directory, b"")).unwrap().ino;
    let words = format!("the words of {name}, over and over. ");
    let small = put(fs, directory, "small", words.as_bytes());
    put(fs, directory, "words", words.repeat(70_000 / words.len()).as_bytes());
    put(fs, directory, "noise", &noise(name.len() as u64, 3000));
    fs.link(small, Ino::ROOT, format!("{name} again").as_bytes()).unwrap();
    fs.make(directory, b"link", &node(Kind::Symlink, b"../nowhere")).unwrap();
    fs.set_xattr(small, b"user.of", name.as_bytes(), 0).unwrap();
    let hollow = put(fs, directory, "hollow", b"begin");
    let handle = fs.open(hollow, libc::O_RDWR).unwrap().handle;
    fs.write(handle, 100_000, b"end", false).unwrap();
    fs.release(handle).unwrap();
    let set = AttrSet { mode: Some(0o600), ..AttrSet::default() };
    fs.set_attr(hollow, &set, None, CALLER).unwrap();
}

/// The last sessions, without the store: one leaves segments in the database, one dies with packs and a journal.
fn leave_work(machine: &Machine, phrase: &RecoveryPhrase) -> Shown {
    let offline = || {
        let faults = Faults::none();
        let store = FaultStore::new(Arc::new(machine.place.store.clone()), faults.clone());
        (Arc::new(store) as Arc<dyn Store>, faults)
    };
    let (store, faults) = offline();
    let fs = machine.open(store, phrase, machine.options()).unwrap();
    show(&fs).unwrap();
    faults.set_weather(Weather::Offline);
    grow(&fs, "four");
    fs.close().unwrap();
    drop(fs);
    machine.place.disk.end_process();

    let (store, faults) = offline();
    faults.set_weather(Weather::Offline);
    let mut options = machine.options();
    options.background = true;
    options.commit_interval = Duration::from_secs(3600);
    options.publish_interval = Duration::from_secs(3600);
    let fs = machine.open(store, phrase, options).unwrap();
    grow(&fs, "five");
    fs.unlink(find(&fs, "one"), b"words").unwrap();
    fs.sync_local().unwrap();
    std::thread::sleep(QUIET_TIME);
    let shown = show(&fs).unwrap();
    drop(fs);
    machine.place.disk.end_process();
    shown
}

fn kinds(
    keys: &NamespaceKeys,
    store: &MemoryStore,
    machines: [MachineTag; 2],
) -> BTreeMap<ObjectName, &'static str> {
    let names = store.names();
    let mut kinds = BTreeMap::new();
    let mut is_a = |name: &str, kind| {
        let name = ObjectName::new(name).unwrap();
        if names.contains(&name) {
            kinds.insert(name, kind);
        }
    };
    is_a("vault", "header");
    is_a("vault.bak", "header");
    for machine in machines {
        is_a(&keys.head_name(machine), "head");
        for number in 1..NUMBERS {
            is_a(&keys.segment_name(machine, number), "segment");
            is_a(&keys.checkpoint_name(machine, number), "checkpoint");
            is_a(&keys.run_name(machine, number), "index run");
            is_a(&keys.pack_name(PackId(u64::from(machine.0) << 40 | number)), "pack");
        }
    }
    kinds
}

/// Everything that lies anywhere after the last session.
fn things(machine: &Machine) -> Things {
    let store = &machine.place.store;
    let mut things = Things::new();
    for name in store.names() {
        things.insert(Place::Object(name.clone()), store.get(&name, LEN_MAX).unwrap());
    }
    for path in machine.place.disk.files() {
        let bytes = machine.place.disk.peek(&path).unwrap();
        things.insert(Place::File(path), bytes);
    }
    let staging = machine.staged.staging().unwrap();
    for name in staging.list().unwrap() {
        let bytes = all_of(&*staging.reopen(&name).unwrap()).unwrap();
        things.insert(Place::Staged(name), bytes);
    }
    for (key, bytes) in machine.cache.0.lock().iter() {
        things.insert(Place::Cached(key.clone()), bytes.clone());
    }
    things
}
