//! `sync`: returns 0 only when everything written before is on the store.

use super::chosen;
use crate::args::Global;
use crate::control::{Client, Reply, Request};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::progress::{Progress, print_json, sentence};

/// Asks the daemon and shows progress.
pub(crate) fn sync(global: &Global, json: bool) -> Result<()> {
    let chosen = chosen(global)?;
    let Some(mut daemon) = Client::connect(&chosen.places.socket)? else {
        return Err(Failure::failed(format!("the vault '{}' is not mounted", chosen.name))
            .advise("mount it: what is pending goes to the store then"));
    };
    let progress = Progress::new(json, "syncing:");
    let status = daemon.must_answer(&Request::Sync, &mut |pending| progress.pending(pending))?;
    progress.finish();
    let pending = status.pending.clone().unwrap_or_default();
    let store_error = pending.store_error.clone();
    if json {
        print_json(&Reply::Done { status: Box::new(status) });
    } else {
        // Others go on writing meanwhile: what was there when the command began is on the store.
        let rest =
            if pending.is_nothing() { String::new() } else { format!(" ({} since)", sentence(&pending)) };
        println!("Everything written before is on the store{rest}.");
    }
    match store_error {
        Some(error) => Err(Failure::new(Exit::Partial, format!("the store has trouble since: {error}"))),
        None => Ok(()),
    }
}
