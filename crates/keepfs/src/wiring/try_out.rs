//! What a store can do is tried out once, when a vault is made there or a machine joins: servers say yes to
//! conditions that they ignore.
//!
//! The outcome is kept in the URL in config.toml. The header has no place for it, and it is about a way to the
//! store as much as about the store: two machines may reach one store by two protocols.

use std::ops::ControlFlow;
use std::path::Path;

use keepfs_format::env::Env;
use keepfs_store::{ObjectName, PutMode, Retry, Store, StoreError};
use keepfs_stores::OpenOptions;

use super::failures::store_failure;
use super::remote::open_bare;
use crate::environment::OperatingSystem;
use crate::failure::{Failure, Result};

/// What the second of two creators hears.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Creation {
    /// That there is such an object, however close the two are.
    Refused,
    /// The same, unless both come at the same moment.
    RefusedLater,
    /// Nothing: his bytes are in the place of the first one's, or the service knows no condition.
    Ignored,
}

/// How many create one object at the same moment, and how often.
const CREATORS: usize = 6;
const RACES: usize = 3;

/// Tries the store at a URL with a few small objects of random names, which are removed again. Gives the URL to
/// keep.
pub(crate) fn try_out(url: &str, options: OpenOptions, credentials: &Path) -> Result<String> {
    let store = open_bare(url, options, credentials)?;
    if store.capabilities().local || store.capabilities().kind == "file" {
        return Ok(url.to_owned());
    }
    let separator = if url.contains('?') { '&' } else { '?' };
    match creation(&*store)? {
        Creation::Refused => Ok(url.to_owned()),
        Creation::RefusedLater => Ok(format!("{url}{separator}create=checked")),
        Creation::Ignored => {
            let looking = format!("{url}{separator}create=look");
            match creation(&*open_bare(&looking, options, credentials)?)? {
                Creation::Refused | Creation::RefusedLater => Ok(looking),
                Creation::Ignored => {
                    Err(Failure::failed("the store does not show what was put there a moment ago").at(url))
                }
            }
        }
    }
}

fn creation(store: &dyn Store) -> Result<Creation> {
    let name = random_name()?;
    let tried = one_after_the_other(store, &name);
    // An object of a few bytes that nobody names is no harm.
    let _ = store.delete(&name);
    let tried = tried.map_err(|error| store_failure(&error))?;
    if tried == Creation::Refused && store.capabilities().create_is_atomic {
        for _ in 0..RACES {
            let name = random_name()?;
            let winners = at_the_same_moment(store, &name);
            let _ = store.delete(&name);
            if winners > 1 {
                return Ok(Creation::RefusedLater);
            }
        }
    }
    Ok(tried)
}

fn one_after_the_other(store: &dyn Store, name: &ObjectName) -> std::result::Result<Creation, StoreError> {
    match store.put(name, b"keepfs was here", PutMode::Create) {
        // "Not implemented", in the words of each service.
        Err(StoreError::Io { retry: Retry::Never, detail }) if detail.contains("501") => {
            return Ok(Creation::Ignored);
        }
        put => put?,
    }
    let mut is_listed = false;
    store.list(name.as_str(), &mut |found| {
        is_listed |= found.name == *name;
        ControlFlow::Continue(())
    })?;
    if !is_listed {
        return Err(StoreError::io_never("the store does not list what was put there a moment ago"));
    }
    match store.put(name, b"keepfs was here twice", PutMode::Create) {
        Err(StoreError::Exists { .. }) => Ok(Creation::Refused),
        put => put.map(|()| Creation::Ignored),
    }
}

/// How many were told that they had created the object.
fn at_the_same_moment(store: &dyn Store, name: &ObjectName) -> usize {
    let create = |creator: usize| store.put(name, &[creator as u8; 4096], PutMode::Create).is_ok();
    std::thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS).map(|creator| scope.spawn(move || create(creator))).collect();
        creators.into_iter().filter_map(|creator| creator.join().ok()).filter(|created| *created).count()
    })
}

fn random_name() -> Result<ObjectName> {
    const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let mut bytes = [0; 26];
    OperatingSystem.fill(&mut bytes);
    let id: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte & 31)])).collect();
    ObjectName::immutable(&id).map_err(|error| store_failure(&error))
}
