//! Claims about founding, joining, unlocking and changing slots, over the memory store and a faulty disk.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use keepfs_format::Env;
use keepfs_format::compress::Compression;
use keepfs_format::error::FormatError;
use keepfs_format::header::{Header, ListedSlot};
use keepfs_format::ids::Time;
use keepfs_store::{FaultStore, Faults, MemoryStore, Moment, ObjectName, PutMode, Store, Weather};

use super::*;
use crate::disk::{FaultyDisk, LocalDisk, OsDisk, Trouble};
use crate::error::{FsError, Result};

const PASSWORD: &[u8] = b"correct horse";

/// Time and randomness that repeat themselves.
struct CountingEnv(AtomicU64);

impl Env for CountingEnv {
    fn now(&self) -> Time {
        Time { secs: 1_800_000_000 + self.0.load(Ordering::Relaxed) as i64, nanos: 0 }
    }

    fn fill(&self, out: &mut [u8]) {
        let mut state = self.0.fetch_add(1, Ordering::Relaxed);
        for byte in out {
            // SplitMix64: enough that no two draws are alike.
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            *byte = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb).to_be_bytes()[0];
        }
    }
}

/// One machine: a disk, and a view of the store.
struct Machine {
    store: MemoryStore,
    disk: FaultyDisk,
    dir: PathBuf,
    env: CountingEnv,
}

impl Machine {
    fn new(store: &MemoryStore, seed: u64) -> Self {
        let disk = FaultyDisk::new(Path::new("/"));
        let env = CountingEnv(AtomicU64::new(seed << 32));
        Self { store: store.clone(), disk, dir: PathBuf::from("/state/photos"), env }
    }

    fn site(&self) -> Site<'_> {
        Site { store: Some(&self.store), disk: &self.disk, state_dir: &self.dir, env: &self.env }
    }

    fn offline(&self) -> Site<'_> {
        Site { store: None, ..self.site() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn flip(&self, name: &str, at: usize) {
        let mut bytes = self.disk.peek(&self.file(name)).unwrap();
        bytes[at] ^= 0x20;
        self.disk.replace(&self.file(name), bytes);
    }
}

fn plan() -> NewVault<'static> {
    NewVault {
        password: PASSWORD,
        kdf: KdfParams::FLOOR,
        user_name: "Ann",
        machine_name: "laptop",
        compression: Compression::Zstd(1),
    }
}

