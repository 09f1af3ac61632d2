//! The spin governor: while requests keep coming, one receiving thread asks the kernel for the next one over and
//! over instead of sleeping until it is woken, which would cost more than most requests do.
//!
//! `fuser` reads again when the kernel has nothing to say, so it is enough to make the session's descriptor not
//! block; the clones of it that the other threads read keep sleeping. The governor owns that flag. Where waking is
//! cheap, spinning gains nothing: so it tries both ways and takes the better one. It gives way when the processors
//! are wanted by others, and never touches a request.

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
use crate::trial::Trial;

/// How often it is looked whether the spinning is still worth it.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Requests between two looks that make it worth: fewer save less than the spinning costs.
const BEATS_MIN: u64 = 4;

/// Requests that came closer together than this make it worth to spin for the next, in microseconds.
const GAP_MAX_US: u64 = 500;

/// Requests in a row at such short distance before the governor looks: a lone `ls` shall not wake it.
const RUN_LEN_MIN: u64 = 8;

/// A trial is so many turns of each way of waiting, each of so many looks.
const TRIAL_TURNS: u32 = 4;
const TRIAL_TURN_LOOKS: u32 = 4;

/// How long a trial's outcome is believed when it was for spinning: at first, and at most, as trials confirm it.
const TERM_MIN: Duration = Duration::from_millis(250);
const TERM_MAX: Duration = Duration::from_secs(2);

/// How long to stay asleep when it was not, or somebody else wanted the processor: at first, and at most.
const RETREAT_MIN: Duration = Duration::from_millis(20);
const RETREAT_MAX: Duration = Duration::from_millis(2_560);

/// How long to stay asleep after requests stopped coming.
const PAUSE: Duration = Duration::from_millis(5);

/// What receiving threads tell the governor: that a request came.
pub(crate) struct Pulse {
    started: Instant,
    /// Requests so far.
    beats: AtomicU64,
    /// Requests in a row, each soon after the one before; counted only while the governor sleeps.
    run_len: AtomicU64,
    /// When the last request came, in microseconds; kept only while the governor sleeps.
    last_us: AtomicU64,
    /// The governor sleeps until this time, in microseconds.
    not_before_us: AtomicU64,
    /// The governor is at work.
    engaged: AtomicBool,
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
            engaged: AtomicBool::new(false),
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
        if self.governed.load(Ordering::Relaxed) && !self.engaged.load(Ordering::Relaxed) {
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
            || self.engaged.swap(true, Ordering::AcqRel)
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

    /// The governor sleeps for so long.
    fn rest(&self, time: Duration) {
        let until = self.now_us().saturating_add(microseconds(time));
        self.not_before_us.store(until, Ordering::Relaxed);
    }

    fn now_us(&self) -> u64 {
        microseconds(self.started.elapsed())
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
        let reign = Reign {
            session,
            crowd: None,
            power: Power::new(),
            pulse: Arc::clone(pulse),
            ended: Arc::clone(&ended),
            pays_until: None,
            term: TERM_MIN,
            retreat: RETREAT_MIN,
        };
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
    /// Until when spinning is known to pay.
    pays_until: Option<Instant>,
    /// How long the next outcome of a trial that is for spinning is believed.
    term: Duration,
    /// How long the next retreat is.
    retreat: Duration,
}

impl Reign {
    /// Sleeps until requests keep coming, does what is best, and so on to the end.
    fn govern(mut self) {
        while !self.ended.load(Ordering::Acquire) {
            if !self.pulse.engaged.load(Ordering::Acquire) {
                thread::park();
                continue;
            }
            match self.attend() {
                Outcome::Silence => self.pulse.rest(PAUSE),
                Outcome::Useless | Outcome::Crowded => {
                    self.pulse.rest(self.retreat);
                    self.retreat = (self.retreat * 2).min(RETREAT_MAX);
                    self.term = TERM_MIN;
                    self.pays_until = None;
                }
                Outcome::Failed => {
                    self.pulse.governed.store(false, Ordering::Release);
                    return;
                }
            }
            self.pulse.engaged.store(false, Ordering::Release);
        }
    }

    /// While requests come: tries what is better, and spins as long as that is known to be.
    fn attend(&mut self) -> Outcome {
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
        let outcome = self.try_and_spin(&mut crowd).unwrap_or_else(|outcome| outcome);
        self.crowd = Some(crowd);
        match self.set_blocking(true) {
            Ok(()) => outcome,
            Err(_) => Outcome::Failed,
        }
    }

    /// Trials and terms in turn; how they end is told as the error.
    fn try_and_spin(&mut self, crowd: &mut Crowd) -> Result<Outcome, Outcome> {
        crowd.begin();
        loop {
            while self.pays_until.is_some_and(|until| Instant::now() < until) {
                self.watch(true, crowd)?;
            }
            if !self.run_trial(crowd)? {
                return Ok(Outcome::Useless);
            }
            self.pays_until = Some(Instant::now() + self.term);
            self.term = (self.term * 2).min(TERM_MAX);
            self.retreat = RETREAT_MIN;
        }
    }

    /// Whether spinning is better now.
    fn run_trial(&self, crowd: &mut Crowd) -> Result<bool, Outcome> {
        let mut trial = Trial::default();
        for turn in 0..2 * TRIAL_TURNS {
            let spinning = turn % 2 == 1;
            for _ in 0..TRIAL_TURN_LOOKS {
                let (beats, time) = self.watch(spinning, crowd)?;
                trial.count(spinning, beats, time);
            }
        }
        Ok(trial.favours_spinning())
    }

    /// Waits for the next look, spinning or not. Gives the requests that came until then, and the time.
    fn watch(&self, spinning: bool, crowd: &mut Crowd) -> Result<(u64, Duration), Outcome> {
        self.set_blocking(!spinning).map_err(|_| Outcome::Failed)?;
        let (beats, begun) = (self.pulse.beats.load(Ordering::Relaxed), Instant::now());
        thread::sleep(LOOK_INTERVAL);
        let (beats, time) = (self.pulse.beats.load(Ordering::Relaxed) - beats, begun.elapsed());
        if spinning {
            self.pulse.spent_us.fetch_add(microseconds(time), Ordering::Relaxed);
        }
        if crowd.look() && spinning {
            return Err(Outcome::Crowded);
        }
        if beats < BEATS_MIN || self.ended.load(Ordering::Acquire) {
            return Err(Outcome::Silence);
        }
        Ok((beats, time))
    }

    fn set_blocking(&self, blocking: bool) -> rustix::io::Result<()> {
        let mut flags = fcntl_getfl(&self.session)?;
        flags.set(OFlags::NONBLOCK, !blocking);
        fcntl_setfl(&self.session, flags)
    }
}

/// Whole microseconds.
fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Why the governor goes back to sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Too few requests come.
    Silence,
    /// Sleeping is as good.
    Useless,
    /// Somebody else wanted the processor, or power has to last.
    Crowded,
    /// The descriptor's flags cannot be changed, or the kernel keeps no accounts; spinning is over for good.
    Failed,
}
