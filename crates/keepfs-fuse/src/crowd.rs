//! Whether a thread that spins takes a processor away from somebody: by what the kernel tells of threads that can
//! run, and of how long this one was kept waiting. It reads `/proc` and changes nothing.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::thread;
use std::time::{Duration, Instant};

use rustix::thread::Pid;

/// Share of the time, in percent, that the thread may be kept waiting before its place counts as crowded.
const WAIT_SHARE_MAX: u128 = 10;

/// Glances at the machine before the spinning begins, and how far apart.
const GLANCES: u32 = 4;
const GLANCE_INTERVAL: Duration = Duration::from_micros(250);

/// Of the latest looks, the share in percent at which too many threads may want to run before that is taken for
/// more than chance; and how fast older looks lose their weight.
const FULL_SHARE_MAX: u32 = 30;
const LOOKS_REMEMBERED: u32 = 8;

/// Longest answer of the kernel that is read, in bytes.
const ANSWER_LEN_MAX: usize = 128;

/// One thread among all others.
pub(crate) struct Crowd {
    /// How long the thread ran and waited so far.
    own: File,
    /// How many threads of the machine can run now.
    all: File,
    processors: u32,
    waited_ns: u64,
    looked: Instant,
    /// Share of latest looks, in percent, that found more threads than processors.
    full_share: u32,
}

impl Crowd {
    /// Watches a thread of this process; `None` if there is no such thread, or the kernel keeps no such accounts.
    pub(crate) fn around(thread: Pid) -> Option<Self> {
        let own = File::open(format!("/proc/self/task/{}/schedstat", thread.as_raw_nonzero())).ok()?;
        let all = File::open("/proc/loadavg").ok()?;
        let waited_ns = waited(&own)?;
        runnable(&all)?;
        let processors = u32::try_from(thread::available_parallelism().ok()?.get()).ok()?;
        Some(Self { own, all, processors, waited_ns, looked: Instant::now(), full_share: 0 })
    }

    /// Whether there is a processor to spare: room for the thread besides whoever runs now. The one who asks
    /// runs, too, and does not count.
    pub(crate) fn has_room(&mut self) -> bool {
        let mut full = 0;
        for glance in 0..GLANCES {
            if glance > 0 {
                thread::sleep(GLANCE_INTERVAL);
            }
            full += u32::from(runnable(&self.all).is_none_or(|count| count > self.processors));
        }
        self.full_share = 0;
        self.waited_ns = waited(&self.own).unwrap_or(0);
        self.looked = Instant::now();
        full * 2 <= GLANCES
    }

    /// Whether somebody needs the processor on which the thread spins, or would spin.
    pub(crate) fn look(&mut self, spinning: bool) -> bool {
        let passed_ns = self.looked.elapsed().as_nanos();
        let (Some(waited_ns), Some(runnable)) = (waited(&self.own), runnable(&self.all)) else {
            return true;
        };
        let more_ns = waited_ns.saturating_sub(self.waited_ns);
        self.waited_ns = waited_ns;
        self.looked = Instant::now();
        // The one who looks runs, too, and does not count; the one who would spin does.
        let full = u32::from(runnable + u32::from(!spinning) > self.processors + 1) * 100;
        self.full_share = (self.full_share * (LOOKS_REMEMBERED - 1) + full) / LOOKS_REMEMBERED;
        is_kept_waiting(u128::from(more_ns), passed_ns) || self.full_share > FULL_SHARE_MAX
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

/// Threads of the machine that run or could run: the fourth field, before the slash.
fn runnable(all: &File) -> Option<u32> {
    let mut answer = [0_u8; ANSWER_LEN_MAX];
    let length = all.read_at(&mut answer, 0).ok()?;
    let field = std::str::from_utf8(&answer[..length]).ok()?.split_ascii_whitespace().nth(3)?;
    field.split_once('/')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_time_is_the_limit() {
        assert!(!is_kept_waiting(0, 1_000_000));
        assert!(!is_kept_waiting(100_000, 1_000_000));
        assert!(is_kept_waiting(100_001, 1_000_000));
    }

    #[test]
    fn this_thread_has_an_account_where_the_kernel_keeps_them() {
        if std::fs::exists("/proc/self/schedstat").unwrap() {
            assert!(Crowd::around(rustix::thread::gettid()).is_some());
        }
    }

    #[test]
    fn whoever_asks_can_run() {
        assert!(runnable(&File::open("/proc/loadavg").unwrap()).unwrap() >= 1);
    }
}
