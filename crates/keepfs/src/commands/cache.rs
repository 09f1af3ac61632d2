//! `cache`: sealed copies of remote objects on this machine's disk. What is only here is never among them.

use std::sync::Arc;

use keepfs_store::BlobCache;
use serde::Serialize;

use super::{Chosen, chosen};
use crate::args::{Cache, Global};
use crate::config::ConfigFile;
use crate::control::{CacheStatus, Client, Request};
use crate::failure::{Failure, Result};
use crate::host::Holder;
use crate::progress::print_json;
use crate::size::Size;
use crate::wiring::{self, Guard};

#[derive(Serialize)]
struct Report {
    vault: String,
    bytes: u64,
    limit: u64,
}

/// Limits, clears, then shows.
pub(crate) fn cache(global: &Global, wish: &Cache) -> Result<()> {
    let mut chosen = chosen(global)?;
    if let Some(limit) = wish.limit {
        ConfigFile::edit(&chosen.home, |file| file.set(&chosen.name, "cache_limit", Some(&limit.exact())))?;
        chosen.config.cache_limit = Some(limit);
    }
    let Some(CacheStatus { bytes, limit }) = look(&chosen, wish.clear)? else {
        return Err(Failure::failed("this vault has no cache: its store is local").at(&chosen.config.store));
    };
    if wish.json {
        print_json(&Report { vault: chosen.name, bytes, limit });
    } else {
        println!("cache of vault '{}': {} of {}", chosen.name, Size(bytes), Size(limit));
    }
    Ok(())
}

/// Through the daemon, or on the disk when none runs.
fn look(chosen: &Chosen, clear: bool) -> Result<Option<CacheStatus>> {
    if let Some(mut daemon) = Client::connect(&chosen.places.socket)? {
        let request = if clear { Request::ClearCache } else { Request::Status };
        return Ok(daemon.must_answer(&request, &mut |_| {})?.cache);
    }
    let _guard = Guard::take(&chosen.places, &Holder::command("cache"))?;
    let cache = wiring::open_cache(&chosen.config.store, &chosen.places, chosen.config.cache_limit)?;
    Ok(cache.map(|cache: Arc<dyn BlobCache>| {
        if clear {
            cache.clear();
        }
        CacheStatus { bytes: cache.len_total(), limit: cache.limit() }
    }))
}
