//! Claims about trying again, in simulated time.

use parking_lot::Mutex;

use super::*;
use crate::conformance::{Options, failures};
use crate::fault::{Fault, FaultStore, Faults, Rates, Strike};
use crate::memory::MemoryStore;
use crate::method::Method;

/// Time that passes only by sleeping.
#[derive(Default)]
struct Simulated {
    now: Mutex<Duration>,
    sleeps: Mutex<Vec<Duration>>,
}

impl Timing for Simulated {
    fn now(&self) -> Duration {
        *self.now.lock()
    }
    fn sleep(&self, duration: Duration) {
        *self.now.lock() += duration;
        self.sleeps.lock().push(duration);
    }
    fn random(&self) -> u64 {
        self.sleeps.lock().len() as u64 * 7_777_777
    }
}

fn name() -> ObjectName {
    ObjectName::immutable("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap()
}

fn soon() -> StoreError {
    StoreError::io_soon("hiccup")
}

fn world(faults: Arc<Faults>, policy: RetryPolicy) -> (MemoryStore, RetryStore, Arc<Simulated>) {
    let (memory, timing) = (MemoryStore::new(), Arc::new(Simulated::default()));
    let faulty = FaultStore::new(Arc::new(memory.clone()), faults);
    (memory, RetryStore::new(Arc::new(faulty), policy, timing.clone()), timing)
}

#[test]
fn retry_store_conforms_over_a_flaky_store() {
    for seed in 0..20 {
        println!("seed {seed}");
        let rates = Rates { fail_before: 100, fail_after: 100, ..Rates::default() };
        let policy = RetryPolicy { attempts_max: 60, total_max: Duration::MAX, ..RetryPolicy::default() };
        // The claims about staging expect that a single write and sync just works, so only the whole-object
        // part of the store is flaky here.
        let memory = MemoryStore::remote();
        let faulty = FaultStore::new(Arc::new(memory), Faults::seeded(seed, rates));
        let retrying: Arc<dyn Store> =
            Arc::new(RetryStore::new(Arc::new(faulty), policy, Arc::new(Simulated::default())));
        let failed = failures(&|| retrying.clone(), &Options { seed, ..Options::default() });
        assert!(failed.is_empty(), "{failed:#?}");
    }
}

#[test]
fn retry_store_conforms_with_staging() {
    let (_, store, _) = world(Faults::none(), RetryPolicy::default());
    let store = Arc::new(store);
    let failed = failures(&|| store.clone(), &Options::default());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn waits_double_and_stay_within_their_bounds() {
    let policy = RetryPolicy { attempts_max: 7, delay_max: Duration::from_secs(2), ..RetryPolicy::default() };
    let faults = Faults::none();
    faults.set_weather(crate::fault::Weather::Offline);
    let (_, store, timing) = world(faults.clone(), policy);
    store.len(&name()).unwrap_err();
    assert_eq!(faults.calls(), 7);
    let sleeps = timing.sleeps.lock().clone();
    for (sleep, longest_ms) in sleeps.iter().zip([200, 400, 800, 1600, 2000, 2000]) {
        let longest = Duration::from_millis(longest_ms);
        assert!(*sleep >= longest / 2 && *sleep <= longest, "{sleep:?} of {longest:?}");
    }
}

#[test]
fn where_nobody_answers_the_caller_hears_of_it_soon() {
    let nobody = StoreError::Unavailable { detail: "refused".into(), retry: Retry::Later };
    let script = (0..9).map(|call| (Strike::Call(call), Fault::FailBefore(nobody.clone())));
    let faults = Faults::scripted(script);
    let (_, store, timing) = world(faults.clone(), RetryPolicy::default());
    assert_eq!(store.len(&name()), Err(nobody));
    assert!(faults.calls() > 1, "a server that is just starting is met");
    assert!(timing.now() <= Duration::from_secs(1), "{:?}", timing.now());
}

#[test]
fn told_wait_is_honoured_or_passed_on() {
    let told = |secs| StoreError::Unavailable {
        detail: "throttled".into(),
        retry: Retry::After(Duration::from_secs(secs)),
    };
    let script =
        [(Strike::Call(0), Fault::FailBefore(told(5))), (Strike::Call(2), Fault::FailBefore(told(600)))];
    let (_, store, timing) = world(Faults::scripted(script), RetryPolicy::default());
    store.put(&name(), b"x", PutMode::Create).unwrap();
    assert!(timing.now() >= Duration::from_secs(5));
    assert_eq!(store.len(&name()), Err(told(600)));
}

#[test]
fn answers_and_hopeless_errors_are_not_tried_again() {
    let denied = StoreError::Denied { detail: "no".into() };
    let faults = Faults::scripted([(Strike::Call(1), Fault::FailBefore(denied.clone()))]);
    let (_, store, _) = world(faults.clone(), RetryPolicy::default());
    assert!(matches!(store.len(&name()), Err(StoreError::NotFound { .. })));
    assert_eq!(store.len(&name()), Err(denied));
    assert_eq!(faults.calls(), 2);
}

#[test]
fn create_whose_answer_was_lost_has_succeeded() {
    let faults = Faults::scripted([(Strike::Method(Method::Put, 0), Fault::FailAfter(soon()))]);
    let (memory, store, _) = world(faults, RetryPolicy::default());
    store.put(&name(), b"mine", PutMode::Create).unwrap();
    assert_eq!(memory.get(&name(), 9).unwrap(), b"mine");
    assert!(matches!(store.put(&name(), b"mine", PutMode::Create), Err(StoreError::Exists { .. })));
}

#[test]
fn create_that_lost_a_race_while_failing_is_refused() {
    let faults = Faults::scripted([(Strike::Method(Method::Put, 0), Fault::FailBefore(soon()))]);
    let (memory, store, _) = world(faults, RetryPolicy::default());
    memory.put(&name(), b"them", PutMode::Create).unwrap();
    assert!(matches!(store.put(&name(), b"mine", PutMode::Create), Err(StoreError::Exists { .. })));
    assert_eq!(memory.get(&name(), 9).unwrap(), b"them");
}

#[test]
fn listing_tried_again_tells_each_object_once() {
    let faults = Faults::scripted([(Strike::Method(Method::List, 0), Fault::FailAfter(soon()))]);
    let (_, store, _) = world(faults, RetryPolicy::default());
    store.put(&name(), b"x", PutMode::Create).unwrap();
    let mut seen = 0;
    store
        .list("", &mut |_| {
            seen += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(seen, 1);
}
