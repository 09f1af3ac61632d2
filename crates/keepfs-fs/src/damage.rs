//! What was found damaged: kept for `status`, told once to the log.

use std::collections::VecDeque;

use keepfs_format::ids::Ino;
use keepfs_vault::VaultError;
use parking_lot::Mutex;

use crate::core::Core;

/// Damaged ranges that are remembered; older ones make room.
const NOTES_MAX: usize = 256;

/// A range of a file that could not be read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamageNote {
    /// The file.
    pub ino: Ino,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// What the chunk space said.
    pub detail: String,
}

/// The last damaged ranges.
#[derive(Default)]
pub(crate) struct Damage {
    notes: Mutex<VecDeque<DamageNote>>,
}

impl Damage {
    /// All of them, oldest first.
    pub(crate) fn notes(&self) -> Vec<DamageNote> {
        self.notes.lock().iter().cloned().collect()
    }
}

impl Core {
    /// A read failed. The log names the inode and not the path: nothing readable stays on the disk.
    pub(crate) fn note_damage(&self, ino: Ino, (offset, len): (u64, u64), error: &VaultError) {
        let note = DamageNote { ino, offset, len, detail: error.to_string() };
        let mut notes = self.damage.notes.lock();
        if notes.contains(&note) {
            return;
        }
        tracing::error!(ino = ino.0, offset, len, %error, "a read failed");
        if notes.len() == NOTES_MAX {
            notes.pop_front();
        }
        notes.push_back(note);
    }
}
