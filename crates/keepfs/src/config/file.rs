//! Reading and changing `config.toml`: 0600, written atomically, edited in place so that comments survive.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use toml_edit::{DocumentMut, Item, Table, value};

use super::{Config, VaultConfig};
use crate::exit::Exit;
use crate::failure::{Doing, Failure, Result};
use crate::home::{Home, check_vault_name, make_private_dir, sync_directory_of};

/// A configuration beyond this is not ours.
const CONFIG_LEN_MAX: u64 = 1 << 20;

/// The settings of a vault that `config get|set|unset` knows.
pub(crate) const SETTINGS: [&str; 8] = [
    "store",
    "compression",
    "durability",
    "cache_limit",
    "allow_other",
    "read_only",
    "password_file",
    "password_command",
];

/// The file and what it says.
pub(crate) struct ConfigFile {
    path: PathBuf,
    document: DocumentMut,
    /// What it says.
    pub(crate) config: Config,
}

impl ConfigFile {
    /// Reads it; no file is an empty configuration.
    pub(crate) fn load(home: &Home) -> Result<Self> {
        let path = home.config_file();
        let text = read_limited(&path)?;
        Self::parse(path, &text)
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let wrong = |error: &dyn std::fmt::Display| {
            Failure::failed(format!("config.toml is not understood: {error}"))
                .at(path.display())
                .advise("correct or restore the file")
        };
        let document: DocumentMut = text.parse().map_err(|error| wrong(&error))?;
        let config: Config = toml_edit::de::from_str(text).map_err(|error| wrong(&error))?;
        for name in config.vaults.keys() {
            check_vault_name(name)?;
        }
        Ok(Self { path, document, config })
    }

    /// The vault of that name.
    ///
    /// # Errors
    /// `NoVault`, with the command that would make one.
    pub(crate) fn vault(&self, name: &str) -> Result<&VaultConfig> {
        self.config.vaults.get(name).ok_or_else(|| {
            let known: Vec<_> = self.config.vaults.keys().map(String::as_str).collect();
            let advice = if known.is_empty() {
                "create one with 'keepfs init STORE-URL' or attach one with 'keepfs join STORE-URL'"
                    .to_owned()
            } else {
                format!("name one of these with --vault: {}", known.join(", "))
            };
            Failure::new(Exit::NoVault, format!("this machine knows no vault '{name}'"))
                .at(self.path.display())
                .advise(advice)
        })
    }

    /// Changes the file under a lock, so that two commands at once lose nothing.
    ///
    /// `change` gets the newest content; what it leaves is checked before it is written.
    pub(crate) fn edit(home: &Home, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        make_private_dir(&home.config_dir)?;
        let directory = File::open(&home.config_dir).doing("open the configuration directory")?;
        flock(&directory, FlockOperation::LockExclusive).doing("lock the configuration directory")?;
        let mut file = Self::load(home)?;
        change(&mut file)?;
        let text = file.document.to_string();
        Self::parse(file.path.clone(), &text)?;
        replace_private_file(&file.path, text.as_bytes())
    }

    /// Adds a vault.
    ///
    /// # Errors
    /// `Failed` if the name is taken: an entry is never overwritten.
    pub(crate) fn add_vault(&mut self, name: &str, store: &str) -> Result<()> {
        if let Some(there) = self.config.vaults.get(name) {
            return Err(Failure::failed(format!(
                "this machine already has a vault '{name}' on {}",
                there.store
            ))
            .at(self.path.display())
            .advise("choose another name with --vault"));
        }
        let vaults = self.document.entry("vaults").or_insert_with(|| {
            let mut table = Table::new();
            table.set_implicit(true);
            Item::Table(table)
        });
        let mut table = Table::new();
        table.insert("store", value(store));
        vaults[name] = Item::Table(table);
        Ok(())
    }

    /// Sets one setting (`Some`) or removes it (`None`).
    pub(crate) fn set(&mut self, vault: &str, key: &str, to: Option<&str>) -> Result<()> {
        self.vault(vault)?;
        check_setting(key)?;
        let table = &mut self.document["vaults"][vault];
        match to {
            Some(text) if matches!(key, "allow_other" | "read_only") => {
                let flag: bool = text.parse().map_err(|_| {
                    Failure::usage(format!("'{text}' is not a value of {key}")).advise("write true or false")
                })?;
                table[key] = value(flag);
            }
            Some(text) => table[key] = value(text),
            None if key == "store" => {
                return Err(Failure::usage("a vault without a store is no vault").at(key));
            }
            None => {
                if let Some(table) = table.as_table_like_mut() {
                    table.remove(key);
                }
            }
        }
        // The check after the edit names the line; here the reader wants to know the value.
        toml_edit::de::from_document::<Config>(self.document.clone())
            .map_err(|error| Failure::usage(error.message()).at(key))?;
        Ok(())
    }

