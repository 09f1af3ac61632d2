//! Bytes that are still being stored when newer ones of the same place already are.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keepfs_format::ids::Ino;
use keepfs_fs::{Fs, World};
use keepfs_store::{MemoryStore, ObjectName, Result, Staged, Staging, Store};
use keepfs_vault::StagingPlace;
use parking_lot::{Condvar, Mutex};

use crate::support::{Calls, noise};

const LEN: usize = 8 << 20;
/// More than what a drain leaves behind its last cut.
const REST_LEN_MAX: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// A gate that stays shut as long as it is told to.
#[derive(Default)]
struct Gate {
    /// Whether writes wait, and how many do.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut state = self.state.lock();
        state.1 += 1;
        self.changed.notify_all();
        while state.0 {
            self.changed.wait(&mut state);
        }
        state.1 -= 1;
    }

    /// Shuts it until what is returned is dropped, also by a claim that does not hold.
    fn shut(&self) -> Shut<'_> {
        self.state.lock().0 = true;
        Shut(self)
    }

    fn wait_for_someone(&self) {
        let mut state = self.state.lock();
        while state.1 == 0 {
            assert!(!self.changed.wait_for(&mut state, PATIENCE).timed_out(), "nothing was written");
        }
    }
}

struct Shut<'a>(&'a Gate);

impl Drop for Shut<'_> {
    fn drop(&mut self) {
        self.0.state.lock().0 = false;
        self.0.changed.notify_all();
    }
}

/// The staging of a store in memory, behind a gate.
struct Gated(MemoryStore, Arc<Gate>);

impl Gated {
    fn inner(&self) -> &dyn Staging {
        self.0.staging().unwrap()
    }
}

impl Staging for Gated {
    fn create(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(Box::new(GatedObject(self.inner().create(name)?, self.1.clone())))
    }

    fn reopen(&self, name: &ObjectName) -> Result<Box<dyn Staged>> {
        Ok(Box::new(GatedObject(self.inner().reopen(name)?, self.1.clone())))
    }

    fn list(&self) -> Result<Vec<ObjectName>> {
        self.inner().list()
    }

    fn discard(&self, name: &ObjectName) -> Result<()> {
        self.inner().discard(name)
    }
}

struct GatedObject(Box<dyn Staged>, Arc<Gate>);

impl Staged for GatedObject {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.1.pass();
        self.0.write_at(offset, bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        self.0.read_at(offset, out)
    }

    fn len(&self) -> Result<u64> {
        self.0.len()
    }

    fn truncate(&self, len: u64) -> Result<()> {
        self.0.truncate(len)
    }

    fn sync(&self) -> Result<()> {
        self.0.sync()
    }

    fn publish(&self) -> Result<()> {
        self.0.publish()
    }
}

fn calm(gate: &Arc<Gate>) -> (keepfs_sim::Place, Fs) {
    let (place, _, unlocked) = keepfs_sim::Place::found(13).unwrap();
    let mut options = place.options();
    options.commit_interval = Duration::from_secs(3600);
    options.publish_interval = Duration::from_secs(3600);
    let world = World {
        store: Arc::new(place.store.clone()),
        staging: Some(StagingPlace::Separate(Arc::new(Gated(place.store.clone(), gate.clone())))),
        cache: None,
        disk: place.disk.clone(),
        env: place.env.clone(),
        unlocked,
    };
    let fs = Fs::start(world, options).unwrap();
    (place, fs)
}

#[test]
fn bytes_that_are_stored_late_do_not_cover_newer_ones() {
    let gate = Arc::new(Gate::default());
    let (_place, fs) = calm(&gate);
    let (older, newer) = (noise(30, LEN), noise(31, LEN));
    // The newer bytes are known, so that storing them again waits for nothing.
    fs.put(Ino::ROOT, "known", &newer);
    fs.sync_store(&mut |_| {}).unwrap();

    let shut = gate.shut();
    let (_, handle) = fs.file(Ino::ROOT, "file");
    fs.write(handle, 0, &older, false).unwrap();
    gate.wait_for_someone();
    fs.write(handle, 0, &newer, false).unwrap();
    let begun = Instant::now();
    while fs.status().held_len.0 >= (LEN + REST_LEN_MAX) as u64 {
        assert!(begun.elapsed() < PATIENCE, "the newer bytes wait for the older ones");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(fs.get(Ino::ROOT, "file") == newer, "while the older ones are on their way");
    drop(shut);
    fs.release(handle).unwrap();
    fs.sync_store(&mut |_| {}).unwrap();
    assert!(fs.get(Ino::ROOT, "file") == newer, "when all have arrived");
}
