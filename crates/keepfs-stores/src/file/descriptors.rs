//! A few open objects, so that random reads do not open the same pack again and again.
//!
//! Only immutable objects are kept. One that was deleted or replaced since, by whatever process, has lost
//! its last link and is noticed before it is used.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use keepfs_store::ObjectName;
use parking_lot::Mutex;

/// Most objects kept open.
const DESCRIPTORS_MAX: usize = 128;

/// Open immutable objects, the least recently used goes first.
#[derive(Default)]
pub(super) struct Descriptors(Mutex<Open>);

#[derive(Default)]
struct Open {
    files: HashMap<ObjectName, (Arc<File>, u64)>,
    turn: u64,
}

impl Descriptors {
    /// The open object, if it is kept and still has a name.
    pub(super) fn get(&self, name: &ObjectName) -> Option<Arc<File>> {
        let file = {
            let mut open = self.0.lock();
            open.turn += 1;
            let turn = open.turn;
            let (file, used) = open.files.get_mut(name)?;
            *used = turn;
            file.clone()
        };
        match rustix::fs::fstat(&*file) {
            Ok(stat) if stat.st_nlink > 0 => Some(file),
            _ => {
                self.forget(name);
                None
            }
        }
    }

    /// Keeps an object open.
    pub(super) fn keep(&self, name: &ObjectName, file: &Arc<File>) {
        if !name.is_immutable() {
            return;
        }
        let mut open = self.0.lock();
        open.turn += 1;
        let turn = open.turn;
        if open.files.len() >= DESCRIPTORS_MAX && !open.files.contains_key(name) {
            let oldest = open.files.iter().min_by_key(|(_, (_, used))| *used).map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                open.files.remove(&oldest);
            }
        }
        open.files.insert(name.clone(), (file.clone(), turn));
    }

    pub(super) fn forget(&self, name: &ObjectName) {
        self.0.lock().files.remove(name);
    }

    pub(super) fn clear(&self) {
        self.0.lock().files.clear();
    }
}