    /// One setting as text; `None` when it is not set.
    pub(crate) fn get(&self, vault: &str, key: &str) -> Result<Option<String>> {
        self.vault(vault)?;
        check_setting(key)?;
        let item = self.document.get("vaults").and_then(|vaults| vaults.get(vault)?.get(key));
        Ok(item.and_then(Item::as_value).map(|value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string().trim().to_owned(),
        }))
    }
}

fn check_setting(key: &str) -> Result<()> {
    if SETTINGS.contains(&key) {
        return Ok(());
    }
    Err(Failure::usage(format!("there is no setting '{key}'"))
        .advise(format!("the settings are {}", SETTINGS.join(", "))))
}

fn read_limited(path: &Path) -> Result<String> {
    let failed = |error: std::io::Error| {
        Failure::failed(format!("cannot read the configuration: {error}")).at(path.display())
    };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut text = String::new();
    file.take(CONFIG_LEN_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > CONFIG_LEN_MAX {
        return Err(Failure::failed("config.toml is larger than 1 MiB").at(path.display()));
    }
    Ok(text)
}

/// Replaces a file by a new one of mode 0600; after a crash either the old or the new one is there.
fn replace_private_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let failed = |error: std::io::Error| Failure::failed(format!("cannot write: {error}")).at(path.display());
    let temporary = path.with_extension("new");
    let written = (|| {
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        sync_directory_of(path)
    })();
    written.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Durability;
    use std::os::unix::fs::MetadataExt;

    fn home() -> (tempfile::TempDir, Home) {
        let directory = tempfile::tempdir().unwrap();
        let home = Home::find(Some(&directory.path().join("home"))).unwrap();
        (directory, home)
    }

    #[test]
    fn vault_is_added_once_and_never_overwritten() {
        let (_directory, home) = home();
        ConfigFile::edit(&home, |file| file.add_vault("default", "file:///a")).unwrap();
        ConfigFile::edit(&home, |file| file.add_vault("b.c", "file:///b")).unwrap();
        assert!(ConfigFile::edit(&home, |file| file.add_vault("default", "file:///x")).is_err());
        let file = ConfigFile::load(&home).unwrap();
        assert_eq!(file.vault("default").unwrap().store, "file:///a");
        assert_eq!(file.vault("b.c").unwrap().store, "file:///b");
        assert_eq!(fs::metadata(home.config_file()).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn setting_keeps_comments_and_is_checked() {
        let (_directory, home) = home();
        make_private_dir(&home.config_dir).unwrap();
        fs::write(home.config_file(), "# mine\n[vaults.default]\nstore = \"file:///a\" # here\n").unwrap();
        ConfigFile::edit(&home, |file| file.set("default", "durability", Some("remote"))).unwrap();
        ConfigFile::edit(&home, |file| file.set("default", "allow_other", Some("true"))).unwrap();
        ConfigFile::edit(&home, |file| file.set("default", "cache_limit", Some("5GiB"))).unwrap();
        for (key, wrong) in
            [("durability", "yes"), ("allow_other", "1"), ("cache_limit", "x"), ("colour", "red")]
        {
            let failure = ConfigFile::edit(&home, |file| file.set("default", key, Some(wrong))).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{failure}");
        }
        let text = fs::read_to_string(home.config_file()).unwrap();
        assert!(text.starts_with("# mine\n") && text.contains("# here"), "{text}");
        let file = ConfigFile::load(&home).unwrap();
        assert_eq!(file.vault("default").unwrap().durability, Some(Durability::Remote));
        assert_eq!(file.get("default", "allow_other").unwrap().as_deref(), Some("true"));
        ConfigFile::edit(&home, |file| file.set("default", "durability", None)).unwrap();
        assert_eq!(ConfigFile::load(&home).unwrap().get("default", "durability").unwrap(), None);
    }

    #[test]
    fn unknown_key_in_the_file_is_refused_by_name() {
        let (_directory, home) = home();
        make_private_dir(&home.config_dir).unwrap();
        fs::write(home.config_file(), "[vaults.default]\nstore = \"file:///a\"\ncolour = 1\n").unwrap();
        let failure = ConfigFile::load(&home).map(|_| ()).unwrap_err();
        assert!(failure.to_string().contains("colour"), "{failure}");
    }

    #[test]
    fn example_in_the_document_is_understood() {
        let document = include_str!("../../../../docs/cli.md");
        let example = document.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let file = ConfigFile::parse("config.toml".into(), example).unwrap();
        assert_eq!(file.config.vaults.len(), 2);
    }

    #[test]
    fn missing_vault_says_how_to_make_one() {
        let (_directory, home) = home();
        let failure = ConfigFile::load(&home).unwrap().vault("default").map(|_| ()).unwrap_err();
        assert_eq!(failure.exit, Exit::NoVault);
        assert!(failure.to_string().contains("keepfs init"));
    }
}
