//! Which inodes are open for writing, counted. While one is, the kernel may hold bytes of it that it has not
//! sent yet. It knows nothing of those bytes themselves.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use keepfs_fs::Ino;
use parking_lot::Mutex;

/// Open writable handles of each inode that has any.
#[derive(Default)]
pub(crate) struct Writers {
    counts: Mutex<HashMap<Ino, u32>>,
}

impl Writers {
    /// Whether a handle opened with these flags can write.
    fn writes(flags: i32) -> bool {
        flags & libc::O_ACCMODE != libc::O_RDONLY
    }

    /// A handle was opened.
    pub(crate) fn opened(&self, ino: Ino, flags: i32) {
        if Self::writes(flags) {
            *self.counts.lock().entry(ino).or_insert(0) += 1;
        }
    }

    /// A handle was closed.
    pub(crate) fn closed(&self, ino: Ino, flags: i32) {
        if Self::writes(flags)
            && let Entry::Occupied(mut entry) = self.counts.lock().entry(ino)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    /// Whether anybody can write to the inode now.
    pub(crate) fn has(&self, ino: Ino) -> bool {
        self.counts.lock().contains_key(&ino)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inode_has_writers_until_the_last_one_closes() {
        let writers = Writers::default();
        writers.opened(Ino(5), libc::O_RDONLY);
        assert!(!writers.has(Ino(5)));
        writers.opened(Ino(5), libc::O_WRONLY | libc::O_APPEND);
        writers.opened(Ino(5), libc::O_RDWR);
        writers.closed(Ino(5), libc::O_RDONLY);
        writers.closed(Ino(5), libc::O_RDWR);
        assert!(writers.has(Ino(5)));
        writers.closed(Ino(5), libc::O_WRONLY | libc::O_APPEND);
        assert!(!writers.has(Ino(5)));
        writers.closed(Ino(5), libc::O_WRONLY);
        assert!(!writers.has(Ino(5)));
    }
}
