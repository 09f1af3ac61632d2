//! `copy`: a whole vault from one store to another, without its password.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_format::header::Header;
use keepfs_store::{ObjectName, StoreError};
use keepfs_stores::{Mirror, Mirrored, OpenOptions, Tops};
use serde::{Deserialize, Serialize};

use crate::args::{Copy, Global};
use crate::exit::Exit;
use crate::failure::{Doing, Failure, Result};
use crate::home::{Home, make_private_dir};
use crate::private_file::{read_limited, replace_private_file};
use crate::progress::{Progress, print_json};
use crate::size::Size;
use crate::wiring::{normalize_url, open_store, store_failure};

/// What an earlier run put on top of a copy: how to tell one's own heads from those of a machine that uses the copy.
#[derive(Default, Serialize, Deserialize)]
struct Memory {
    from: String,
    to: String,
    /// The heads themselves, in hexadecimal, by name: each has a few hundred bytes.
    heads: std::collections::BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    from: &'a str,
    to: &'a str,
    objects: u64,
    bytes: u64,
    present_objects: u64,
    copied_objects: u64,
    copied_bytes: u64,
    failed_objects: u64,
}

impl<'a> Line<'a> {
    fn new(event: &'static str, (from, to): (&'a str, &'a str), counts: &Mirrored) -> Self {
        Self {
            event,
            from,
            to,
            objects: counts.objects,
            bytes: counts.bytes,
            present_objects: counts.present_objects,
            copied_objects: counts.copied_objects,
            copied_bytes: counts.copied_bytes,
            failed_objects: counts.failed_objects,
        }
    }
}

/// Copies and compares.
pub(crate) fn copy(global: &Global, wish: &Copy) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let normal = |url: &str| normalize_url(url).map_err(|error| Failure::usage(error.to_string()));
    let (from_url, to_url) = (normal(&wish.from)?, normal(&wish.to)?);
    if from_url == to_url {
        return Err(Failure::usage("the two stores are one").at(to_url));
    }
    let credentials = home.credentials_file();
    let from = open_store(&from_url, OpenOptions::default(), &credentials)?.store;
    let told = |error: &StoreError, url: &str| store_failure(error).at(url);
    let tops = Tops::read(&*from).map_err(|error| told(&error, &from_url))?;
    if tops.headers.is_empty() {
        return Err(Failure::new(Exit::NoVault, "there is no vault to copy").at(from_url));
    }
    let to = open_store(&to_url, OpenOptions { create: true }, &credentials)?.store;
    let there = Tops::read(&*to).map_err(|error| told(&error, &to_url))?;
    let memory_file = home.state_dir.join(memory_name(&to_url));
    let memory: Memory = serde_json::from_str(&read_limited(&memory_file)?).unwrap_or_default();
    check_target(&tops, &there, (&memory, &to_url), wish.overwrite)?;

    let stop = Arc::new(AtomicBool::new(false));
    let progress = Progress::new(wish.json, "copying");
    let mirror = Mirror { from: &*from, to: &*to, compare_present: wish.verify, stop: &stop };
    let names = (from_url.as_str(), to_url.as_str());
    let tell = |counts: &Mirrored| match &progress {
        Progress::Bar(bar) => bar.set_message(sentence(counts)),
        Progress::Lines => print_json(&Line::new("progress", names, counts)),
        Progress::Silent => {}
    };
    let (counts, failures) = mirror.copy_objects(&tell).map_err(|error| told(&error, &to_url))?;
    progress.finish();
    if counts.failed_objects > 0 || stop.load(Ordering::Relaxed) {
        for (name, error) in &failures {
            eprintln!("keepfs: {name}: {error}");
        }
        let what = format!("{} of {} objects could not be copied", counts.failed_objects, counts.objects);
        return Err(Failure::new(Exit::Partial, what)
            .at(to_url)
            .advise("run it again: what was copied is not copied twice"));
    }
    remember(&memory_file, &home, names, &tops)?;
    mirror.put_tops(&tops).map_err(|error| told(&error, &to_url))?;
    match wish.json {
        true => print_json(&Line::new("done", names, &counts)),
        false => println!(
            "The vault is on {to_url}: {} objects and {} copied and compared, {} objects were there.",
            counts.copied_objects,
            Size(counts.copied_bytes),
            counts.present_objects
        ),
    }
    Ok(())
}

fn sentence(counts: &Mirrored) -> String {
    let done = counts.present_objects + counts.copied_objects + counts.failed_objects;
    let bytes = counts.present_bytes + counts.copied_bytes;
    format!("{done} of {} objects, {} of {}", counts.objects, Size(bytes), Size(counts.bytes))
}

/// Refuses a target that holds another vault, or one that somebody has written to since it was copied.
fn check_target(tops: &Tops, there: &Tops, (memory, to_url): (&Memory, &str), overwrite: bool) -> Result<()> {
    let vault_of = |tops: &Tops| {
        let opened = |name: ObjectName| Header::decode(tops.headers.get(&name)?).ok();
        opened(ObjectName::vault())
            .or_else(|| opened(ObjectName::vault_backup()))
            .map(|header| header.vault())
    };
    if let (Some(ours), Some(theirs)) = (vault_of(tops), vault_of(there))
        && ours != theirs
    {
        return Err(Failure::failed("another vault is there already")
            .at(to_url)
            .advise("choose another place"));
    }
    let is_known = |name: &ObjectName, bytes: &[u8]| {
        tops.heads.get(name).is_some_and(|ours| ours == bytes)
            || memory.to == to_url
                && memory.heads.get(name.as_str()).is_some_and(|kept| *kept == hexadecimal(bytes))
    };
    if overwrite || there.heads.iter().all(|(name, bytes)| is_known(name, bytes)) {
        return Ok(());
    }
    Err(Failure::failed("the vault there says something else than the one to be copied")
        .at(to_url)
        .advise("if no machine uses it as its store, and what it says may go, add --overwrite"))
}

fn remember(file: &std::path::Path, home: &Home, (from, to): (&str, &str), tops: &Tops) -> Result<()> {
    make_private_dir(&home.state_dir)?;
    let heads = tops.heads.iter().map(|(name, bytes)| (name.to_string(), hexadecimal(bytes))).collect();
    let memory = Memory { from: from.to_owned(), to: to.to_owned(), heads };
    replace_private_file(file, &serde_json::to_vec(&memory).doing("write down what is copied")?)
}

/// A file name for a URL: two that meet overwrite each other's memory, which costs a question.
fn memory_name(url: &str) -> String {
    let plain = url.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    format!(".copy-{}.json", plain.take(180).collect::<String>())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
