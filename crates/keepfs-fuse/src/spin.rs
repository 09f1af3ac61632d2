//! The spin governor: while requests keep coming, one receiving thread asks the kernel for the next one over and
//! over instead of sleeping until it is woken, which would cost more than most requests do.
//!
//! `fuser` reads again when the kernel has nothing to say, so it is enough to make the session's descriptor not
//! block; the clones of it that the other threads read keep sleeping. The governor owns that flag. It gives way
//! when the processors are wanted by others, and never touches a request.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::thread::Pid;

use crate::crowd::Crowd;
use crate::power::Power;

/// Silence after which the spinning thread goes to sleep, and how often its surroundings are looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Requests that came closer together than this make it worth to spin for the next, in microseconds.
const GAP_MAX_US: u64 = 500;

/// Requests in a row at such short distance before the spinning begins: a lone `ls` shall not start it.
const RUN_LEN_MIN: u64 = 8;

/// How long to stay asleep after somebody else wanted the processor: at first, and at most.
const RETREAT_MIN: Duration = Duration::from_millis(20);
const RETREAT_MAX: Duration = Duration::from_millis(640);

/// What receiving threads tell the governor: that a request came.
pub(crate) struct Pulse {
    started: Instant,
    /// Requests so far.
    beats: AtomicU64,
    /// Requests in a row, each soon after the one before; counted only while nobody spins.
    run_len: AtomicU64,
    /// When the last request came, in microseconds; kept only while nobody spins.
    last_us: AtomicU64,
    /// Nobody may spin before this time, in microseconds.
    not_before_us: AtomicU64,
    /// A thread spins, or is about to.
    spinning: AtomicBool,
    /// Time spent spinning so far, in microseconds.
    spent_us: AtomicU64,
    /// The thread that reads the session's own descriptor, once it has shown itself; 0 before.
    receiver: AtomicI32,
    /// Name of that thread.
    receiver_name: String,
    /// Whom to wake when it becomes worth to spin; nobody when the governor is off.
    governor: Mutex<Option<Thread>>,
    /// Whether there is a governor.
    governed: AtomicBool,
}

impl Pulse {
    /// A pulse that nobody listens to yet. The thread that reads the session's own descriptor has this name.
    pub(crate) fn new(receiver_name: String) -> Arc<Self> {
        Arc::new(Self {
            started: Instant::now(),
            beats: AtomicU64::new(0),
            run_len: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            not_before_us: AtomicU64::new(0),
            spinning: AtomicBool::new(false),
            spent_us: AtomicU64::new(0),
            receiver: AtomicI32::new(0),
            receiver_name,
            governor: Mutex::new(None),
            governed: AtomicBool::new(false),
        })
    }

