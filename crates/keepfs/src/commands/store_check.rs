//! `store check`: every promise that a vault builds on, tried on a user's own store, with a plain verdict.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use keepfs_format::env::Env;
use keepfs_store::Store;
use keepfs_store::conformance::{self, Outcome, Verdict};
use keepfs_stores::OpenOptions;
use serde::Serialize;

use crate::args::Global;
use crate::environment::OperatingSystem;
use crate::failure::{Failure, Result};
use crate::home::{Home, make_private_dir};
use crate::progress::{Progress, print_json};
use crate::wiring::{normalize_url, open_store};

/// Longest object that is put, in bytes: enough to be sent in pieces, soon sent.
const OBJECT_LEN_MAX: usize = 1 << 20;

#[derive(Serialize)]
struct Report {
    store: String,
    kind: &'static str,
    create_is_atomic: bool,
    holds: bool,
    claims: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    claim: &'static str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// A directory of this command, removed with everything in it.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays is a file of random bytes.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Tries and tells.
pub(crate) fn check(global: &Global, url: &str, json: bool) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let url = normalize_url(url).map_err(|error| Failure::usage(error.to_string()))?;
    let scratch = Scratch(home.state_dir.join(format!(".check-{}", std::process::id())));
    make_private_dir(&scratch.0)?;
    let first = open_store(&url, OpenOptions { create: true }, &home.credentials_file())?.store;
    // A store that cannot be reached at all would fail every promise, one deadline after the other.
    first
        .list("vault", &mut |_| std::ops::ControlFlow::Continue(()))
        .map_err(|error| crate::wiring::store_failure(&error).at(&url))?;
    let capabilities = first.capabilities();
    let mut seed = [0; 8];
    OperatingSystem.fill(&mut seed);
    let options = conformance::Options {
        seed: u64::from_le_bytes(seed),
        object_len_max: OBJECT_LEN_MAX,
        scratch: Some(scratch.0.clone()),
    };
    let failed = RefCell::new(None);
    let open = || -> Arc<dyn Store> {
        let opened = open_store(&url, OpenOptions { create: true }, &home.credentials_file());
        opened.map(|opened| opened.store).unwrap_or_else(|failure| {
            failed.replace(Some(failure));
            first.clone()
        })
    };
    let moment = Progress::moment("trying the store");
    let outcomes = conformance::run(&open, &options);
    drop(moment);
    if let Some(failure) = failed.take() {
        return Err(failure);
    }
    let broken = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Fails { .. })).count();
    let claims: Vec<Line> = outcomes.into_iter().map(line_of).collect();
    let count = claims.len();
    let report = Report {
        store: url.clone(),
        kind: capabilities.kind,
        create_is_atomic: capabilities.create_is_atomic,
        holds: broken == 0,
        claims,
    };
    match json {
        true => print_json(&report),
        false => print(&report),
    }
    match broken {
        0 => Ok(()),
        _ => {
            Err(Failure::failed(format!("{broken} of {count} promises do not hold; no vault is safe there"))
                .at(url))
        }
    }
}

fn line_of(outcome: Outcome) -> Line {
    let (verdict, detail) = match outcome.verdict {
        Verdict::Holds => ("holds", None),
        Verdict::Fails { detail } => ("fails", Some(detail)),
        Verdict::Skipped { reason } => ("skipped", Some(reason.to_owned())),
    };
    Line { claim: outcome.claim, verdict, detail }
}

fn print(report: &Report) {
    for line in &report.claims {
        let claim = line.claim.replace('_', " ");
        match &line.detail {
            Some(detail) => println!("{:8}{claim}: {detail}", line.verdict),
            None => println!("{:8}{claim}", line.verdict),
        }
    }
    if report.holds {
        println!("\nEvery promise holds: a vault can live on {}.", report.store);
        if !report.create_is_atomic {
            println!("Two machines that join at the very same moment are told apart later, not at once.");
        }
    }
}
