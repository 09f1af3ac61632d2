//! The plan of what goes wrong, and the record of what happened.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::model::{Fault, Hook, Moment, Rates, Strike, Traced, Weather};
use crate::error::{Retry, StoreError};
use crate::method::Method;
use crate::name::ObjectName;

/// The faults of a store: what is to go wrong, and what has happened.
///
/// Faults by chance follow from the seed and from how often this method was called on this object, not from
/// the order in which threads come along.
pub struct Faults {
    state: Mutex<State>,
    hook: Mutex<Option<Arc<Hook>>>,
    /// Held for reading while a call is within the inner store.
    under_way: RwLock<()>,
}

struct State {
    script: HashMap<Strike, Fault>,
    seed: u64,
    rates: Rates,
    weather: Weather,
    crashed: bool,
    puts_are_whole: bool,
    calls: u64,
    writes: u64,
    by_method: [u64; Method::ALL.len()],
    by_object: HashMap<(Method, Option<ObjectName>), u64>,
    trace: Option<Vec<Traced>>,
}

impl Faults {
    /// Nothing goes wrong until told.
    pub fn none() -> Arc<Self> {
        Self::seeded(0, Rates::default())
    }

    /// Each of these calls goes wrong in its way.
    pub fn scripted(script: impl IntoIterator<Item = (Strike, Fault)>) -> Arc<Self> {
        let faults = Self::none();
        faults.state.lock().script.extend(script);
        faults
    }

    /// The process dies at the writing call of this number.
    pub fn crash_at_write(number: u64, moment: Moment) -> Arc<Self> {
        Self::scripted([(Strike::Write(number), Fault::Crash(moment))])
    }

    /// Calls go wrong by chance, repeatably.
    pub fn seeded(seed: u64, rates: Rates) -> Arc<Self> {
        let state = State {
            script: HashMap::new(),
            seed,
            rates,
            weather: Weather::Fair,
            crashed: false,
            puts_are_whole: false,
            calls: 0,
            writes: 0,
            by_method: [0; Method::ALL.len()],
            by_object: HashMap::new(),
            trace: None,
        };
        Arc::new(Faults { state: Mutex::new(state), hook: Mutex::new(None), under_way: RwLock::new(()) })
    }

    /// Adds a scripted fault, in place of one for the same call.
    pub fn add(&self, strike: Strike, fault: Fault) {
        self.state.lock().script.insert(strike, fault);
    }

    /// Changes how often calls fail by chance.
    pub fn set_rates(&self, rates: Rates) {
        self.state.lock().rates = rates;
    }

    /// Changes how the whole store is.
    pub fn set_weather(&self, weather: Weather) {
        self.state.lock().weather = weather;
    }

    /// From now on a `put` that would be torn fails before its effect, as on a store that keeps its promise that
    /// nobody ever sees half of an object.
    pub fn keep_puts_whole(&self) {
        self.state.lock().puts_are_whole = true;
    }

    /// Nothing goes wrong any more: script, rates and weather are forgotten. What has died stays dead.
    pub fn clear(&self) {
        let mut state = self.state.lock();
        state.script.clear();
        state.rates = Rates::default();
        state.weather = Weather::Fair;
    }

    /// The process dies now: every later call fails.
    pub fn crash(&self) {
        self.state.lock().crashed = true;
    }

    /// Waits until no call is within the inner store. After a crash struck in one thread, calls of others may
    /// still be on their way; when this returns they have ended, and no more will come.
    pub fn settle(&self) {
        drop(self.under_way.write());
    }

    /// Whether it has died.
    pub fn is_crashed(&self) -> bool {
        self.state.lock().crashed
    }

    /// Calls so far, except those refused because of a crash.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    /// Writing calls so far: a crash at each number below this is a crash at every write.
    pub fn writes(&self) -> u64 {
        self.state.lock().writes
    }

    /// Starts to record every call.
    pub fn start_trace(&self) {
        self.state.lock().trace = Some(Vec::new());
    }

