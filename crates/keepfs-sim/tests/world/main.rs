//! Simulated worlds: thousands of them must do nothing wrong, and each can be lived again.
//!
//! `KEEPFS_SEEDS=100000` lives more of them, `KEEPFS_SEED=7` only that one, with everything it did.

#![allow(clippy::unwrap_used, reason = "a claim that does not hold shall panic")]

mod failing;
mod pairs;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use keepfs_sim::world::{Lived, Vault, live};

/// Worlds that every change lives through.
const SEEDS: u64 = 2000;
/// Worlds that are lived twice.
const SEEDS_TWICE: u64 = 20;
/// Worlds at a time; each is one thread.
const THREADS: usize = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Lives one world, whatever becomes of it.
fn judge(vault: &Vault, seed: u64) -> Result<Lived, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live(vault, seed)));
    outcome.unwrap_or_else(|_| Err("a panic, which is told above".to_owned())).map_err(|wrong| {
        format!(
            "seed {seed}: {wrong}\nto see it again: KEEPFS_SEED={seed} cargo test --release -p keepfs-sim --test \
             world worlds_ -- --nocapture"
        )
    })
}

#[test]
fn worlds_do_nothing_wrong() {
    let vault = Vault::found().unwrap();
    let seeds = match number("KEEPFS_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("KEEPFS_SEEDS").unwrap_or(SEEDS),
    };
    let (next, end) = (AtomicU64::new(seeds.start), seeds.end);
    let (all, wrong) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < end) {
                    match judge(&vault, seed) {
                        Ok(lived) => {
                            println!("seed {seed}: {lived}");
                            if end - seeds.start == 1 {
                                println!("{}", lived.trace.join("\n"));
                            }
                            all.lock().unwrap().push(lived);
                        }
                        Err(told) => wrong.lock().unwrap().push(told),
                    }
                }
            });
        }
    });
    let (all, mut wrong) = (all.into_inner().unwrap(), wrong.into_inner().unwrap());
    wrong.sort_by_key(String::len);
    let count = |of: fn(&Lived) -> u64| all.iter().map(of).sum::<u64>();
    println!(
        "{} worlds, {} calls, {} failed calls, {} deaths, {} of them within a call, {} lost machines, {} wrong",
        seeds.end - seeds.start,
        count(|lived| lived.calls),
        count(|lived| lived.failures),
        count(|lived| lived.deaths.0),
        count(|lived| lived.deaths.1),
        count(|lived| lived.losses),
        wrong.len()
    );
    if let Some(shortest) = wrong.first() {
        let seeds: Vec<&str> = wrong.iter().filter_map(|told| told.lines().next()).take(12).collect();
        panic!("{} worlds went wrong:\n{}\n\n{shortest}", wrong.len(), seeds.join("\n"));
    }
}

#[test]
fn a_world_is_the_same_each_time() {
    for seed in 0..SEEDS_TWICE {
        // Another vault of the same seed: nothing may come from anywhere else.
        let (one, two) = (Vault::found().unwrap(), Vault::found().unwrap());
        let (first, second) = (judge(&one, seed).unwrap(), judge(&two, seed).unwrap());
        println!("seed {seed}: {first}");
        let parted = first.trace.iter().zip(&second.trace).find(|(first, second)| first != second);
        assert!(parted.is_none() && first == second, "seed {seed}: {parted:#?}");
    }
}