/// A vault, the machine that founded it, and its phrase. It is founded once: hashing passwords takes its time.
fn founded() -> (MemoryStore, Machine, RecoveryPhrase) {
    type Files = Vec<(&'static str, Vec<u8>)>;
    static ONCE: OnceLock<(MemoryStore, Files, String)> = OnceLock::new();
    let (store, files, words) = ONCE.get_or_init(|| {
        let store = MemoryStore::new();
        let machine = Machine::new(&store, 1);
        let (phrase, _) = init(&machine.site(), &plan()).unwrap();
        let file = |name| (name, machine.disk.peek(&machine.file(name)).unwrap());
        (store, ["machine", "header", "roster"].map(file).into(), phrase.words().to_string())
    });
    static COPIES: AtomicU64 = AtomicU64::new(1 << 20);
    let store = store.fork();
    let machine = Machine::new(&store, COPIES.fetch_add(1, Ordering::Relaxed));
    machine.disk.create_dir(Path::new("/state")).unwrap();
    machine.disk.create_dir(&machine.dir).unwrap();
    machine.disk.sync_dir(Path::new("/")).unwrap();
    machine.disk.sync_dir(Path::new("/state")).unwrap();
    for (name, bytes) in files {
        machine.disk.replace(&machine.file(name), bytes.clone());
    }
    (store, machine, RecoveryPhrase::parse(words).unwrap())
}

fn same_keys(a: &Unlocked, b: &Unlocked) -> bool {
    a.secrets.epoch_key.expose() == b.secrets.epoch_key.expose()
        && a.secrets.name_key.expose() == b.secrets.name_key.expose()
        && a.vault() == b.vault()
}

fn copies(store: &MemoryStore) -> [Vec<u8>; 2] {
    [ObjectName::vault(), ObjectName::vault_backup()].map(|name| store.get(&name, 1 << 20).unwrap())
}

fn put(store: &MemoryStore, name: ObjectName, bytes: &[u8]) {
    store.put(&name, bytes, PutMode::Replace).unwrap();
}

fn fail<T>(result: Result<T>) -> FsError {
    result.err().unwrap()
}

#[test]
fn a_machine_unlocks_what_it_founded() {
    let store = MemoryStore::new();
    let machine = Machine::new(&store, 1);
    let (phrase, founded) = init(&machine.site(), &plan()).unwrap();
    assert!(founded.notices.is_empty());
    assert_eq!(&*founded.machine.name, "laptop");
    let [vault, backup] = copies(&store);
    assert_eq!(vault, backup);
    for secret in [UnlockSecret::Password(PASSWORD), UnlockSecret::Phrase(&phrase)] {
        let again = unlock(&machine.site(), secret).unwrap();
        assert!(again.notices.is_empty());
        assert!(same_keys(&founded, &again));
        assert_eq!(again.machine.tag, founded.machine.tag);
        assert_eq!(again.local_key.expose(), founded.local_key.expose());
        assert_eq!(again.settings.compression, Compression::Zstd(1));
        let listed = again.roster().machine(again.machine.tag).unwrap();
        assert_eq!(listed.signing, again.machine.signing.verifying_key());
    }
}

#[test]
fn wrong_secrets_are_refused_alike() {
    let (_, machine, _) = founded();
    let other = RecoveryPhrase::draw(&machine.env);
    for site in [machine.site(), machine.offline()] {
        for secret in [UnlockSecret::Password(b"correct hors"), UnlockSecret::Phrase(&other)] {
            assert!(matches!(fail(unlock(&site, secret)), FsError::WrongSecret));
        }
    }
}

#[test]
fn store_and_secret_are_everything() {
    let (store, first, phrase) = founded();
    let before = unlock(&first.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    drop(first);
    for (seed, secret) in [(2, UnlockSecret::Password(PASSWORD)), (3, UnlockSecret::Phrase(&phrase))] {
        let machine = Machine::new(&store, seed);
        let joined = join(&machine.site(), secret, "desktop").unwrap();
        assert!(same_keys(&before, &joined));
        assert_ne!(before.machine.tag, joined.machine.tag);
        assert_ne!(before.local_key.expose(), joined.local_key.expose());
        assert_eq!(joined.roster().machines().len() as u64, seed);
        assert!(same_keys(&joined, &unlock(&machine.site(), secret).unwrap()));
    }
    let stranger = Machine::new(&store, 4);
    assert!(matches!(
        fail(join(&stranger.site(), UnlockSecret::Password(b"guess"), "x")),
        FsError::WrongSecret
    ));
}

#[test]
fn nothing_that_exists_is_founded_or_joined_over() {
    let (store, machine, phrase) = founded();
    let all = store.fork();
    let state = ["machine", "header", "roster"].map(|name| machine.disk.peek(&machine.file(name)));
    assert!(matches!(fail(init(&machine.site(), &plan())), FsError::VaultExists));
    let elsewhere = Machine::new(&store, 2);
    assert!(matches!(fail(init(&elsewhere.site(), &plan())), FsError::VaultExists));
    // A store whose header was lost keeps its spare one, and is no empty store.
    store.delete(&ObjectName::vault()).unwrap();
    assert!(matches!(fail(init(&elsewhere.site(), &plan())), FsError::VaultExists));
    store.roll_back_to(&all);
    let moved = Machine { store: MemoryStore::new(), ..machine };
    assert!(matches!(fail(init(&moved.site(), &plan())), FsError::StateExists { .. }));
    let machine = Machine { store: store.clone(), ..moved };
    let error = fail(join(&machine.site(), UnlockSecret::Phrase(&phrase), "x"));
    assert!(matches!(error, FsError::StateExists { .. }));
    machine.flip("machine", 100);
    assert!(matches!(fail(init(&machine.site(), &plan())), FsError::VaultExists));
    machine.flip("machine", 100);
    assert_eq!(state, ["machine", "header", "roster"].map(|name| machine.disk.peek(&machine.file(name))));
    assert_eq!(store.names(), all.names());
    assert!(matches!(
        fail(init(&elsewhere.site(), &NewVault { password: b"", ..plan() })),
        FsError::EmptyPassword
    ));
}

#[test]
fn empty_stores_and_empty_state_are_told_apart() {
    let (store, machine, phrase) = founded();
    let secret = UnlockSecret::Phrase(&phrase);
    let empty = MemoryStore::new();
    assert!(matches!(fail(join(&Machine::new(&empty, 2).site(), secret, "x")), FsError::NoVault));
    assert!(matches!(fail(unlock(&Machine::new(&store, 2).site(), secret)), FsError::NoState { .. }));
    let lost = Machine { store: empty, ..machine };
    assert!(matches!(fail(unlock(&lost.site(), secret)), FsError::NoVault));
    assert!(matches!(fail(join(&Machine::new(&store, 3).offline(), secret, "x")), FsError::Store(_)));
}

#[test]
fn another_vault_with_the_same_password_is_recognised() {
    let (_, machine, _) = founded();
    let (other, _, _) = {
        let store = MemoryStore::new();
        let machine = Machine::new(&store, 77);
        let (phrase, _) = init(&machine.site(), &plan()).unwrap();
        (store, machine, phrase)
    };
    let state = machine.disk.peek(&machine.file("machine"));
    let astray = Machine { store: other, ..machine };
    assert!(matches!(fail(unlock(&astray.site(), UnlockSecret::Password(PASSWORD))), FsError::OtherVault));
    assert_eq!(astray.disk.peek(&astray.file("machine")), state);
}

#[test]
fn local_state_is_enough_without_the_store() {
    let (store, machine, phrase) = founded();
    let before = unlock(&machine.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    let offline = unlock(&machine.offline(), UnlockSecret::Password(PASSWORD)).unwrap();
    assert!(same_keys(&before, &offline));
    assert!(matches!(offline.notices[..], [Notice::Offline { .. }]));
    // Without the kept roster it takes the store, once.
    machine.flip("roster", 70);
    let error = fail(unlock(&machine.offline(), UnlockSecret::Phrase(&phrase)));
    assert!(matches!(error, FsError::Damaged { .. }), "{error}");
    let online = unlock(&machine.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    assert_eq!(online.notices, [Notice::RosterRefetched]);
    unlock(&machine.offline(), UnlockSecret::Phrase(&phrase)).unwrap();
    drop(store);
}

#[test]
fn changed_password_replaces_the_old_one_and_leaves_the_phrase() {
    let (store, machine, phrase) = founded();
    let other = Machine::new(&store, 2);
    join(&other.site(), UnlockSecret::Phrase(&phrase), "desktop").unwrap();
    let mut unlocked = unlock(&machine.site(), UnlockSecret::Password(PASSWORD)).unwrap();
    let notices =
        change_password(&machine.site(), &mut unlocked, b"battery staple", KdfParams::FLOOR).unwrap();
    assert!(notices.is_empty());
    let slots = list_slots(&unlocked).unwrap();
    assert_eq!(slots.len(), 2);
    assert_eq!(
        slots.iter().filter(|slot| slot.in_use && matches!(slot.kind, SlotKind::Password(_))).count(),
        1
    );
    for site in [machine.site(), machine.offline(), other.site()] {
        assert!(matches!(fail(unlock(&site, UnlockSecret::Password(PASSWORD))), FsError::WrongSecret));
        let again = unlock(&site, UnlockSecret::Password(b"battery staple")).unwrap();
        assert!(same_keys(&unlocked, &again));
        unlock(&site, UnlockSecret::Phrase(&phrase)).unwrap();
    }
    let [vault, backup] = copies(&store);
    assert_eq!(vault, backup, "a slot that was taken away opens no forgotten copy");
    let third = Machine::new(&store, 3);
    assert!(matches!(fail(join(&third.site(), UnlockSecret::Password(PASSWORD), "x")), FsError::WrongSecret));
    join(&third.site(), UnlockSecret::Password(b"battery staple"), "x").unwrap();
}

#[test]
fn slots_are_added_removed_and_renewed() {
    let (_, machine, phrase) = founded();
    let site = machine.site();
    let mut unlocked = unlock(&site, UnlockSecret::Phrase(&phrase)).unwrap();
    add_password(&site, &mut unlocked, b"second", KdfParams::FLOOR).unwrap();
    unlock(&site, UnlockSecret::Password(PASSWORD)).unwrap();
    unlock(&site, UnlockSecret::Password(b"second")).unwrap();

    let (renewed, _) = new_phrase(&site, &mut unlocked).unwrap();
    assert!(matches!(fail(unlock(&site, UnlockSecret::Phrase(&phrase))), FsError::WrongSecret));
    unlock(&site, UnlockSecret::Phrase(&renewed)).unwrap();

    // Unlocked by a phrase, a new password stands for all forgotten ones.
    change_password(&site, &mut unlocked, b"third", KdfParams::FLOOR).unwrap();
    for gone in [PASSWORD, b"second"] {
        assert!(matches!(fail(unlock(&site, UnlockSecret::Password(gone))), FsError::WrongSecret));
    }
    let slots = list_slots(&unlocked).unwrap();
    assert_eq!(slots.len(), 2);
    remove_slot(&site, &mut unlocked, slots[0].id).unwrap();
    assert!(matches!(fail(remove_slot(&site, &mut unlocked, slots[0].id)), FsError::NoSlot));
    assert!(matches!(fail(remove_slot(&site, &mut unlocked, slots[1].id)), FsError::LastSlot));
    assert!(matches!(
        fail(change_password(&site, &mut unlocked, b"", KdfParams::FLOOR)),
        FsError::EmptyPassword
    ));
}

#[test]
fn a_header_flipped_anywhere_still_opens_and_is_put_right() {
    let (store, machine, phrase) = founded();
    let [whole, _] = copies(&store);
    let secret = UnlockSecret::Phrase(&phrase);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x41;
        put(&store, ObjectName::vault(), &flipped);
        let unlocked = unlock(&machine.site(), secret).unwrap_or_else(|error| panic!("byte {at}: {error}"));
        let flaw = "on the store was damaged";
        assert_eq!(unlocked.notices, [Notice::HeaderRepaired { flaw }], "byte {at}");
        assert_eq!(copies(&store), [whole.clone(), whole.clone()], "byte {at}");
    }
    for len in [0, 1, 7, 8, 50, whole.len() - 1] {
        put(&store, ObjectName::vault(), &whole[..len]);
        let unlocked = unlock(&machine.site(), secret).unwrap();
        assert!(matches!(unlocked.notices[..], [Notice::HeaderRepaired { .. }]));
    }
    store.delete(&ObjectName::vault()).unwrap();
    let flaw = "was missing on the store";
    assert_eq!(unlock(&machine.site(), secret).unwrap().notices, [Notice::HeaderRepaired { flaw }]);
}

#[test]
fn the_spare_header_lets_a_new_machine_in() {
    let (store, _, phrase) = founded();
    let [whole, _] = copies(&store);
    put(&store, ObjectName::vault(), &whole[..40]);
    let machine = Machine::new(&store, 2);
    let joined = join(&machine.site(), UnlockSecret::Phrase(&phrase), "x").unwrap();
    let flaw = "on the store was damaged";
    assert_eq!(joined.notices, [Notice::HeaderRepaired { flaw }]);
    assert_eq!(copies(&store), [whole.clone(), whole.clone()]);

    put(&store, ObjectName::vault(), &whole[..40]);
    put(&store, ObjectName::vault_backup(), &whole[..60]);
    let error = fail(join(&Machine::new(&store, 3).site(), UnlockSecret::Phrase(&phrase), "x"));
    assert!(matches!(error, FsError::Damaged { .. }), "{error}");
    // A machine that belongs to the vault needs no header on the store, and puts both right.
    unlock(&machine.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    assert_eq!(copies(&store), [whole.clone(), whole]);
}

#[test]
fn a_newer_vault_is_told_and_left_alone() {
    let (store, machine, phrase) = founded();
    for name in [ObjectName::vault(), ObjectName::vault_backup()] {
        put(&store, name, b"keepfs\0\x02 whatever comes then");
    }
    let error = fail(join(&Machine::new(&store, 2).site(), UnlockSecret::Phrase(&phrase), "x"));
    assert!(matches!(error, FsError::NewerVersion { found: 2, supported: 1, .. }), "{error}");
    // The machine of old has the roster's word that version 1 is in force.
    unlock(&machine.site(), UnlockSecret::Phrase(&phrase)).unwrap();
}

#[test]
fn forged_hashing_parameters_are_refused_before_any_memory_is_taken() {
    let (store, _, _) = founded();
    let [whole, _] = copies(&store);
    // The password slot comes first: kind, id and time stand before its parameters.
    let memory = 8 + 1 + 8 + 32 + 1 + 2 + 1 + 16 + 8;
    for forged in [8u32, u32::MAX] {
        let mut bytes = whole.clone();
        bytes[memory..memory + 4].copy_from_slice(&forged.to_le_bytes());
        // A forger would make the checksum fit.
        let header = Header::decode(&bytes).unwrap();
        assert!(matches!(
            header.slots()[0],
            ListedSlot::Refused { reason: FormatError::KdfOutOfBounds { memory_kib, .. }, .. } if memory_kib == forged
        ));
        let bytes = header.encode();
        put(&store, ObjectName::vault(), &bytes);
        put(&store, ObjectName::vault_backup(), &bytes);
        let error = fail(join(&Machine::new(&store, 2).site(), UnlockSecret::Password(PASSWORD), "x"));
        assert!(matches!(error, FsError::Format(FormatError::KdfOutOfBounds { .. })), "{error}");
    }
}

#[test]
fn rolled_back_stores_are_noticed() {
    let (store, machine, phrase) = founded();
    let secret = UnlockSecret::Phrase(&phrase);
    let old = store.fork();
    let mut unlocked = unlock(&machine.site(), secret).unwrap();
    change_password(&machine.site(), &mut unlocked, b"battery staple", KdfParams::FLOOR).unwrap();
    let new = store.fork();

    // The whole store: noticed by who was there, with the kept roster and without it.
    store.roll_back_to(&old);
    assert!(matches!(fail(unlock(&machine.site(), secret)), FsError::Rollback { .. }));
    assert!(matches!(
        fail(change_password(&machine.site(), &mut unlocked, b"x", KdfParams::FLOOR)),
        FsError::Rollback { .. }
    ));

    // Only the header: the roster knows better, for newcomers too, and the header comes back.
    let [header_before, _] = copies(&old);
    store.roll_back_to(&new);
    put(&store, ObjectName::vault(), &header_before);
    put(&store, ObjectName::vault_backup(), &header_before);
    let stranger = Machine::new(&store, 2);
    assert!(matches!(
        fail(join(&stranger.site(), UnlockSecret::Password(PASSWORD), "x")),
        FsError::WrongSecret
    ));
    assert_eq!(copies(&store), copies(&new));
    put(&store, ObjectName::vault(), &header_before);
    let again = unlock(&machine.site(), UnlockSecret::Password(b"battery staple")).unwrap();
    let flaw = "on the store was not the one in force";
    assert_eq!(again.notices, [Notice::HeaderRepaired { flaw }]);

    // Only the roster: the new slot says how much of it there must be.
    store.roll_back_to(&old);
    let [header, backup] = copies(&new);
    put(&store, ObjectName::vault(), &header);
    put(&store, ObjectName::vault_backup(), &backup);
    let error = fail(join(&stranger.site(), UnlockSecret::Password(b"battery staple"), "x"));
    assert!(matches!(error, FsError::Rollback { .. }), "{error}");
}

#[test]
fn a_rollback_is_noticed_without_the_kept_roster() {
    let (store, machine, phrase) = founded();
    let old = store.fork();
    join(&Machine::new(&store, 2).site(), UnlockSecret::Phrase(&phrase), "x").unwrap();
    unlock(&machine.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    machine.flip("roster", 40);
    store.roll_back_to(&old);
    let error = fail(unlock(&machine.site(), UnlockSecret::Phrase(&phrase)));
    assert!(matches!(error, FsError::Rollback { .. }), "{error}");
}

#[test]
fn a_forked_roster_is_noticed() {
    let (store, machine, phrase) = founded();
    let secret = UnlockSecret::Phrase(&phrase);
    let fork = store.fork();
    join(&Machine::new(&store, 2).site(), secret, "x").unwrap();
    join(&Machine::new(&fork, 3).site(), secret, "y").unwrap();
    unlock(&machine.site(), secret).unwrap();
    store.roll_back_to(&fork);
    assert!(matches!(fail(unlock(&machine.site(), secret)), FsError::Rollback { .. }));
    machine.disk.remove(&machine.file("roster")).unwrap();
    assert!(matches!(fail(unlock(&machine.site(), secret)), FsError::Rollback { .. }));
}

#[test]
fn machines_that_join_at_once_all_get_in() {
    let (store, _, phrase) = founded();
    let joined: Vec<Unlocked> = std::thread::scope(|scope| {
        let (store, phrase) = (&store, &phrase);
        let threads: Vec<_> = (2..10)
            .map(|seed| {
                scope.spawn(move || {
                    join(&Machine::new(store, seed).site(), UnlockSecret::Phrase(phrase), "x").unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let machine = Machine::new(&store, 20);
    let last = join(&machine.site(), UnlockSecret::Phrase(&phrase), "last").unwrap();
    assert_eq!(last.roster().machines().len(), 10);
    for unlocked in joined {
        let listed = last.roster().machine(unlocked.machine.tag).unwrap();
        assert_eq!(listed.signing, unlocked.machine.signing.verifying_key());
    }
}

#[test]
fn a_password_changed_on_two_machines_keeps_both_changes_or_refuses_one() {
    let (store, first, phrase) = founded();
    let second = Machine::new(&store, 2);
    let mut there = join(&second.site(), UnlockSecret::Phrase(&phrase), "x").unwrap();
    let mut here = unlock(&first.site(), UnlockSecret::Phrase(&phrase)).unwrap();
    add_password(&first.site(), &mut here, b"from here", KdfParams::FLOOR).unwrap();
    add_password(&second.site(), &mut there, b"from there", KdfParams::FLOOR).unwrap();
    for password in [PASSWORD, b"from here", b"from there"] {
        unlock(&first.site(), UnlockSecret::Password(password)).unwrap();
    }
}

#[test]
fn damaged_machine_state_is_told_and_left_as_it_is() {
    let (_, machine, phrase) = founded();
    let whole = machine.disk.peek(&machine.file("machine")).unwrap();
    for at in (0..whole.len()).step_by(13) {
        machine.flip("machine", at);
        let flipped = machine.disk.peek(&machine.file("machine"));
        let error = fail(unlock(&machine.site(), UnlockSecret::Phrase(&phrase)));
        assert!(matches!(error, FsError::Damaged { .. }) && error.to_string().contains("join"), "{error}");
        assert_eq!(machine.disk.peek(&machine.file("machine")), flipped);
        machine.flip("machine", at);
    }
    machine.disk.replace(&machine.file("machine"), Vec::new());
    let error = fail(unlock(&machine.site(), UnlockSecret::Phrase(&phrase)));
    assert!(matches!(error, FsError::Damaged { .. }), "{error}");
}

#[test]
fn a_power_cut_at_any_disk_call_leaves_a_way_in() {
    let (calls, phrase) = {
        let machine = Machine::new(&MemoryStore::new(), 1);
        machine.disk.set_trouble(None);
        let (phrase, _) = init(&machine.site(), &plan()).unwrap();
        (machine.disk.calls(), phrase)
    };
    for call in 0..calls {
        let store = MemoryStore::new();
        let machine = Machine::new(&store, 1);
        machine.disk.set_trouble(Some(Trouble::PowerOff { call }));
        assert!(init(&machine.site(), &plan()).is_err(), "call {call}");
        machine.disk.power_cut(call);
        // The same seed drew the same phrase; it opens faster than the password.
        let secret = UnlockSecret::Phrase(&phrase);
        let way_in = match store.get(&ObjectName::vault(), 1 << 20) {
            // No vault: it is founded as if nothing had been.
            Err(_) => init(&machine.site(), &plan()).map(|(_, unlocked)| unlocked),
            Ok(_) => match unlock(&machine.site(), secret) {
                Err(FsError::NoState { .. }) => join(&machine.site(), secret, "again"),
                unlocked => unlocked,
            },
        };
        way_in.unwrap_or_else(|error| panic!("call {call}: {error}"));
    }
}

#[test]
fn files_are_private_and_hold_nothing_readable() {
    use std::os::unix::fs::PermissionsExt;
    let root = std::env::temp_dir().join(format!("keepfs-home-{}", std::process::id()));
    let dir = root.join("a/b");
    let (store, env) = (MemoryStore::new(), CountingEnv(AtomicU64::new(5 << 32)));
    let site = Site { store: Some(&store), disk: &OsDisk, state_dir: &dir, env: &env };
    std::fs::create_dir(&root).unwrap();
    let (phrase, _) = init(&site, &plan()).unwrap();
    unlock(&site, UnlockSecret::Phrase(&phrase)).unwrap();
    for path in [root.join("a"), dir.clone()] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let bytes = std::fs::read(entry.path()).unwrap();
        for word in [&b"laptop"[..], b"Ann", b"main", PASSWORD] {
            assert!(!bytes.windows(word.len()).any(|window| window == word));
        }
        names.push(entry.file_name().into_string().unwrap());
    }
    names.sort();
    assert_eq!(names, ["header", "machine", "roster"]);
    std::fs::remove_dir_all(&root).unwrap();
}

/// Runs `act` against a store that dies at its first write, then at its second, and so on until it survives;
/// `check` sees what is left. Writes are whole or not there, as the contract of a store has it.
fn crash_at_every_write<T>(
    fresh: &dyn Fn() -> (MemoryStore, T),
    act: &dyn Fn(&dyn Store, &T) -> Result<()>,
    check: &dyn Fn(&MemoryStore, &T, &str),
) {
    for number in 0.. {
        for moment in [Moment::Before, Moment::After] {
            let (store, world) = fresh();
            let faults = Faults::crash_at_write(number, moment);
            let dying = FaultStore::new(Arc::new(store.clone()), faults.clone());
            let result = act(&dying, &world);
            if !faults.is_crashed() {
                result.unwrap();
                assert!(number > 0);
                return;
            }
            check(&store, &world, &format!("write {number}, {moment:?}"));
        }
    }
}

#[test]
fn a_crash_at_any_store_write_of_init_leaves_a_way_in() {
    crash_at_every_write(
        &|| {
            let store = MemoryStore::new();
            (store.clone(), Machine::new(&store, 1))
        },
        &|dying, machine| init(&Site { store: Some(dying), ..machine.site() }, &plan()).map(drop),
        &|store, machine, when| {
            let secret = UnlockSecret::Password(PASSWORD);
            let result = if store.get(&ObjectName::vault(), 1 << 20).is_err() {
                init(&machine.site(), &plan()).map(drop)
            } else {
                match unlock(&machine.site(), secret) {
                    Err(FsError::NoState { .. }) => join(&machine.site(), secret, "again").map(drop),
                    unlocked => unlocked.map(drop),
                }
            };
            result.unwrap_or_else(|error| panic!("{when}: {error}"));
        },
    );
}

#[test]
fn a_crash_at_any_store_write_of_join_leaves_the_vault_as_it_was() {
    crash_at_every_write(
        &|| {
            let (store, first, phrase) = founded();
            (store.clone(), (first, Machine::new(&store, 2), phrase))
        },
        &|dying, (_, second, phrase)| {
            let site = Site { store: Some(dying), ..second.site() };
            join(&site, UnlockSecret::Phrase(phrase), "x").map(drop)
        },
        &|_, (first, second, phrase), when| {
            let secret = UnlockSecret::Phrase(phrase);
            unlock(&first.site(), secret).unwrap_or_else(|error| panic!("{when}: {error}"));
            join(&second.site(), secret, "x").unwrap_or_else(|error| panic!("{when}: {error}"));
        },
    );
}

#[test]
fn a_crash_at_any_store_write_of_a_password_change_leaves_one_password() {
    const NEW: &[u8] = b"battery staple";
    crash_at_every_write(
        &|| {
            let (store, machine, phrase) = founded();
            (store, (machine, phrase))
        },
        &|dying, (machine, phrase)| {
            let mut unlocked = unlock(&machine.site(), UnlockSecret::Phrase(phrase))?;
            let site = Site { store: Some(dying), ..machine.site() };
            let notices = change_password(&site, &mut unlocked, NEW, KdfParams::FLOOR)?;
            // Past the roster the change holds; a header that was not written is only worth a notice.
            assert!(notices.len() <= 1);
            Ok(())
        },
        &|store, (machine, phrase), when| {
            // Whoever comes first, with whichever password, gets in or is refused for good.
            let opens = |password| unlock(&machine.site(), UnlockSecret::Password(password)).is_ok();
            let outcome = [opens(PASSWORD), opens(NEW)];
            assert!(outcome[0] != outcome[1], "{when}: {outcome:?}");
            unlock(&machine.site(), UnlockSecret::Phrase(phrase)).unwrap();
            let [vault, backup] = copies(store);
            let joins = |password| {
                join(&Machine::new(store, 9).site(), UnlockSecret::Password(password), "x").is_ok()
            };
            assert_eq!([joins(PASSWORD), joins(NEW)], outcome, "{when}");
            assert!(vault == copies(store)[0] && backup == vault, "{when}");
        },
    );
}

#[test]
fn an_answer_lost_on_the_way_does_not_count_twice() {
    use keepfs_store::{Fault, Method, StoreError, Strike};
    let lost = || Fault::FailAfter(StoreError::io_soon("the line went dead"));
    let store = MemoryStore::new();
    let machine = Machine::new(&store, 1);
    // Five roster entries, then the header.
    let faults = Faults::scripted([(Strike::Method(Method::Put, 5), lost())]);
    let flaky = FaultStore::new(Arc::new(store.clone()), faults);
    let (phrase, _) = init(&Site { store: Some(&flaky), ..machine.site() }, &plan()).unwrap();
    let faults = Faults::scripted([(Strike::Method(Method::Put, 0), lost())]);
    let flaky = FaultStore::new(Arc::new(store.clone()), faults);
    let other = Machine::new(&store, 2);
    let site = Site { store: Some(&flaky), ..other.site() };
    let joined = join(&site, UnlockSecret::Phrase(&phrase), "x").unwrap();
    assert_eq!(joined.roster().machines().len(), 2);
}

#[test]
fn a_store_out_of_reach_is_told_and_local_state_serves() {
    let (store, machine, phrase) = founded();
    let faults = Faults::none();
    let gone = FaultStore::new(Arc::new(store), faults.clone());
    faults.set_weather(Weather::Offline);
    let site = Site { store: Some(&gone), ..machine.site() };
    let mut unlocked = unlock(&site, UnlockSecret::Phrase(&phrase)).unwrap();
    assert!(matches!(unlocked.notices[..], [Notice::Offline { .. }]));
    assert!(matches!(fail(unlock(&site, UnlockSecret::Password(b"guess"))), FsError::WrongSecret));
    assert!(matches!(fail(new_phrase(&site, &mut unlocked)), FsError::Store(_)));
    // A store that takes no writes lets a machine in; what it would have put right, it tells.
    faults.set_weather(Weather::ReadOnly);
    let [whole, _] = copies(&machine.store);
    put(&machine.store, ObjectName::vault(), &whole[..9]);
    let unlocked = unlock(&site, UnlockSecret::Phrase(&phrase)).unwrap();
    assert!(matches!(unlocked.notices[..], [Notice::HeaderNotRepaired { .. }]));
}
