//! A store that lies on purpose: each move it can make against one writer, and exactly what comes of it. What cannot be
//! noticed by anybody is here too, so that THREATS.md says no more than what is true.

use std::sync::Arc;

use keepfs_format::ids::Ino;
use keepfs_fs::home::RecoveryPhrase;
use keepfs_fs::{Fs, FsError};
use keepfs_sim::PASSWORD;
use keepfs_store::{FaultStore, Faults, MemoryStore, Method, ObjectName, PutMode, Store};

use crate::support::{Calls, Place};

/// Longest object that is looked at here, in bytes.
const OBJECT_LEN_MAX: u64 = 64 << 20;
/// Steps of the history of a vault here.
const STEPS: usize = 5;

/// A vault, closed, with what the store was after each step of its history and which segment each step made.
struct Past {
    place: Place,
    phrase: RecoveryPhrase,
    stores: Vec<MemoryStore>,
    segments: Vec<ObjectName>,
}

/// A step makes one file, and one segment.
fn past() -> Past {
    let (place, phrase) = Place::found_closed(31);
    let faults = Faults::none();
    faults.start_trace();
    let store = Arc::new(FaultStore::new(Arc::new(place.store.clone()), faults.clone()));
    let fs = place.open(store, &phrase, place.quiet_options()).unwrap();
    let (mut stores, mut segments) = (Vec::new(), Vec::new());
    for step in 0..STEPS {
        fs.put(Ino::ROOT, &format!("step {step}"), format!("content {step}").as_bytes());
        fs.sync_store(&mut |_| {}).unwrap();
        stores.push(place.store.fork());
        let puts = faults.take_trace().into_iter().filter(|call| call.method == Method::Put);
        segments.extend(puts.filter_map(|call| call.name).find(|name| name.as_str().starts_with("o/")));
    }
    fs.close().unwrap();
    drop(fs);
    assert_eq!(segments.len(), STEPS);
    Past { place, phrase, stores, segments }
}

impl Past {
    /// The machine that wrote all of it.
    fn writer(&self, lie: impl FnOnce(&MemoryStore)) -> keepfs_fs::Result<Fs> {
        let place = self.place.fork(1);
        lie(&place.store);
        place.open(Arc::new(place.store.clone()), &self.phrase, place.quiet_options())
    }

    /// A machine that was never here.
    fn stranger(&self, lie: impl FnOnce(&MemoryStore)) -> keepfs_fs::Result<Fs> {
        let store = self.place.store.fork();
        lie(&store);
        let place = keepfs_sim::Place::beside(store, 2);
        let secret = keepfs_fs::home::UnlockSecret::Password(PASSWORD);
        let unlocked = keepfs_fs::home::join(&place.site(&place.store), secret, "stranger")?;
        place.start(Arc::new(place.store.clone()), unlocked, place.quiet_options())
    }

    fn head(&self) -> ObjectName {
        self.place.store.names().into_iter().find(|name| name.as_str().starts_with("h/")).unwrap()
    }

    fn names(steps: usize) -> Vec<String> {
        (0..steps).map(|step| format!("step {step}")).collect()
    }
}

fn replace(store: &MemoryStore, name: &ObjectName, by: &MemoryStore) {
    store.put(name, &by.get(name, OBJECT_LEN_MAX).unwrap(), PutMode::Replace).unwrap();
}

#[test]
fn a_rolled_back_vault_is_noticed_by_its_writer_at_every_step() {
    let past = past();
    for earlier in &past.stores[..STEPS - 1] {
        let refused = past.writer(|store| store.roll_back_to(earlier)).err().unwrap();
        assert!(matches!(refused, FsError::Rollback { what: "log of a machine", .. }), "{refused}");
    }
}

#[test]
fn a_rolled_back_vault_is_an_old_vault_to_a_stranger() {
    let past = past();
    for (step, earlier) in past.stores.iter().enumerate() {
        let fs = past.stranger(|store| store.roll_back_to(earlier)).unwrap();
        assert_eq!(fs.names(Ino::ROOT), Past::names(step + 1));
    }
}

#[test]
fn an_old_head_is_noticed_by_its_writer_and_hides_nothing_from_a_stranger() {
    let past = past();
    let head = past.head();
    for earlier in &past.stores[..STEPS - 1] {
        let refused = past.writer(|store| replace(store, &head, earlier)).err().unwrap();
        assert!(matches!(refused, FsError::Rollback { what: "log of a machine", .. }), "{refused}");
        let fs = past.stranger(|store| replace(store, &head, earlier)).unwrap();
        assert_eq!(fs.names(Ino::ROOT), Past::names(STEPS));
    }
}

