//! Whether a thread has to share its processor with others: how long the kernel kept it waiting for one although
//! it could have run. It reads `/proc` and changes nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::thread::Pid;

/// Share of the time, in percent, that a thread may be kept waiting before its place counts as crowded.
const WAIT_SHARE_MAX: u128 = 10;

/// Longest answer of the kernel: three decimal numbers.
const ANSWER_LEN_MAX: usize = 96;

/// One thread's wait for a processor, as it grows.
pub(crate) struct Crowd {
    file: File,
    waited_ns: u64,
    looked: Instant,
}

impl Crowd {
    /// Watches a thread of this process; `None` if there is no such thread, or the kernel keeps no such accounts.
    pub(crate) fn around(thread: Pid) -> Option<Self> {
        let path = format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero());
        let file = File::open(path).ok()?;
        let waited_ns = waited(&file)?;
        Some(Self { file, waited_ns, looked: Instant::now() })
    }

    /// Whether the thread was kept waiting too much since the last look.
    pub(crate) fn look(&mut self) -> bool {
        let passed_ns = self.looked.elapsed().as_nanos();
        let Some(waited_ns) = waited(&self.file) else {
            return true;
        };
        let more_ns = waited_ns.saturating_sub(self.waited_ns);
        self.waited_ns = waited_ns;
        self.looked = Instant::now();
        is_crowded(u128::from(more_ns), passed_ns)
    }
}

/// Whether waiting so long in so much time is too much.
fn is_crowded(waited_ns: u128, passed_ns: u128) -> bool {
    waited_ns * 100 > passed_ns * WAIT_SHARE_MAX
}

/// Nanoseconds that the thread waited in its life so far: the second of the three numbers.
fn waited(file: &File) -> Option<u64> {
    let mut answer = [0_u8; ANSWER_LEN_MAX];
    let length = file.read_at(&mut answer, 0).ok()?;
    std::str::from_utf8(&answer[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_the_limit() {
        assert!(!is_crowded(0, 1_000_000));
        assert!(!is_crowded(100_000, 1_000_000));
        assert!(is_crowded(100_001, 1_000_000));
    }

    #[test]
    fn this_thread_has_an_account_where_the_kernel_keeps_them() {
        if std::fs::exists("/proc/self/schedstat").unwrap() {
            assert!(Crowd::around(rustix::thread::gettid()).is_some());
        }
    }
}
