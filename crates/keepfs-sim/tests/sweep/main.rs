//! The corruption sweep: a small vault with every kind of object and every local file, and everything that can be done to
//! one or two of them: each byte flipped, each length cut, more appended, emptied, any two exchanged, one in place of
//! another, copied, deleted. After each, a machine that was never here joins and reads the whole tree, and the machine that
//! wrote it mounts and reads it. Either gets exactly the right tree, or an error; never another tree, a panic, or much memory.
//!
//! `KEEPFS_SWEEP_BYTES=1000000` harms so many bytes of each thing in place of a few; with it every one.

#![allow(clippy::unwrap_used, reason = "a claim that does not hold shall panic")]

mod beside;
mod harm;
mod judge;
mod vault;

use std::collections::{BTreeMap, BTreeSet};

use cap::Cap;

use judge::Judge;
use vault::Vault;

/// Most memory that the whole test may take at once, in bytes; the hash of the password takes two thirds. A length that is
/// believed before it is checked takes more.
const MEMORY_MAX: usize = 96 << 20;
/// Bytes of one thing that are flipped, and lengths that it is cut to, unless the environment wants more.
const BYTES: usize = 40;

#[global_allocator]
static MEMORY: Cap<std::alloc::System> = Cap::new(std::alloc::System, usize::MAX);

fn bytes_of_each() -> usize {
    std::env::var("KEEPFS_SWEEP_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(BYTES)
}

#[test]
fn harm_is_told_or_does_nothing() {
    let vault = Vault::make();
    check_kinds(&vault);
    let mut judge = Judge::new(&vault);
    let limit = bytes_of_each();
    let mut places = BTreeMap::<String, [usize; 3]>::new();
    for (place, bytes) in &vault.things {
        let of_kind = places.entry(vault.kind(place)).or_default();
        of_kind[0] += 1;
        of_kind[1] += bytes.len();
        of_kind[2] += harm::positions(bytes.len(), limit).len();
    }
    let mut counts = BTreeMap::<String, [u64; 3]>::new();
    for harm in harm::all(&vault, limit) {
        let outcome = judge.judge(&harm);
        counts.entry(harm.told(&vault)).or_default()[outcome as usize] += 1;
    }
    for (kind, [things, len, flipped]) in &places {
        println!(
            "{kind}: {things} of them, {len} bytes, {flipped} flipped, one at a time; as many lengths cut"
        );
    }
    for (what, [unread, right, told]) in &counts {
        println!("{what}: {told} told of, {right} without effect, {unread} to what nobody reads");
    }
    let sum = |of: &dyn Fn(&str) -> bool| -> u64 {
        counts.iter().filter(|(what, _)| of(what)).map(|(_, count)| count.iter().sum::<u64>()).sum()
    };
    let (flips, peak) = (sum(&|what| what.ends_with("flipped")), MEMORY.max_allocated());
    let wrong = |of: &dyn Fn(&str) -> bool| judge.wrong.iter().filter(|(what, _)| of(what)).count();
    let wrong_flips = wrong(&|what| what.ends_with("flipped"));
    println!("{flips} bytes flipped, {wrong_flips} wrong");
    println!(
        "{} times cut, extended, emptied, exchanged, replaced, copied or deleted, {} wrong",
        sum(&|_| true) - flips,
        judge.wrong.len() - wrong_flips
    );
    println!(
        "{} harms to {} objects and local files of {} kinds, {} wrong; the tree was read {} times, with {:.1} MiB of \
         memory at most",
        sum(&|_| true),
        vault.things.len(),
        places.len(),
        judge.wrong.len(),
        judge.looks,
        peak as f64 / f64::from(1 << 20)
    );
    assert!(judge.wrong.is_empty(), "{} harms went wrong:\n{}", judge.wrong.len(), judge.summary());
    assert!(peak <= MEMORY_MAX, "{peak} bytes of memory at once");
}

/// Every kind of thing that a vault leaves anywhere.
const KINDS: &[&str] = &[
    "cached blob",
    "checkpoint",
    "database",
    "head",
    "header",
    "index run",
    "journal",
    "kept header",
    "kept roster",
    "machine",
    "pack",
    "roster entry",
    "segment",
    "staged pack",
];

/// Of every kind there is something, or nothing here means anything.
fn check_kinds(vault: &Vault) {
    let kinds: BTreeSet<String> = vault.things.keys().map(|place| vault.kind(place)).collect();
    for kind in KINDS {
        assert!(kinds.contains(*kind), "no {kind} among {kinds:?}");
    }
}