    /// The calls since the recording started, or since they were last taken.
    pub fn take_trace(&self) -> Vec<Traced> {
        self.state.lock().trace.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Runs `hook` at the start of each call, to make it slow, to wait for another, or to watch.
    pub fn on_call(&self, hook: Hook) {
        *self.hook.lock() = Some(Arc::new(hook));
    }
}

impl Faults {
    /// The start of a call: counts it, runs the hook, and tells what happens to it.
    pub(super) fn start(&self, method: Method, name: Option<&ObjectName>) -> Option<Fault> {
        let traced = {
            let mut state = self.state.lock();
            if state.crashed {
                return Some(Fault::Crash(Moment::Before));
            }
            state.decide(method, name)
        };
        let hook = self.hook.lock().clone();
        if let Some(hook) = hook {
            hook(&traced);
        }
        traced.fault
    }

    /// Whether a prefix of this write can get through.
    pub(super) fn is_tearable(&self, method: Method) -> bool {
        match method {
            Method::Put => !self.state.lock().puts_are_whole,
            other => other == Method::StagedWrite,
        }
    }

    /// Enters the inner store; `None` if the process died meanwhile.
    pub(super) fn enter(&self) -> Option<RwLockReadGuard<'_, ()>> {
        let entered = self.under_way.read();
        (!self.is_crashed()).then_some(entered)
    }
}

impl State {
    /// Counts the call and finds out what happens to it.
    fn decide(&mut self, method: Method, name: Option<&ObjectName>) -> Traced {
        let number = next(&mut self.calls);
        let of_method = next(&mut self.by_method[method as usize]);
        let of_object = next(self.by_object.entry((method, name.cloned())).or_default());
        let mut strikes = vec![Strike::Call(number), Strike::Method(method, of_method)];
        if method.is_write() {
            strikes.push(Strike::Write(next(&mut self.writes)));
        }
        let scripted = strikes.iter().find_map(|strike| self.script.get(strike).cloned());
        let fault =
            scripted.or_else(|| self.weather(method)).or_else(|| self.chance(method, name, of_object));
        let traced = Traced { number, method, name: name.cloned(), fault };
        if let Some(trace) = &mut self.trace {
            trace.push(traced.clone());
        }
        traced
    }

    fn weather(&self, method: Method) -> Option<Fault> {
        let detail = "by order of a test".to_owned();
        let frees = matches!(method, Method::Delete | Method::StagingDiscard);
        let error = match self.weather {
            Weather::Full if method.is_write() && !frees => StoreError::Full { detail },
            Weather::ReadOnly if method.is_write() => StoreError::ReadOnly { detail },
            Weather::Offline => StoreError::Unavailable { detail, retry: Retry::Soon },
            _ => return None,
        };
        Some(Fault::FailBefore(error))
    }

    fn chance(&self, method: Method, name: Option<&ObjectName>, of_object: u64) -> Option<Fault> {
        if self.rates == Rates::default() {
            return None;
        }
        let mut drawn = mix(self.seed ^ mix(method as u64 + 1) ^ mix(of_object).rotate_left(17));
        for byte in name.map_or("", ObjectName::as_str).bytes() {
            drawn = mix(drawn ^ u64::from(byte));
        }
        let error = || StoreError::Unavailable { detail: "by chance of a test".into(), retry: Retry::Soon };
        let mut below = 0;
        let mut hits = |rate: u32| {
            below += u64::from(rate);
            drawn % 1000 < below
        };
        if hits(self.rates.fail_before) {
            Some(Fault::FailBefore(error()))
        } else if hits(self.rates.fail_after) {
            Some(Fault::FailAfter(error()))
        } else if hits(self.rates.short_read) {
            Some(Fault::ShortRead)
        } else if hits(self.rates.flip_bit) {
            Some(Fault::FlipBit(mix(drawn)))
        } else {
            None
        }
    }
}

/// The counter's value; counts on.
fn next(counter: &mut u64) -> u64 {
    let number = *counter;
    *counter += 1;
    number
}

/// The finisher of SplitMix64: every bit of the input reaches every bit of the output.
fn mix(value: u64) -> u64 {
    let mut mixed = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
