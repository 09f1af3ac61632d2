//! Whether a thread that spins takes a processor away from somebody: by how long the kernel kept it waiting for one.
//! It reads `/proc` and changes nothing.
//!
//! How many threads of the machine can run now would be known sooner, but a program, the thread that answers it and
//! whoever looks are three already, on a machine of two processors that has nothing else to do.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Instant;

use rustix::thread::Pid;

/// Share of the time, in percent, that the thread may be kept waiting before its place counts as crowded. Two
/// programs that compute on two processors keep it waiting for a third of the time and more.
const WAIT_SHARE_MAX: u128 = 20;

/// Of the latest looks, the share in percent at which the thread may have been kept waiting before that is taken
/// for more than chance; and how fast older looks lose their weight.
const CROWDED_SHARE_MAX: u32 = 30;
const LOOKS_REMEMBERED: u32 = 6;

/// Longest answer of the kernel that is read, in bytes.
const ANSWER_LEN_MAX: usize = 128;

/// One thread among all others.
pub(crate) struct Crowd {
    /// How long the thread ran and waited so far.
    own: File,
    waited_ns: u64,
    looked: Instant,
    /// Share of latest looks, in percent, that found the thread kept waiting.
    crowded_share: u32,
}

impl Crowd {
    /// Watches a thread of this process; `None` if there is no such thread, or the kernel keeps no such accounts.
    pub(crate) fn around(thread: Pid) -> Option<Self> {
        let own = File::open(format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero())).ok()?;
        let waited_ns = waited(&own)?;
        Some(Self { own, waited_ns, looked: Instant::now(), crowded_share: 0 })
    }

    /// Forgets what was before.
    pub(crate) fn begin(&mut self) {
        self.crowded_share = 0;
        self.waited_ns = waited(&self.own).unwrap_or(0);
        self.looked = Instant::now();
    }

    /// Whether somebody needs the processor on which the thread spins.
    pub(crate) fn look(&mut self) -> bool {
        let passed_ns = self.looked.elapsed().as_nanos();
        let Some(waited_ns) = waited(&self.own) else { return true };
        let more_ns = waited_ns.saturating_sub(self.waited_ns);
        self.waited_ns = waited_ns;
        self.looked = Instant::now();
        let crowded = u32::from(is_kept_waiting(u128::from(more_ns), passed_ns)) * 100;
        self.crowded_share = (self.crowded_share * (LOOKS_REMEMBERED - 1) + crowded) / LOOKS_REMEMBERED;
        self.crowded_share > CROWDED_SHARE_MAX
    }
}

/// Whether waiting so long in so much time is too much.
fn is_kept_waiting(waited_ns: u128, passed_ns: u128) -> bool {
    waited_ns * 100 > passed_ns * WAIT_SHARE_MAX
}

/// Nanoseconds that the thread waited in its life so far: the second of three numbers.
fn waited(own: &File) -> Option<u64> {
    let mut answer = [0_u8; ANSWER_LEN_MAX];
    let length = own.read_at(&mut answer, 0).ok()?;
    std::str::from_utf8(&answer[..length]).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fifth_of_the_time_is_the_limit() {
        assert!(!is_kept_waiting(0, 1_000_000));
        assert!(!is_kept_waiting(200_000, 1_000_000));
        assert!(is_kept_waiting(200_001, 1_000_000));
    }

    #[test]
    fn this_thread_has_an_account_where_the_kernel_keeps_them() {
        if std::fs::exists("/proc/self/schedstat").unwrap() {
            assert!(Crowd::around(rustix::thread::gettid()).is_some());
        }
    }
}
