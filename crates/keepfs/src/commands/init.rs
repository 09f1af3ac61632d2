//! `init` and `join`: a vault becomes known to this machine.

use keepfs_stores::OpenOptions;

use crate::args::{Global, Init, Join};
use crate::config::{ConfigFile, DEFAULT_VAULT};
use crate::failure::{Failure, Result};
use crate::home::{Home, VaultPlaces, check_vault_name};
use crate::host::Holder;
use crate::password::{self, Sources};
use crate::phrase::Outlet;
use crate::progress::Progress;
use crate::wiring::{self, Guard};

/// What the owner of a vault must know whose one store is a Telegram account.
const ONLY_TELEGRAM: &str = "keepfs: warning: a Telegram account is the only store of this vault. Telegram promises \
    nothing about files, this is an unofficial client, and accounts can be ended at any time: keep a second copy \
    elsewhere";

/// Where a vault that is not in config.toml yet will stand.
struct Newcomer {
    home: Home,
    name: String,
    store: String,
    places: VaultPlaces,
}

impl Newcomer {
    /// Refuses before anything is asked or made: names that are taken, URLs that are none.
    fn check(global: &Global, store: &str) -> Result<Self> {
        let home = Home::find(global.home.as_deref())?;
        let name = global.vault.as_deref().unwrap_or(DEFAULT_VAULT).to_owned();
        check_vault_name(&name)?;
        let store = wiring::normalize_url(store).map_err(|error| Failure::usage(error.to_string()))?;
        ConfigFile::load(&home)?.add_vault(&name, &store)?;
        Ok(Self { places: home.vault(&name), home, name, store })
    }

    fn register(&self) -> Result<()> {
        ConfigFile::edit(&self.home, |file| file.add_vault(&self.name, &self.store))
    }
}

/// Creates a vault.
pub(crate) fn init(global: &Global, wish: &Init) -> Result<()> {
    let mut newcomer = Newcomer::check(global, &wish.store)?;
    let kdf = wiring::kdf_of(wish.kdf_memory)?;
    wiring::check_vacant(&newcomer.store, &newcomer.places.credentials)?;
    let sources = Sources { flags: &wish.password, configured_file: None, configured_command: None };
    let password = password::new(&sources)?;
    let guard = Guard::take(&newcomer.places, &Holder::command("init"))?;
    newcomer.store =
        wiring::try_out(&newcomer.store, OpenOptions { create: true }, &newcomer.places.credentials)?;
    let guard = guard.with_store(&newcomer.store, OpenOptions { create: true })?;
    let outlet = Outlet::open(wish.phrase_file.as_deref(), wish.yes)?;
    let moment = Progress::moment("making the vault");
    let founded = wiring::found(&guard, &password, kdf);
    drop(moment);
    let (phrase, notices) = match founded {
        Ok(founded) => founded,
        Err(failure) => {
            outlet.discard();
            return Err(failure);
        }
    };
    // The phrase is shown whatever happens to config.toml: there is no second chance to see it.
    let registered = newcomer.register();
    drop(guard);
    println!("Vault '{}' is on {}.", newcomer.name, newcomer.store);
    super::tell(&notices);
    outlet.show(&phrase)?;
    registered?;
    if newcomer.store.starts_with("telegram:") {
        eprintln!("{ONLY_TELEGRAM}");
    }
    println!("Mount it with: keepfs mount{} PATH", flag(&newcomer.name));
    Ok(())
}

/// Attaches this machine to a vault.
pub(crate) fn join(global: &Global, wish: &Join) -> Result<()> {
    let mut newcomer = Newcomer::check(global, &wish.store)?;
    let guard = Guard::take(&newcomer.places, &Holder::command("join"))?
        .with_store(&newcomer.store, OpenOptions::default())?;
    wiring::check_vault(&guard)?;
    let secret = super::secret(&wish.unlock, (None, None), "Password of the vault: ")?;
    newcomer.store = wiring::try_out(&newcomer.store, OpenOptions::default(), &newcomer.places.credentials)?;
    let guard = guard.with_store(&newcomer.store, OpenOptions::default())?;
    let moment = Progress::moment("reading the vault");
    let notices = wiring::join(&guard, &secret)?;
    drop(moment);
    newcomer.register()?;
    super::tell(&notices);
    println!("This machine is attached to the vault on {}.", newcomer.store);
    println!("Mount it with: keepfs mount{} PATH", flag(&newcomer.name));
    Ok(())
}

fn flag(name: &str) -> String {
    if name == DEFAULT_VAULT { String::new() } else { format!(" --vault {name}") }
}
