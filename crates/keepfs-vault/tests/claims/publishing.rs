//! The order and the patience of the publisher.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use keepfs_store::{
    Fault, FaultStore, Faults, MemoryStore, Method, ObjectName, PutMode, Rates, Retry, Store, StoreError,
    Strike, Weather,
};
use keepfs_vault::{Job, JobId, Outcome, Publisher, Subject};
use parking_lot::Mutex;

use crate::world::{Noise, TestEnv, World, noise, seeds};

fn name(number: u64) -> ObjectName {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let id: String =
        (0..26).map(|at| char::from(DIGITS[(number >> (at * 5).min(60) & 31) as usize])).collect();
    ObjectName::immutable(&id).unwrap()
}

fn head() -> ObjectName {
    ObjectName::head("aaaaaaaaaaaaaaaaaaaaaaaaaa").unwrap()
}

struct Bench {
    store: MemoryStore,
    faults: Arc<Faults>,
    env: Arc<TestEnv>,
    publisher: Publisher,
    done: Arc<Mutex<Vec<(JobId, Outcome)>>>,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::new();
        let faults = Faults::none();
        let env = Arc::new(TestEnv::default());
        let faulty = Arc::new(FaultStore::new(Arc::new(store.clone()), faults.clone()));
        let publisher = Publisher::new(faulty, env.clone());
        let done: Arc<Mutex<Vec<_>>> = Arc::default();
        let told = done.clone();
        publisher.set_on_done(Box::new(move |id, _, outcome| told.lock().push((id, outcome))));
        Bench { store, faults, env, publisher, done }
    }

    fn put(&self, number: u64) -> JobId {
        self.publisher.enqueue(Job::Put { name: name(number), bytes: vec![1; 10] })
    }

    fn segment(&self, number: u64) -> JobId {
        self.publisher.enqueue(Job::Segment { name: name(number), bytes: vec![2; 20] })
    }

    fn replace(&self, byte: u8) -> JobId {
        self.publisher.enqueue(Job::Replace { name: head(), bytes: vec![byte] })
    }

    fn pass(&self, secs: i64) {
        self.env.secs.fetch_add(secs, Ordering::SeqCst);
    }

    fn drain(&self) {
        while self.publisher.run_next() {}
    }
}

#[test]
fn a_segment_waits_for_all_before_it_and_nothing_waits_for_a_delete() {
    let bench = Bench::new();
    bench
        .faults
        .add(Strike::Method(Method::Put, 0), Fault::FailBefore(StoreError::Denied { detail: "no".into() }));
    let first = bench.put(1);
    let segment = bench.segment(2);
    let beside = bench.put(3);
    bench.drain();
    assert_eq!(*bench.done.lock(), [(beside, Outcome::Done)]);
    let pending = bench.publisher.pending();
    assert_eq!((pending.objects, pending.bytes), (2, 30));
    assert!(pending.last_error.unwrap().contains("no"));
    assert!(pending.retry_at.is_some_and(|at| (40..=60).contains(&at.secs)));
    bench.pass(61);
    bench.drain();
    assert_eq!(bench.done.lock()[1..], [(first, Outcome::Done), (segment, Outcome::Done)]);
    assert_eq!(bench.publisher.pending(), Default::default());

    bench.faults.add(
        Strike::Method(Method::Delete, 0),
        Fault::FailBefore(StoreError::Denied { detail: "append only".into() }),
    );
    bench.publisher.enqueue(Job::Delete { name: name(1) });
    bench.segment(4);
    bench.drain();
    assert_eq!(bench.publisher.pending().objects, 1);
    assert_eq!(bench.store.names().len(), 4);
}

