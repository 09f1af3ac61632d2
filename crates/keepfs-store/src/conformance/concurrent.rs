//! Claims about several threads and handles at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::bench::{Bench, Check, Failure, claims, ensure, ensure_same};
use crate::error::{Result, StoreError};
use crate::store::{PutMode, Store};

claims![
    one_of_many_creators_wins,
    reader_sees_all_of_the_old_or_all_of_the_new,
    writers_of_different_objects_do_not_meet,
    readers_of_one_object_do_not_meet,
];

/// Threads of each claim.
const THREADS: usize = 8;

fn one_of_many_creators_wins(bench: &Bench<'_>) -> Check {
    if !bench.store.capabilities().create_is_atomic {
        return Err(Failure::Skipped("the store does not create atomically"));
    }
    for _ in 0..8 {
        let name = bench.name();
        let contents: Vec<Vec<u8>> = (0..THREADS).map(|_| bench.bytes(5000)).collect();
        let handles: Vec<Arc<dyn Store>> = (0..THREADS).map(|_| bench.reopen()).collect();
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let threads: Vec<_> = std::iter::zip(&handles, &contents)
                .map(|(store, bytes)| scope.spawn(|| store.put(&name, bytes, PutMode::Create)))
                .collect();
            threads.into_iter().map(join).collect()
        });
        let winners: Vec<usize> = (0..THREADS).filter(|index| results[*index].is_ok()).collect();
        ensure(winners.len() == 1, || format!("{} creators won", winners.len()))?;
        ensure_same(&bench.store.get(&name, 5000)?, &contents[winners[0]])?;
        for error in results.into_iter().filter_map(Result::err) {
            ensure(matches!(error, StoreError::Exists { .. }), || format!("a loser was told: {error}"))?;
        }
    }
    Ok(())
}

fn reader_sees_all_of_the_old_or_all_of_the_new(bench: &Bench<'_>) -> Check {
    const LEN: usize = 20_000;
    const ROUNDS: u8 = 20;
    let name = bench.head();
    bench.store.put(&name, &vec![0; LEN], PutMode::Create)?;
    let done = AtomicBool::new(false);
    let (writer, reader) = (bench.reopen(), &bench.store);
    std::thread::scope(|scope| {
        let writing = scope.spawn(|| -> Result<()> {
            let written = (1..=ROUNDS).try_for_each(|round| {
                let bytes = vec![round; LEN - usize::from(round)];
                writer.put(&name, &bytes, PutMode::Replace)
            });
            done.store(true, Ordering::Release);
            written
        });
        let mut newest = 0;
        let mut look = || -> Check {
            let found = reader.get(&name, LEN as u64)?;
            let round = found.first().copied().unwrap_or_default();
            let whole = found.len() == LEN - usize::from(round) && found.iter().all(|byte| *byte == round);
            ensure(whole, || "a mixture was read".into())?;
            ensure(round >= newest, || format!("{round} was read after {newest}"))?;
            newest = round;
            Ok(())
        };
        while !done.load(Ordering::Acquire) {
            look()?;
        }
        join(writing)?;
        look()?;
        ensure(newest == ROUNDS, || "the last put is not what is read".into())
    })
}

fn writers_of_different_objects_do_not_meet(bench: &Bench<'_>) -> Check {
    let objects: Vec<_> = (0..THREADS).map(|_| (bench.name(), bench.bytes(100_000))).collect();
    let store = &bench.store;
    std::thread::scope(|scope| {
        let threads: Vec<_> = objects
            .iter()
            .map(|(name, bytes)| scope.spawn(|| store.put(name, bytes, PutMode::Create)))
            .collect();
        threads.into_iter().try_for_each(join)
    })?;
    objects.iter().try_for_each(|(name, bytes)| ensure_same(&bench.store.get(name, 100_000)?, bytes))
}

fn readers_of_one_object_do_not_meet(bench: &Bench<'_>) -> Check {
    const PART: usize = 10_000;
    let (name, bytes) = (bench.name(), bench.bytes(PART * THREADS));
    bench.store.put(&name, &bytes, PutMode::Create)?;
    let (store, name) = (&bench.store, &name);
    let parts: Vec<Result<Vec<u8>>> = std::thread::scope(|scope| {
        let read = |index: usize| {
            let mut out = vec![0; PART];
            store.get_range(name, (index * PART) as u64, &mut out).map(|()| out)
        };
        let threads: Vec<_> = (0..THREADS).map(|index| scope.spawn(move || read(index))).collect();
        threads.into_iter().map(join).collect()
    });
    for (index, part) in parts.into_iter().enumerate() {
        ensure_same(&part?, &bytes[index * PART..][..PART])?;
    }
    Ok(())
}

/// A thread of a claim ends with its result, unless the store panicked: then so does the suite.
pub(super) fn join<T>(thread: std::thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
