//! How a mount behaves. Plain data: it never looks at the machine.

/// Options of one mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// Other users than the one who mounts may enter; file permissions decide what they may do there.
    pub allow_other: bool,
    /// The kernel refuses every change.
    pub read_only: bool,
    /// The kernel refuses to execute what lies there.
    pub no_exec: bool,
    /// Threads that answer the kernel; 0 chooses by the number of processors. At most [`THREADS_MAX`] are used.
    pub threads: usize,
    /// Threads that wait for a remote store on behalf of readers. At most [`WAITERS_MAX`] are used.
    pub waiters: usize,
    /// One thread may keep a processor busy while requests keep coming, which saves waking it for each.
    pub spin: bool,
    /// The kernel gathers small writes and sends them later. Without it every `write` is a round trip.
    pub write_back: bool,
    /// What `df` and `mount` show as the device. Commas become underscores.
    pub fs_name: String,
    /// What follows `fuse.` in the type of the file system.
    pub subtype: String,
}

/// Most threads that answer the kernel.
pub const THREADS_MAX: usize = 16;

/// Most threads that wait for a remote store.
pub const WAITERS_MAX: usize = 64;

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            allow_other: false,
            read_only: false,
            no_exec: false,
            threads: 0,
            waiters: 16,
            spin: true,
            write_back: true,
            fs_name: String::from("keepfs"),
            subtype: String::from("keepfs"),
        }
    }
}

impl MountOptions {
    /// Threads to start on a machine with so many processors: two serve best, more help when several programs
    /// wait for the disk at once, one alone would let a single slow request stop all others.
    pub(crate) fn thread_count(&self, processors: usize) -> usize {
        let wanted = if self.threads == 0 { processors.clamp(2, 4) } else { self.threads };
        wanted.min(THREADS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_count_follows_the_processors_within_limits() {
        let mut options = MountOptions::default();
        assert_eq!(options.thread_count(1), 2);
        assert_eq!(options.thread_count(3), 3);
        assert_eq!(options.thread_count(64), 4);
        options.threads = 1;
        assert_eq!(options.thread_count(64), 1);
        options.threads = 1_000;
        assert_eq!(options.thread_count(64), THREADS_MAX);
    }
}
