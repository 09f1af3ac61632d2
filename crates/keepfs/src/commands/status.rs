//! `status`: what this machine knows of its vaults; asks the daemons that run, reads the rest from disk.

use serde::Serialize;

use super::chosen;
use crate::args::Global;
use crate::config::{ConfigFile, VaultConfig};
use crate::control::{Client, Health, Request, Status};
use crate::environment::now_secs;
use crate::failure::Result;
use crate::home::{Home, VaultPlaces};
use crate::leftover;
use crate::progress::{print_json, sentence};
use crate::size::{Size, span};
use crate::wiring;

#[derive(Serialize)]
struct Report {
    vaults: Vec<Status>,
}

/// Shows the vault of `--vault`, or all of them.
pub(crate) fn status(global: &Global, json: bool) -> Result<()> {
    let vaults = match &global.vault {
        Some(_) => {
            let chosen = chosen(global)?;
            vec![of_vault(&chosen.name, &chosen.config, &chosen.places)?]
        }
        None => {
            let home = Home::find(global.home.as_deref())?;
            let configs = ConfigFile::load(&home)?.config.vaults;
            configs
                .iter()
                .map(|(name, config)| of_vault(name, config, &home.vault(name)))
                .collect::<Result<_>>()?
        }
    };
    if json {
        print_json(&Report { vaults });
        return Ok(());
    }
    if vaults.is_empty() {
        println!("This machine knows no vault; 'keepfs init STORE-URL' creates one.");
    }
    for (position, vault) in vaults.iter().enumerate() {
        if position > 0 {
            println!();
        }
        print(vault);
    }
    Ok(())
}

/// From the daemon, or from disk when none runs.
pub(crate) fn of_vault(name: &str, config: &VaultConfig, places: &VaultPlaces) -> Result<Status> {
    if let Some(mut daemon) = Client::connect(&places.socket)?
        && let Some(status) = daemon.ask(&Request::Status, &mut |_| {})?
    {
        return Ok(status);
    }
    Ok(Status {
        vault: name.to_owned(),
        store: config.store.clone(),
        mounted: false,
        mount_point: None,
        pid: None,
        since: None,
        read_only: config.read_only.unwrap_or_default(),
        durability: config.durability.unwrap_or_default(),
        compression: config.compression.unwrap_or_default(),
        inodes: None,
        content_bytes: None,
        pending: leftover::recall(places),
        health: Health { healthy: true, reason: None, damaged: Vec::new() },
        cache: None,
        traffic: None,
        recovered: None,
        memory: None,
    })
}

fn print(status: &Status) {
    println!("vault {} on {}", status.vault, status.store);
    match (&status.mount_point, status.pid, status.since) {
        (Some(point), Some(pid), Some(since)) => {
            let age = span(now_secs().saturating_sub(since));
            let how = if status.read_only { ", read-only" } else { "" };
            println!("  mounted:   {} for {age} (pid {pid}{how})", point.display());
        }
        _ => println!("  mounted:   no"),
    }
    if let (Some(inodes), Some(bytes)) = (status.inodes, status.content_bytes) {
        println!("  files:     {inodes} files and directories, {} of content", Size(bytes));
    }
    match &status.pending {
        Some(pending) => println!("  store:     {}", sentence(pending)),
        None => println!("  store:     what is pending is known after the next mount"),
    }
    match &status.health.reason {
        _ if status.health.healthy && !status.mounted => {}
        _ if status.health.healthy => println!("  health:    good"),
        Some(reason) => println!("  health:    NOT GOOD: {reason}"),
        None => println!("  health:    NOT GOOD"),
    }
    for damage in &status.health.damaged {
        let path = damage.path.as_deref().unwrap_or("no longer in the tree");
        println!("    damaged: {path} (inode {})", damage.inode);
    }
    if let Some(recovered) = &status.recovered {
        println!("  recovered: {}", wiring::recovered_sentence(recovered));
    }
    if let Some(cache) = &status.cache {
        println!("  cache:     {} of {}", Size(cache.bytes), Size(cache.limit));
    }
    if let Some(traffic) = &status.traffic {
        println!(
            "  traffic:   {} requests ({} failed), {} sent, {} received",
            traffic.requests,
            traffic.errors,
            Size(traffic.sent_bytes),
            Size(traffic.received_bytes)
        );
    }
    if let Some(memory) = &status.memory {
        let pools: Vec<_> =
            memory.pools.iter().map(|(name, bytes)| format!("{name} {}", Size(*bytes))).collect();
        println!("  memory:    {} ({})", Size(memory.resident), pools.join(", "));
    }
}