#[test]
fn heads_that_were_overtaken_while_waiting_are_not_sent() {
    let bench = Bench::new();
    bench.faults.set_weather(Weather::Offline);
    bench.segment(1);
    let overtaken = bench.replace(1);
    bench.segment(2);
    bench.replace(2);
    assert_eq!(*bench.done.lock(), [(overtaken, Outcome::Superseded)]);
    bench.drain();
    assert_eq!(bench.publisher.pending().objects, 3);
    bench.faults.set_weather(Weather::Fair);
    bench.publisher.poke();
    bench.drain();
    assert_eq!(bench.store.get(&head(), 9).unwrap(), [2]);
    let ready = bench.replace(3);
    bench.replace(4);
    bench.drain();
    assert!(bench.done.lock().contains(&(ready, Outcome::Done)), "one that may run is not put off for ever");
    assert_eq!(bench.store.get(&head(), 9).unwrap(), [4]);
}

#[test]
fn a_service_that_says_when_is_not_asked_before() {
    let bench = Bench::new();
    let error =
        StoreError::Unavailable { detail: "flood".into(), retry: Retry::After(Duration::from_secs(300)) };
    bench.faults.add(Strike::Method(Method::Put, 0), Fault::FailBefore(error));
    bench.put(1);
    bench.put(2);
    bench.drain();
    bench.pass(299);
    assert!(!bench.publisher.run_next(), "the pause is the whole store's");
    assert_eq!(bench.publisher.pending().retry_at, Some(keepfs_format::ids::Time { secs: 300, nanos: 0 }));
    bench.pass(1);
    bench.drain();
    assert_eq!(bench.publisher.pending().objects, 0);
}

#[test]
fn pauses_grow_while_the_store_is_away_and_end_when_it_is_back() {
    let bench = Bench::new();
    bench.faults.set_weather(Weather::Offline);
    for number in 0..20 {
        bench.put(number);
    }
    bench.faults.start_trace();
    for _ in 0..600 {
        bench.drain();
        bench.pass(1);
    }
    let tries = bench.faults.take_trace().len();
    assert!((10..40).contains(&tries), "{tries} tries in ten minutes");
    bench.faults.set_weather(Weather::Fair);
    bench.pass(60);
    bench.drain();
    assert_eq!(bench.publisher.pending().objects, 0, "one success frees all that only waited for the store");
}

#[test]
fn a_lost_answer_is_success_and_a_strangers_object_is_not() {
    let bench = Bench::new();
    let error = StoreError::Io { detail: "lost".into(), retry: Retry::Soon };
    bench.faults.add(Strike::Method(Method::Put, 0), Fault::FailAfter(error));
    bench.put(1);
    bench.drain();
    bench.pass(1);
    bench.drain();
    assert_eq!(bench.publisher.pending().objects, 0);
    bench.store.put(&name(2), b"another's", PutMode::Create).unwrap();
    bench.put(2);
    bench.drain();
    assert!(bench.publisher.pending().last_error.unwrap().contains("another object stands"));
    assert_eq!(bench.store.get(&name(2), 99).unwrap(), b"another's");
}

#[test]
fn threads_run_everything_and_stop() {
    let bench = Bench::new();
    bench.publisher.start_threads(4).unwrap();
    for number in 0..200 {
        bench.put(number * 2);
        if number % 10 == 9 {
            bench.segment(number * 2 + 1);
            bench.replace(number as u8);
        }
    }
    assert!(bench.publisher.wait_until_idle(Duration::from_secs(30)));
    bench.publisher.stop();
    assert_eq!(bench.store.names().len(), 221);
    assert_eq!(bench.store.get(&head(), 9).unwrap(), [199]);
    bench.put(1_000_000);
    assert!(!bench.publisher.wait_until_idle(Duration::from_millis(20)), "nobody works any more");
    assert!(bench.publisher.run_next());
}

