//! SFTP: `sftp://[user@]host[:port]/absolute/path`, or `/~/path` below the home directory.
//!
//! The connection is made by the user's own `ssh`, so that keys, agents, jump hosts, `known_hosts` and everything
//! else in `~/.ssh/config` work as they do in a terminal. The protocol is spoken by russh-sftp over its pipes.
//! OpenDAL's service starts `ssh` as well, but up to 64 of them, makes the store's directories on its own wherever
//! it connects, cannot write through to the disk, and reports a full disk as something that passes.

mod connection;
mod errors;
mod listing;
mod store;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;

use keepfs_store::Store;

use crate::open::{OpenError, Place};
use crate::remote::{CREATE_OPTION, Create, RemoteUrl};

/// Where the store is and how `ssh` gets there.
#[derive(Clone, Debug)]
struct Target {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    /// File of the private key (`ssh -i`).
    identity: Option<PathBuf>,
    /// File to read instead of `~/.ssh/config` (`ssh -F`).
    config: Option<PathBuf>,
    /// Directory of the store: absolute, or relative to the home directory.
    base: String,
}

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let bad = |detail: String| place.bad(detail);
    let url = RemoteUrl::parse(place.rest, &["identity", "config", CREATE_OPTION]).map_err(bad)?;
    let host = url.require_host("a host").map_err(bad)?.trim_matches(['[', ']']).to_owned();
    if url.user.as_deref().is_some_and(|user| user.starts_with('-')) {
        return Err(place.bad("a user's name does not start with a dash".into()));
    }
    let base = match url.segments.split_first() {
        Some((home, rest)) if home == "~" => rest.join("/"),
        _ => url.path(),
    };
    if base.is_empty() {
        return Err(
            place.bad("the URL lacks the directory of the store: sftp://host/srv/vault, or /~/vault".into())
        );
    }
    let create = Create::of(&url, Create::Atomic).map_err(bad)?;
    let target = Target {
        host,
        user: url.user.clone(),
        port: url.port,
        identity: url.option("identity").map(PathBuf::from),
        config: url.option("config").map(PathBuf::from),
        base,
    };
    Ok(Arc::new(store::SftpStore::new(target, create, place.options.create)))
}
