//! Who may know whom: the crates of this workspace, and the homes of outside crates.
//!
//! The lists are exact. A new edge is a design decision: change ARCHITECTURE.md first, then this file.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use keepfs_sim::Repository;
use serde_json::Value;

/// Each crate and the crates of ours that it may use.
const EDGES: &[(&str, &[&str])] = &[
    ("keepfs-format", &[]),
    ("keepfs-store", &[]),
    ("keepfs-log", &["keepfs-format"]),
    ("keepfs-stores", &["keepfs-store"]),
    ("keepfs-telegram", &["keepfs-store"]),
    ("keepfs-vault", &["keepfs-format", "keepfs-store"]),
    ("keepfs-fs", &["keepfs-format", "keepfs-log", "keepfs-store", "keepfs-vault"]),
    ("keepfs-fuse", &["keepfs-fs"]),
    (
        "keepfs",
        &[
            "keepfs-format",
            "keepfs-fs",
            "keepfs-fuse",
            "keepfs-log",
            "keepfs-store",
            "keepfs-stores",
            "keepfs-telegram",
            "keepfs-vault",
        ],
    ),
    ("keepfs-sim", &["keepfs-format", "keepfs-fs", "keepfs-store"]),
    ("keepfs-tgsim", &[]),
];

/// Crates that exist for tests alone.
const TEST_ONLY: &[&str] = &["keepfs-sim", "keepfs-tgsim"];

/// Outside crates that may be used only where they are at home. keepfs-sim looks for leaked hashes, so it
/// computes some; it puts a file system of its own below the one that is tested, and measures how fast FUSE can be
/// with nothing behind it. keepfs-tgsim is the other end of Telegram's protocol and computes that end's.
const HOMES: &[(&str, &[&str])] = &[
    ("fuser", &["keepfs-fuse", "keepfs-sim"]),
    ("fuse3", &[]),
    ("grammers-mtsender", &["keepfs-telegram"]),
    ("tokio", &["keepfs-stores", "keepfs-telegram", "keepfs-serve"]),
    ("async-std", &[]),
    ("clap", &["keepfs", "keepfs-tgsim"]),
    ("clap_complete", &["keepfs"]),
    ("indicatif", &["keepfs"]),
    ("rpassword", &["keepfs"]),
    ("tracing-subscriber", &["keepfs"]),
    ("redb", &["keepfs-fs"]),
    ("aws-lc-rs", &["keepfs-format", "keepfs-sim", "keepfs-tgsim"]),
    ("blake3", &["keepfs-format", "keepfs-sim"]),
    ("argon2", &["keepfs-format"]),
    ("bip39", &["keepfs-format"]),
    ("hpke", &["keepfs-format"]),
    ("ring", &[]),
    ("sha2", &[]),
    ("aes-gcm", &[]),
    ("ed25519-dalek", &[]),
    ("rand", &[]),
    ("getrandom", &["keepfs"]),
    ("zstd", &["keepfs-format"]),
    ("lz4_flex", &["keepfs-format"]),
    ("opendal", &["keepfs-stores"]),
    ("rustls", &["keepfs-stores", "keepfs-serve"]),
    ("reqwest", &["keepfs-stores"]),
    ("russh-sftp", &["keepfs-stores"]),
    ("quick-xml", &["keepfs-stores"]),
];

/// What a pure crate must not reach for: it takes time and randomness as arguments, and does no I/O.
const IMPURE: &[&str] = &[
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "SystemTime::now",
    "Instant::now",
    "getrandom",
    "libc::",
];

const PURE: &[&str] = &["keepfs-format", "keepfs-log"];

/// The only crates that may hold `unsafe`.
const UNSAFE_HOMES: &[&str] = &["keepfs-fuse", "keepfs-ffi"];

struct Package {
    name: String,
    /// Name and kind (`normal`, `dev`, `build`).
    dependencies: Vec<(String, String)>,
}

fn packages() -> Vec<Package> {
    let repository = Repository::open();
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--no-deps"])
        .current_dir(repository.root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let list = metadata["packages"].as_array().unwrap();
    list.iter()
        .map(|package| Package {
            name: package["name"].as_str().unwrap().to_owned(),
            dependencies: package["dependencies"]
                .as_array()
                .unwrap()
                .iter()
                .map(|d| {
                    (
                        d["name"].as_str().unwrap().to_owned(),
                        d["kind"].as_str().unwrap_or("normal").to_owned(),
                    )
                })
                .collect(),
        })
        .collect()
}

#[test]
fn crate_edges_are_the_ones_in_the_table() {
    let allowed: BTreeMap<&str, BTreeSet<&str>> =
        EDGES.iter().map(|(name, edges)| (*name, edges.iter().copied().collect())).collect();
    for package in packages() {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            panic!("{} is not in the table of crates", package.name);
        };
        for (dependency, kind) in &package.dependencies {
            if !dependency.starts_with("keepfs") {
                continue;
            }
            assert!(
                allowed.contains(dependency.as_str()) || (kind == "dev" && dependency != "keepfs"),
                "{} must not depend on {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn the_table_lists_no_crate_that_is_gone() {
    let names: BTreeSet<String> = packages().into_iter().map(|package| package.name).collect();
    for (name, edges) in EDGES {
        assert!(names.contains(*name), "{name} is in the table and not in the workspace");
        for edge in *edges {
            assert!(names.contains(*edge), "{edge} is in the table and not in the workspace");
        }
    }
}

#[test]
fn nothing_that_ships_depends_on_what_is_for_tests() {
    for package in packages() {
        for (dependency, kind) in &package.dependencies {
            assert!(
                !TEST_ONLY.contains(&dependency.as_str()) || kind == "dev",
                "{} ships, and depends on {dependency}",
                package.name
            );
        }
    }
}

#[test]
fn outside_crates_stay_in_their_homes() {
    for package in packages() {
        for (dependency, kind) in &package.dependencies {
            let Some((_, homes)) = HOMES.iter().find(|(name, _)| name == dependency) else { continue };
            assert!(
                kind == "dev" || homes.contains(&package.name.as_str()),
                "{dependency} is at home in {homes:?}, not in {}",
                package.name
            );
        }
    }
}

#[test]
fn pure_crates_do_no_input_or_output() {
    let mut wrong = Vec::new();
    for file in Repository::open().rust_files() {
        if file.is_test || !PURE.contains(&file.crate_name.as_str()) {
            continue;
        }
        for (index, line) in file.source.production_code().lines().enumerate() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", file.path, index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "pure crates reach outside:\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_stays_in_the_frontends() {
    let mut wrong = Vec::new();
    for file in Repository::open().rust_files() {
        if UNSAFE_HOMES.contains(&file.crate_name.as_str()) {
            continue;
        }
        for (index, line) in file.source.code().lines().enumerate() {
            let has_unsafe =
                line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe");
            if has_unsafe && !line.contains("unsafe_code") {
                wrong.push(format!("{}:{}", file.path, index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "unsafe outside {UNSAFE_HOMES:?}:\n{}", wrong.join("\n"));
}
