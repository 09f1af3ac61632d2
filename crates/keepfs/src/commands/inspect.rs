//! `inspect`: what somebody who holds only the store sees. Uses neither password nor state, so it cannot know more.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use keepfs_format::env::Env;
use keepfs_store::{ObjectInfo, ObjectName, Store};
use keepfs_stores::OpenOptions;
use serde::Serialize;

use super::randomness::{Histogram, Randomness, Verdict};
use crate::args::{Global, Inspect};
use crate::environment::{OperatingSystem, now_secs};
use crate::failure::{Doing, Result};
use crate::home::Home;
use crate::progress::print_json;
use crate::size::{Size, span};
use crate::wiring::{normalize_url, open_store, store_failure};

/// Objects of one kind whose bytes are read.
const SAMPLES_MAX: usize = 64;

/// Bytes that are read of each.
const SAMPLE_LEN_MAX: u64 = 64 << 10;

/// Names that are shown of each kind.
const EXAMPLES_MAX: usize = 3;

/// What an honest look at the store yields, and what it does not.
const LEARNS: [&str; 5] = [
    "the number and padded size of objects, and when each was written",
    "that this is a keepfs vault, from its header",
    "how many machines write, from the heads",
    "which objects are read and written together, by watching",
    "roughly how much is stored, after deduplication and compression",
];
const DOES_NOT_LEARN: [&str; 5] = [
    "file contents",
    "names of files and directories, and the shape of the tree",
    "the number and the sizes of files",
    "whether a file it already has is in the vault",
    "which objects belong together, from the objects alone",
];

#[derive(Serialize)]
struct Survey {
    store: String,
    kind: &'static str,
    objects: u64,
    bytes: u64,
    kinds: BTreeMap<&'static str, Kind>,
    learns: [&'static str; 5],
    does_not_learn: [&'static str; 5],
}

/// All objects whose names look alike.
#[derive(Default, Serialize)]
struct Kind {
    count: u64,
    bytes: u64,
    /// Number of objects by the power of two that their length does not exceed.
    sizes: BTreeMap<u64, u64>,
    earliest: Option<i64>,
    latest: Option<i64>,
    examples: Vec<String>,
    randomness: Option<Randomness>,
    #[serde(skip)]
    samples: Vec<(ObjectName, u64)>,
}

impl Kind {
    fn add(&mut self, object: ObjectInfo) {
        self.count += 1;
        self.bytes += object.len;
        *self.sizes.entry(object.len.next_power_of_two()).or_default() += 1;
        if let Some(modified) = object.modified_secs {
            self.earliest = Some(self.earliest.map_or(modified, |earliest| earliest.min(modified)));
            self.latest = Some(self.latest.map_or(modified, |latest| latest.max(modified)));
        }
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(object.name.as_str().to_owned());
        }
        self.sample(object);
    }

    /// Each object has the same chance, whatever the order of the listing.
    fn sample(&mut self, object: ObjectInfo) {
        let sample = (object.name, object.len);
        if self.samples.len() < SAMPLES_MAX {
            return self.samples.push(sample);
        }
        let mut random = [0; 8];
        OperatingSystem.fill(&mut random);
        let place = (u64::from_le_bytes(random) % self.count) as usize;
        if let Some(slot) = self.samples.get_mut(place) {
            *slot = sample;
        }
    }

    fn read_samples(&mut self, store: &dyn Store) -> Result<()> {
        let mut histogram = Histogram::new();
        for (name, len) in &self.samples {
            let mut bytes = vec![0; (*len).min(SAMPLE_LEN_MAX) as usize];
            match store.get_range(name, 0, &mut bytes) {
                Ok(()) => histogram.add(&bytes),
                // Somebody may write while we look.
                Err(keepfs_store::StoreError::NotFound { .. }) => {}
                Err(error) => return Err(store_failure(&error)),
            }
        }
        self.randomness = histogram.judge();
        Ok(())
    }
}

/// What the name tells.
fn kind_of(name: &ObjectName) -> &'static str {
    match name.as_str() {
        "vault" | "vault.bak" => "header",
        head if head.starts_with("h/") => "heads",
        _ => "opaque",
    }
}

