//! `config`: reads and changes config.toml.

use crate::args::{ConfigAction, Global, Json};
use crate::config::{ConfigFile, DEFAULT_VAULT, SETTINGS};
use crate::failure::Result;
use crate::home::{Home, check_vault_name};
use crate::progress::print_json;

/// Does one action; lists everything without one.
pub(crate) fn config(global: &Global, action: Option<ConfigAction>) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let vault = global.vault.as_deref().unwrap_or(DEFAULT_VAULT);
    check_vault_name(vault)?;
    match action.unwrap_or(ConfigAction::List(Json { json: false })) {
        ConfigAction::Get { key } => {
            if let Some(value) = ConfigFile::load(&home)?.get(vault, &key)? {
                println!("{value}");
            }
            Ok(())
        }
        ConfigAction::Set { key, value } => {
            ConfigFile::edit(&home, |file| file.set(vault, &key, Some(&value)))
        }
        ConfigAction::Unset { key } => ConfigFile::edit(&home, |file| file.set(vault, &key, None)),
        ConfigAction::List(output) => list(&home, output.json),
    }
}

fn list(home: &Home, json: bool) -> Result<()> {
    let file = ConfigFile::load(home)?;
    if json {
        print_json(&file.config);
        return Ok(());
    }
    for name in file.config.vaults.keys() {
        for key in SETTINGS {
            if let Some(value) = file.get(name, key)? {
                println!("{name}.{key} = {value}");
            }
        }
    }
    Ok(())
}