    /// A request came.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if self.governed.load(Ordering::Relaxed) && !self.spinning.load(Ordering::Relaxed) {
            self.consider();
        }
    }

    /// Time that a thread spent spinning, of all the time since the mount began.
    pub(crate) fn spent(&self) -> Duration {
        Duration::from_micros(self.spent_us.load(Ordering::Relaxed))
    }

    /// Wakes the governor when requests come fast enough.
    fn consider(&self) {
        if self.receiver.load(Ordering::Relaxed) == 0 {
            return self.introduce();
        }
        let now = self.now_us();
        let gap = now.saturating_sub(self.last_us.swap(now, Ordering::Relaxed));
        if gap > GAP_MAX_US {
            self.run_len.store(0, Ordering::Relaxed);
            return;
        }
        if self.run_len.fetch_add(1, Ordering::Relaxed) < RUN_LEN_MIN
            || now < self.not_before_us.load(Ordering::Relaxed)
            || self.spinning.swap(true, Ordering::AcqRel)
        {
            return;
        }
        self.run_len.store(0, Ordering::Relaxed);
        if let Some(governor) = self.governor.lock().as_ref() {
            governor.unpark();
        }
    }

    /// Notes which thread this is, if it is the one that may spin.
    fn introduce(&self) {
        if thread::current().name() == Some(self.receiver_name.as_str()) {
            self.receiver.store(rustix::thread::gettid().as_raw_nonzero().get(), Ordering::Relaxed);
        }
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// The thread that decides who sleeps and who spins. Dropping it ends it.
pub(crate) struct Governor {
    pulse: Arc<Pulse>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Governor {
    /// Governs the thread that reads the session's descriptor, of which `session` is a duplicate. `None` where
    /// spinning can do no good, on a single processor.
    pub(crate) fn start(session: OwnedFd, pulse: &Arc<Pulse>) -> Option<Self> {
        if thread::available_parallelism().map_or(1, usize::from) < 2 {
            return None;
        }
        let ended = Arc::new(AtomicBool::new(false));
        let (power, reign_pulse) = (Power::new(), Arc::clone(pulse));
        let reign = Reign { session, crowd: None, power, pulse: reign_pulse, ended: Arc::clone(&ended) };
        let spawned = thread::Builder::new().name(String::from("keepfs-spin")).spawn(move || reign.govern());
        let handle = match spawned {
            Ok(handle) => handle,
            Err(error) => {
                tracing::warn!(%error, "no thread to govern spinning; it stays off");
                return None;
            }
        };
        *pulse.governor.lock() = Some(handle.thread().clone());
        pulse.governed.store(true, Ordering::Release);
        Some(Self { pulse: Arc::clone(pulse), ended, thread: Some(handle) })
    }
}

impl Drop for Governor {
    fn drop(&mut self) {
        self.pulse.governed.store(false, Ordering::Release);
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            if thread.join().is_err() {
                tracing::error!("the spin governor panicked");
            }
        }
    }
}

/// What the governor's thread holds.
struct Reign {
    session: OwnedFd,
    /// Watches the spinning thread, once that is known.
    crowd: Option<Crowd>,
    power: Power,
    pulse: Arc<Pulse>,
    ended: Arc<AtomicBool>,
}

impl Reign {
    /// Sleeps until it is worth to spin, lets spin, and so on to the end.
    fn govern(mut self) {
        let mut retreat = RETREAT_MIN;
        while !self.ended.load(Ordering::Acquire) {
            if !self.pulse.spinning.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            let begun = Instant::now();
            let outcome = self.spin();
            let spent = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.pulse.spent_us.fetch_add(spent, Ordering::Relaxed);
            retreat = match outcome {
                Outcome::Silence => (retreat / 2).max(RETREAT_MIN),
                Outcome::Crowded => {
                    let until = self.pulse.now_us().saturating_add(retreat.as_micros() as u64);
                    self.pulse.not_before_us.store(until, Ordering::Relaxed);
                    (retreat * 2).min(RETREAT_MAX)
                }
                Outcome::Failed => {
                    self.pulse.governed.store(false, Ordering::Release);
                    return;
                }
            };
            self.pulse.spinning.store(false, Ordering::Release);
        }
    }

    /// Lets the thread spin until requests stop coming or the processors are wanted.
    fn spin(&mut self) -> Outcome {
        if self.power.is_scarce() {
            return Outcome::Crowded;
        }
        if self.crowd.is_none() {
            let receiver = Pid::from_raw(self.pulse.receiver.load(Ordering::Relaxed));
            self.crowd = receiver.and_then(Crowd::around);
        }
        let Some(mut crowd) = self.crowd.take() else {
            // Without the kernel's accounts nobody would know when to give way.
            return Outcome::Failed;
        };
        if self.set_blocking(false).is_err() {
            return Outcome::Failed;
        }
        let outcome = self.watch(&mut crowd);
        self.crowd = Some(crowd);
        match self.set_blocking(true) {
            Ok(()) => outcome,
            Err(_) => Outcome::Failed,
        }
    }

    /// Looks around while the thread spins.
    fn watch(&self, crowd: &mut Crowd) -> Outcome {
        let mut beats = self.pulse.beats.load(Ordering::Relaxed);
        crowd.look();
        loop {
            thread::sleep(LOOK_INTERVAL);
            let now = self.pulse.beats.load(Ordering::Relaxed);
            if now == beats || self.ended.load(Ordering::Acquire) {
                return Outcome::Silence;
            }
            beats = now;
            if crowd.look() {
                return Outcome::Crowded;
            }
        }
    }

    fn set_blocking(&self, blocking: bool) -> rustix::io::Result<()> {
        let mut flags = fcntl_getfl(&self.session)?;
        flags.set(OFlags::NONBLOCK, !blocking);
        fcntl_setfl(&self.session, flags)
    }
}

/// Why spinning ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// No request came for a while.
    Silence,
    /// Somebody else wanted the processor, or power has to last.
    Crowded,
    /// The descriptor's flags cannot be changed, or the kernel keeps no accounts; spinning is over for good.
    Failed,
}
