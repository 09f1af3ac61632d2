//! Claims about the faults themselves: a fault that does not strike proves nothing.

use std::sync::Arc;

use super::*;
use crate::conformance::{Options, failures};
use crate::error::StoreError;
use crate::memory::MemoryStore;
use crate::method::Method;
use crate::name::ObjectName;
use crate::store::{PutMode, Store};

fn name(first: char) -> ObjectName {
    ObjectName::immutable(&format!("{first}aaaaaaaaaaaaaaaaaaaaaaaaa")).unwrap()
}

fn lost() -> StoreError {
    StoreError::io_soon("lost")
}

fn world(faults: Arc<Faults>) -> (MemoryStore, FaultStore) {
    let memory = MemoryStore::new();
    (memory.clone(), FaultStore::new(Arc::new(memory), faults))
}

#[test]
fn fault_store_without_faults_conforms() {
    let (_, store) = world(Faults::none());
    let store = Arc::new(store);
    let failed = failures(&|| store.clone(), &Options::default());
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn fail_before_has_no_effect_and_fail_after_has() {
    let (memory, store) = world(Faults::scripted([
        (Strike::Call(0), Fault::FailBefore(lost())),
        (Strike::Method(Method::Put, 1), Fault::FailAfter(lost())),
    ]));
    assert_eq!(store.put(&name('a'), b"x", PutMode::Create), Err(lost()));
    assert!(memory.names().is_empty());
    assert_eq!(store.put(&name('a'), b"x", PutMode::Create), Err(lost()));
    assert_eq!(memory.names(), [name('a')]);
    store.put(&name('b'), b"x", PutMode::Create).unwrap();
}

#[test]
fn crash_at_each_write_stops_everything_after_it() {
    for moment in Moment::ALL {
        for number in 0..5 {
            let (memory, store) = world(Faults::crash_at_write(number, moment));
            let staged = store.staging().unwrap().create(&name('a'));
            let steps = [
                staged.as_ref().is_ok_and(|staged| staged.write_at(0, b"abcd").is_ok()),
                staged.as_ref().is_ok_and(|staged| staged.sync().is_ok()),
                staged.as_ref().is_ok_and(|staged| staged.publish().is_ok()),
                store.put(&name('b'), b"efgh", PutMode::Create).is_ok(),
            ];
            let succeeded = std::iter::once(staged.is_ok()).chain(steps).take_while(|ok| *ok).count();
            assert_eq!(succeeded as u64, number);
            assert!(store.get(&name('a'), 9).is_err(), "reads fail as well");
            let published = memory.get(&name('a'), 9).is_ok();
            assert_eq!(published, number > 3 || (number == 3 && moment == Moment::After));
            let last = memory.get(&name('b'), 9);
            match (number, moment) {
                (4, Moment::Torn) => assert_eq!(last.unwrap(), b"ef"),
                (4, Moment::After) => assert_eq!(last.unwrap(), b"efgh"),
                _ => assert!(last.is_err()),
            }
        }
    }
}

#[test]
fn torn_write_leaves_a_prefix() {
    let (_, store) = world(Faults::scripted([(Strike::Method(Method::StagedWrite, 0), Fault::Torn(lost()))]));
    let staged = store.staging().unwrap().create(&name('a')).unwrap();
    assert_eq!(staged.write_at(0, b"abcdef"), Err(lost()));
    assert_eq!(staged.len().unwrap(), 3);
}

#[test]
fn puts_are_whole_where_that_is_promised() {
    let faults = Faults::scripted([
        (Strike::Method(Method::Put, 0), Fault::Torn(lost())),
        (Strike::Method(Method::Put, 1), Fault::Crash(Moment::Torn)),
    ]);
    faults.keep_puts_whole();
    let (memory, store) = world(faults);
    assert_eq!(store.put(&name('a'), b"abcdef", PutMode::Create), Err(lost()));
    assert!(store.put(&name('a'), b"abcdef", PutMode::Create).is_err());
    assert!(memory.names().is_empty());
}

#[test]
fn reads_come_short_or_flipped() {
    let (memory, store) = world(Faults::scripted([
        (Strike::Method(Method::Get, 0), Fault::ShortRead),
        (Strike::Method(Method::Get, 1), Fault::FlipBit(9)),
        (Strike::Method(Method::GetRange, 0), Fault::ShortRead),
        (Strike::Method(Method::GetRange, 1), Fault::FlipBit(33)),
    ]));
    memory.put(&name('a'), &[0; 4], PutMode::Create).unwrap();
    assert_eq!(store.get(&name('a'), 4).unwrap(), [0, 0]);
    assert_eq!(store.get(&name('a'), 4).unwrap(), [0, 2, 0, 0]);
    let mut out = [0; 4];
    assert!(store.get_range(&name('a'), 0, &mut out).is_err());
    store.get_range(&name('a'), 0, &mut out).unwrap();
    assert_eq!(out, [2, 0, 0, 0]);
    assert_eq!(store.get(&name('a'), 4).unwrap(), [0; 4], "the object itself is whole");
}

#[test]
fn weather_changes_and_clears() {
    let faults = Faults::none();
    let (_, store) = world(faults.clone());
    store.put(&name('a'), b"x", PutMode::Create).unwrap();
    faults.set_weather(Weather::Full);
    assert!(matches!(store.put(&name('b'), b"x", PutMode::Create), Err(StoreError::Full { .. })));
    store.get(&name('a'), 1).unwrap();
    faults.set_weather(Weather::ReadOnly);
    assert!(matches!(store.delete(&name('a')), Err(StoreError::ReadOnly { .. })));
    faults.set_weather(Weather::Offline);
    assert!(matches!(store.get(&name('a'), 1), Err(StoreError::Unavailable { .. })));
    faults.set_weather(Weather::Fair);
    store.delete(&name('a')).unwrap();
}

#[test]
fn same_seed_strikes_the_same_calls_whatever_their_order() {
    let rates = Rates { fail_before: 100, fail_after: 100, short_read: 100, flip_bit: 100 };
    let run = |seed, backwards: bool| {
        let faults = Faults::seeded(seed, rates);
        faults.start_trace();
        let (_, store) = world(faults.clone());
        let mut letters: Vec<char> = ('a'..='z').collect();
        if backwards {
            letters.reverse();
        }
        for letter in letters {
            for _ in 0..4 {
                let _ = store.put(&name(letter), b"bytes", PutMode::Replace);
                let _ = store.get(&name(letter), 9);
            }
        }
        let mut trace = faults.take_trace();
        trace.iter_mut().for_each(|traced| traced.number = 0);
        trace.sort_by_key(|traced| (traced.name.clone(), traced.method));
        trace
    };
    let first = run(7, false);
    assert_eq!(first, run(7, true));
    assert_ne!(first, run(8, false));
    let struck = first.iter().filter(|traced| traced.fault.is_some()).count();
    assert!((40..=125).contains(&struck), "{struck} of 208 at 40 %");
}