#[test]
fn a_panic_during_an_upload_leaves_the_job_in_the_queue() {
    let bench = Bench::new();
    bench.faults.on_call(Box::new(|call| {
        if call.method == Method::Put && call.number == 0 {
            panic!("a fault of the test");
        }
    }));
    bench.put(1);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| bench.publisher.run_next()));
    assert!(panicked.is_err());
    assert_eq!(bench.publisher.pending().objects, 1);
    bench.pass(1);
    assert!(bench.publisher.run_next());
    assert_eq!(bench.publisher.pending().objects, 0);
}

/// Packs, segments and heads in a random order, to a store that fails at random: what is on the store never
/// names what is not.
#[test]
fn no_segment_is_ever_on_the_store_before_its_packs() {
    for seed in seeds(30) {
        let store = MemoryStore::new();
        let faults = Faults::seeded(seed, Rates::default());
        let rates = Rates { fail_before: 150, fail_after: 150, ..Rates::default() };
        let world = World::over(store.clone(), Arc::default(), |options| {
            options.store = Arc::new(FaultStore::new(Arc::new(store.clone()), faults.clone()));
        });
        let mut random = Noise(seed);
        let mut needs: Vec<(ObjectName, Vec<ObjectName>)> = Vec::new();
        let (mut packs, mut number) = (Vec::new(), 1000);
        for _ in 0..200 {
            match random.below(5) {
                0 => drop(world.put(&noise(random.word(), 2000)).unwrap()),
                1 => {
                    for pack in world.close_packs().unwrap() {
                        packs.push(ObjectName::new(&crate::world::keys().pack_name(pack)).unwrap());
                    }
                    world.commit();
                    number += 1;
                    needs.push((name(number), packs.clone()));
                    world.publisher().enqueue(Job::Segment { name: name(number), bytes: vec![0; 9] });
                    world
                        .publisher()
                        .enqueue(Job::Replace { name: head(), bytes: number.to_le_bytes().to_vec() });
                }
                2 => drop(world.env.secs.fetch_add(random.below(20) as i64, Ordering::SeqCst)),
                _ => {
                    faults.set_rates(rates);
                    world.publisher().run_next();
                    faults.set_rates(Rates::default());
                }
            }
            check_order(&store, &needs, seed);
        }
        world.publisher().poke();
        while world.publisher().run_next() {}
        assert_eq!(world.publisher().pending().objects, 0, "seed {seed}");
    }
}

fn check_order(store: &MemoryStore, needs: &[(ObjectName, Vec<ObjectName>)], seed: u64) {
    let there = store.names();
    for (segment, packs) in needs {
        if there.contains(segment) {
            assert!(packs.iter().all(|pack| there.contains(pack)), "seed {seed}");
        }
    }
    if let Ok(bytes) = store.get(&head(), 8) {
        let newest = u64::from_le_bytes(bytes.try_into().unwrap());
        assert!((1001..=newest).all(|number| there.contains(&name(number))), "seed {seed}");
    }
}

#[test]
fn a_segment_waits_for_a_closed_pack_whose_last_entries_are_not_settled() {
    let world = World::new();
    world.put(b"in the segment").unwrap();
    world.commit();
    world.put(b"put before the pack was closed, and in no journal yet").unwrap();
    world.close_packs().unwrap();
    world.publisher().enqueue(Job::Segment { name: name(1), bytes: vec![1] });
    assert!(!world.publisher().run_next());
    world.commit();
    while world.publisher().run_next() {}
    assert_eq!(world.store.names().len(), 2);
}

#[test]
fn subjects_tell_packs_from_objects() {
    let world = World::new();
    let told: Arc<Mutex<Vec<Subject>>> = Arc::default();
    let sink = told.clone();
    world.publisher().set_on_done(Box::new(move |_, subject, _| sink.lock().push(subject.clone())));
    let stored = world.put(b"something").unwrap();
    world.publish();
    world.publisher().enqueue(Job::Segment { name: name(1), bytes: vec![1] });
    while world.publisher().run_next() {}
    assert_eq!(*told.lock(), [Subject::Pack(stored.at.pack), Subject::Object(name(1))]);
}
