//! Claims about listings.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::bench::{Bench, Check, Failure, claims, ensure};
use crate::name::ObjectName;
use crate::store::{ObjectInfo, PutMode, Store};

claims![
    listing_shows_every_object_once_with_its_length,
    listing_follows_any_prefix,
    listing_of_an_unused_prefix_is_empty,
    listing_stops_when_told,
    listing_forgets_what_was_deleted,
];

/// The listing under a prefix, by name; broken if a name comes twice or does not fit.
fn listed(store: &dyn Store, prefix: &str) -> Result<BTreeMap<ObjectName, u64>, Failure> {
    let mut found = BTreeMap::new();
    let mut wrong = None;
    store.list(prefix, &mut |info: ObjectInfo| {
        if !info.name.as_str().starts_with(prefix) {
            wrong = Some(format!("{} was listed under {prefix:?}", info.name));
        }
        if let Some(_twice) = found.insert(info.name.clone(), info.len) {
            wrong = Some(format!("{} was listed twice", info.name));
        }
        ControlFlow::Continue(())
    })?;
    match wrong {
        Some(wrong) => Err(Failure::Broken(wrong)),
        None => Ok(found),
    }
}

fn listing_shows_every_object_once_with_its_length(bench: &Bench<'_>) -> Check {
    let mut put = Vec::new();
    for len in [0, 1, 100, 70_000] {
        for name in [bench.name(), bench.head()] {
            bench.store.put(&name, &bench.bytes(len), PutMode::Create)?;
            put.push((name, len as u64));
        }
    }
    let found = listed(&*bench.store, "")?;
    for (name, len) in put {
        let seen = found.get(&name);
        ensure(seen == Some(&len), || format!("{name} of {len} bytes is listed as {seen:?}"))?;
    }
    Ok(())
}

fn listing_follows_any_prefix(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"here", PutMode::Create)?;
        for len in 0..=name.as_str().len() {
            let prefix = &name.as_str()[..len];
            let found = listed(&*bench.store, prefix)?;
            ensure(found.contains_key(&name), || format!("{name} is not under {prefix:?}"))?;
        }
        let beyond = format!("{name}a");
        ensure(listed(&*bench.store, &beyond)?.is_empty(), || "a longer name was found".into())?;
    }
    Ok(())
}

fn listing_of_an_unused_prefix_is_empty(bench: &Bench<'_>) -> Check {
    let (name, head) = (bench.name(), bench.head());
    for prefix in [name.as_str(), head.as_str(), "x", "o/../", "/", "..", "vault.bak2"] {
        let found = listed(&*bench.store, prefix)?;
        ensure(found.is_empty(), || format!("{prefix:?} has {found:?}"))?;
    }
    Ok(())
}

fn listing_stops_when_told(bench: &Bench<'_>) -> Check {
    for _ in 0..3 {
        bench.store.put(&bench.name(), b"here", PutMode::Create)?;
        bench.store.put(&bench.head(), b"here", PutMode::Create)?;
    }
    for wanted in [1, 2, 4] {
        let mut seen = 0;
        bench.store.list("", &mut |_| {
            seen += 1;
            if seen == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        ensure(seen == wanted, || format!("{seen} calls after a break at {wanted}"))?;
    }
    Ok(())
}

fn listing_forgets_what_was_deleted(bench: &Bench<'_>) -> Check {
    for name in [bench.name(), bench.head()] {
        bench.store.put(&name, b"here", PutMode::Create)?;
        bench.store.delete(&name)?;
        let found = listed(&*bench.store, "")?;
        ensure(!found.contains_key(&name), || format!("{name} is still listed"))?;
    }
    Ok(())
}
