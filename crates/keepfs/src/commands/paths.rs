//! `paths`: where everything of ours stands on this machine.

use serde::Serialize;

use crate::args::Global;
use crate::config::ConfigFile;
use crate::failure::Result;
use crate::home::{Home, VaultPlaces};
use crate::progress::print_json;

#[derive(Serialize)]
struct Paths {
    config: std::path::PathBuf,
    state: std::path::PathBuf,
    vaults: Vec<NamedPlaces>,
}

#[derive(Serialize)]
struct NamedPlaces {
    name: String,
    #[serde(flatten)]
    places: VaultPlaces,
}

/// Prints them.
pub(crate) fn paths(global: &Global, json: bool) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let names = ConfigFile::load(&home)?.config.vaults.into_keys();
    let vaults = names.map(|name| NamedPlaces { places: home.vault(&name), name }).collect();
    let paths = Paths { config: home.config_file(), state: home.state_dir, vaults };
    if json {
        print_json(&paths);
        return Ok(());
    }
    println!("config: {}", paths.config.display());
    println!("state:  {}", paths.state.display());
    for vault in &paths.vaults {
        println!("vault {}:", vault.name);
        println!("  state:  {}", vault.places.state.display());
        println!("  socket: {}", vault.places.socket.display());
        println!("  lock:   {}", vault.places.lock.display());
        println!("  log:    {}", vault.places.log.display());
    }
    Ok(())
}