#[test]
fn a_head_that_is_gone_is_noticed_by_its_writer_and_hides_nothing_from_a_stranger() {
    let past = past();
    let head = past.head();
    let refused = past.writer(|store| store.delete(&head).unwrap()).err().unwrap();
    assert!(matches!(refused, FsError::Rollback { what: "log of a machine", .. }), "{refused}");
    let fs = past.stranger(|store| store.delete(&head).unwrap()).unwrap();
    assert_eq!(fs.names(Ino::ROOT), Past::names(STEPS));
    // Without its segments as well, nothing tells a stranger that there ever were any.
    let gone = |store: &MemoryStore| {
        for name in past.segments.iter().chain([&head]) {
            store.delete(name).unwrap();
        }
    };
    assert_eq!(past.stranger(gone).unwrap().names(Ino::ROOT), Past::names(0));
}

/// An upload that broke off is no part of a log, and keeps nobody from it.
#[test]
fn a_broken_segment_that_no_head_names_stops_nobody() {
    let past = past();
    let (head, last) = (past.head(), &past.segments[STEPS - 1]);
    let broken = |store: &MemoryStore| {
        replace(store, &head, &past.stores[STEPS - 2]);
        let half = store.get(last, OBJECT_LEN_MAX).unwrap()[..512].to_vec();
        store.put(last, &half, PutMode::Replace).unwrap();
    };
    assert_eq!(past.stranger(broken).unwrap().names(Ino::ROOT), Past::names(STEPS - 1));
}

#[test]
fn a_segment_that_is_gone_stops_a_stranger_and_not_its_writer() {
    let past = past();
    for segment in &past.segments {
        let gone = |store: &MemoryStore| store.delete(segment).unwrap();
        assert_eq!(past.writer(gone).unwrap().names(Ino::ROOT), Past::names(STEPS));
        let refused = past.stranger(gone).err().unwrap();
        assert!(matches!(refused, FsError::Damaged { .. }), "{refused}");
    }
}

#[test]
fn exchanged_segments_stop_a_stranger() {
    let past = past();
    for pair in past.segments.windows(2) {
        let exchange = |store: &MemoryStore| {
            let [one, two] = [0, 1].map(|at| store.get(&pair[at], OBJECT_LEN_MAX).unwrap());
            store.put(&pair[0], &two, PutMode::Replace).unwrap();
            store.put(&pair[1], &one, PutMode::Replace).unwrap();
        };
        let refused = past.stranger(exchange).err().unwrap();
        assert!(matches!(refused, FsError::Format(_) | FsError::Damaged { .. }), "{refused}");
    }
}

#[test]
fn another_vault_under_the_same_password_is_not_taken_for_this_one() {
    let past = past();
    let (other, _) = Place::found_closed(32);
    let header = |store: &MemoryStore| {
        for name in [ObjectName::vault(), ObjectName::vault_backup()] {
            replace(store, &name, &other.store);
        }
    };
    let whole = |store: &MemoryStore| store.roll_back_to(&other.store);
    let refused = past.writer(whole).err().unwrap();
    assert!(matches!(refused, FsError::OtherVault | FsError::WrongSecret), "{refused}");
    let refused = past.writer(header).err().unwrap();
    assert!(matches!(refused, FsError::OtherVault | FsError::WrongSecret), "{refused}");
    // A stranger finds the header of one vault over the objects of another.
    let refused = past.stranger(header).err().unwrap();
    assert!(matches!(refused, FsError::Rollback { what: "roster", .. }), "{refused}");
}

#[test]
fn objects_far_too_long_are_refused_unread() {
    let past = past();
    let long = vec![0; 50 << 20];
    for name in
        past.place.store.names().iter().filter(|name| name.as_str() != ObjectName::vault_backup().as_str())
    {
        let opened = past.stranger(|store| store.put(name, &long, PutMode::Replace).unwrap());
        match opened {
            // A header has a spare copy; a pack is read only for its contents, and then by ranges.
            Ok(fs) => {
                let names = fs.names(Ino::ROOT);
                assert_eq!(names, Past::names(STEPS), "{name}");
            }
            Err(error) => assert!(
                matches!(
                    error,
                    FsError::Store(_)
                        | FsError::Damaged { .. }
                        | FsError::Format(_)
                        | FsError::Rollback { .. }
                ),
                "{name}: {error}"
            ),
        }
    }
}