/// Looks and tells.
pub(crate) fn inspect(global: &Global, wish: &Inspect) -> Result<()> {
    let credentials = Home::find(global.home.as_deref())?.credentials_file();
    let store = open_store(&wish.store, OpenOptions::default(), &credentials)?.store;
    let mut kinds: BTreeMap<&'static str, Kind> = BTreeMap::new();
    for prefix in ["vault", "h/", "o/"] {
        let listed = store.list(prefix, &mut |object| {
            kinds.entry(kind_of(&object.name)).or_default().add(object);
            ControlFlow::Continue(())
        });
        listed.map_err(|error| store_failure(&error))?;
    }
    for kind in kinds.values_mut() {
        kind.read_samples(&*store)?;
    }
    let survey = Survey {
        store: normalize_url(&wish.store).doing("name the store")?,
        kind: store.capabilities().kind,
        objects: kinds.values().map(|kind| kind.count).sum(),
        bytes: kinds.values().map(|kind| kind.bytes).sum(),
        kinds,
        learns: LEARNS,
        does_not_learn: DOES_NOT_LEARN,
    };
    if wish.json {
        print_json(&survey);
    } else {
        print(&survey);
    }
    Ok(())
}

fn print(survey: &Survey) {
    println!("{}: {} objects, {}", survey.store, survey.objects, Size(survey.bytes));
    for (name, kind) in &survey.kinds {
        println!("\n{name}: {} objects, {}", kind.count, Size(kind.bytes));
        println!("  names like  {}", kind.examples.join("  "));
        let sizes: Vec<_> =
            kind.sizes.iter().map(|(limit, count)| format!("{count} up to {}", Size(*limit))).collect();
        println!("  lengths     {}", sizes.join(", "));
        if let (Some(earliest), Some(latest)) = (kind.earliest, kind.latest) {
            let ago = |secs: i64| span(now_secs().saturating_sub(secs.max(0) as u64));
            println!("  written     between {} and {} ago", ago(earliest), ago(latest));
        }
        if let Some(randomness) = &kind.randomness {
            let verdict = match randomness.verdict {
                Verdict::Random => "cannot be told from random bytes",
                Verdict::Structured => "have a structure",
                Verdict::TooFew => "are too few to judge",
            };
            println!(
                "  bytes       {verdict} ({:.4} bits of entropy a byte, chi-square {:.0} where noise has 255 ± 23, {} looked at)",
                randomness.entropy_bits_per_byte,
                randomness.chi_square,
                Size(randomness.sampled_bytes)
            );
        }
    }
    println!("\nWhoever holds this store learns:");
    survey.learns.iter().for_each(|line| println!("  - {line}"));
    println!("and does not learn:");
    survey.does_not_learn.iter().for_each(|line| println!("  - {line}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_by_their_names_only() {
        let id = "a".repeat(26);
        for (name, kind) in [
            ("vault".to_owned(), "header"),
            ("vault.bak".to_owned(), "header"),
            (format!("h/{id}"), "heads"),
            (format!("o/aa/{id}"), "opaque"),
        ] {
            assert_eq!(kind_of(&ObjectName::new(&name).unwrap()), kind);
        }
    }

    #[test]
    fn sizes_are_counted_by_powers_of_two() {
        let mut kind = Kind::default();
        let id = "b".repeat(26);
        for len in [0, 1, 1024, 1025, 2048] {
            let name = ObjectName::immutable(&id).unwrap();
            kind.add(ObjectInfo { name, len, modified_secs: Some(len as i64) });
        }
        assert_eq!(kind.sizes, BTreeMap::from([(1, 2), (1024, 1), (2048, 2)]));
        assert_eq!((kind.earliest, kind.latest), (Some(0), Some(2048)));
    }
}
