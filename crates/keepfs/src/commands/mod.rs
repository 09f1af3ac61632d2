//! One module a command. A command asks, prints and returns; what lasts happens in the daemon or in the library.

#[cfg(feature = "telegram")]
mod auth;
mod cache;
mod config;
mod copy;
mod init;
mod inspect;
mod key;
mod mount;
mod paths;
mod randomness;
mod status;
mod store_check;
mod store_login;
mod sync;
mod unmount;

pub(crate) use mount::{Wish, mount};

use std::io::Write;
use std::path::Path;

use clap::CommandFactory;

use crate::args::{Arguments, Command, Global, StoreAction, UnlockWith};
use crate::config::{ConfigFile, DEFAULT_VAULT, VaultConfig};
use crate::failure::Result;
use crate::home::{Home, VaultPlaces, check_vault_name};
use crate::password::{self, Sources};
use crate::phrase;
use crate::wiring::Secret;

/// Does what the arguments say.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let global = arguments.global;
    crate::host::restore_terminal_on_interrupt();
    #[cfg(feature = "telegram")]
    if let Ok(home) = Home::find(global.home.as_deref()) {
        crate::wiring::belong_to(&home.state_dir);
    }
    match arguments.command {
        Command::Init(init) => init::init(&global, &init),
        Command::Join(join) => init::join(&global, &join),
        Command::Mount(flags) => mount::from_flags(&global, &flags),
        Command::Unmount(unmount) => unmount::unmount(&global, &unmount),
        Command::Status(output) => status::status(&global, output.json),
        Command::Sync(output) => sync::sync(&global, output.json),
        #[cfg(feature = "telegram")]
        Command::Auth(wish) => auth::auth(&global, &wish),
        Command::Cache(cache) => cache::cache(&global, &cache),
        Command::Key(key) => key::key(&global, key.action),
        Command::Config(action) => config::config(&global, action.action),
        Command::Paths(output) => paths::paths(&global, output.json),
        Command::Completions { shell } => completions(shell),
        Command::Inspect(wish) => inspect::inspect(&global, &wish),
        Command::Copy(wish) => copy::copy(&global, &wish),
        Command::Store(store) => match store.action {
            StoreAction::Check { store, json } => store_check::check(&global, &store, json),
            StoreAction::Login { store } => store_login::login(&global, &store),
            StoreAction::Logout { store } => store_login::logout(&global, &store),
        },
    }
}

fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "keepfs", &mut script);
    // A pipe that was closed early got what it wanted.
    let _ = std::io::stdout().write_all(&script);
    Ok(())
}

/// The vault that a command is about.
pub(crate) struct Chosen {
    /// Its name on this machine.
    pub(crate) name: String,
    /// What config.toml says.
    pub(crate) config: VaultConfig,
    /// Its places on this machine.
    pub(crate) places: VaultPlaces,
    /// The installation it belongs to.
    pub(crate) home: Home,
}

/// The vault named by `--vault`, or `default`.
pub(crate) fn chosen(global: &Global) -> Result<Chosen> {
    let home = Home::find(global.home.as_deref())?;
    let name = global.vault.as_deref().unwrap_or(DEFAULT_VAULT);
    check_vault_name(name)?;
    let config = ConfigFile::load(&home)?.vault(name)?.clone();
    Ok(Chosen { name: name.to_owned(), config, places: home.vault(name), home })
}

/// What opens an existing vault: the phrase if it was asked for, otherwise the password, for which mount options
/// or config.toml may name a file and a command.
fn secret(
    from: &UnlockWith,
    (configured_file, configured_command): (Option<&Path>, Option<&str>),
    prompt: &str,
) -> Result<Secret> {
    if from.phrase || from.phrase_file.is_some() {
        return Ok(Secret::Phrase(phrase::existing(from.phrase_file.as_deref())?));
    }
    let sources = Sources { flags: &from.password, configured_file, configured_command };
    Ok(Secret::Password(password::existing(&sources, prompt)?))
}

/// Tells what was dealt with on the way.
fn tell(notices: &[keepfs_fs::home::Notice]) {
    for notice in notices {
        eprintln!("keepfs: note: {notice}");
    }
}
