//! Which names a listing can show, so that foreign things on a server are neither shown nor looked for.

use std::ops::ControlFlow;

use keepfs_store::{ObjectInfo, ObjectName};

const BASE32: &str = "abcdefghijklmnopqrstuvwxyz234567";

/// Whether any object's name starts with this prefix.
pub(crate) fn can_be_a_prefix(prefix: &str) -> bool {
    // A name is as long as its grammar says; filled up with fitting characters, a prefix of one is one.
    let id = |start: &str| start.chars().all(|c| BASE32.contains(c));
    let head = |rest: &str| rest.len() <= 26 && id(rest);
    let object = |rest: &str| match rest.split_once('/') {
        None => rest.len() <= 2 && id(rest),
        Some((shard, start)) => {
            let fits = shard.len() == 2 && id(shard) && head(start);
            fits && start.bytes().zip(shard.bytes()).all(|(ours, shards)| ours == shards)
        }
    };
    "vault.bak".starts_with(prefix)
        || "h/".starts_with(prefix)
        || "o/".starts_with(prefix)
        || prefix.strip_prefix("h/").is_some_and(head)
        || prefix.strip_prefix("o/").is_some_and(object)
}

/// Whether names that start with `directory` (with its slash) can have the prefix.
#[cfg(any(feature = "sftp", feature = "webdav"))]
pub(crate) fn overlaps(directory: &str, prefix: &str) -> bool {
    directory.starts_with(prefix) || prefix.starts_with(directory)
}

/// Whether this is a directory of objects below `o/`.
#[cfg(any(feature = "sftp", feature = "webdav"))]
pub(crate) fn is_shard(name: &str) -> bool {
    name.len() == 2 && name.chars().all(|c| BASE32.contains(c))
}

/// Shows one line of a server's listing to `each`, if it is an object and has the prefix.
pub(crate) fn show(
    name: &str,
    prefix: &str,
    (len, modified_secs): (u64, Option<i64>),
    each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>,
) -> ControlFlow<()> {
    match ObjectName::new(name) {
        Ok(name) if name.as_str().starts_with(prefix) => each(ObjectInfo { name, len, modified_secs }),
        _ => ControlFlow::Continue(()),
    }
}

/// A name that no other process draws, for an object on its way.
#[cfg(any(feature = "sftp", feature = "webdav"))]
pub(crate) fn temporary() -> String {
    use std::hash::{BuildHasher, RandomState};
    use std::sync::atomic::{AtomicU64, Ordering};
    static DRAWN: AtomicU64 = AtomicU64::new(0);
    let half = || RandomState::new().hash_one((std::process::id(), DRAWN.fetch_add(1, Ordering::Relaxed)));
    format!("{:016x}{:016x}", half(), half())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_of_a_name_can_be_one_and_nothing_else() {
        let id = "abcdefghijklmnopqrstuvwxyz";
        for name in ["vault", "vault.bak", &format!("h/{id}"), &format!("o/ab/{id}")] {
            for len in 0..=name.len() {
                assert!(can_be_a_prefix(&name[..len]), "{}", &name[..len]);
            }
            assert!(!can_be_a_prefix(&format!("{name}a")) || name == "vault.bak", "{name}a");
        }
        for other in
            ["x", "/", "..", "o/../", "o/abc", "o/ab/b", "h/A", "h//", "vault2", "vault.bak2", "o/a/", "é"]
        {
            assert!(!can_be_a_prefix(other), "{other}");
        }
    }
}
