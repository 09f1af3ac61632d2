//! `mount.keepfs`: what mount(8) calls for `mount -t keepfs SOURCE TARGET -o …` and for lines of fstab.
//!
//! The source is the name of a vault on this machine or the URL of its store.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::commands::{Chosen, Wish, mount};
use crate::config::{ConfigFile, MountOptions};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::home::{Home, check_vault_name};

const USAGE: &str = "usage: mount.keepfs SOURCE TARGET [-fnrsvw] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]";

/// The helper's arguments, as mount(8) documents them for every helper.
#[derive(Default, PartialEq, Eq, Debug)]
struct Call {
    source: String,
    target: PathBuf,
    /// Everything after `-o`, our own options already taken out.
    options: Vec<String>,
    vault: Option<String>,
    home: Option<PathBuf>,
    /// `-f`: everything but the mount itself.
    fake: bool,
    read_only: bool,
}

/// Mounts in the background, with the password from the options, config.toml or the environment.
pub(crate) fn run(words: &[OsString]) -> Result<()> {
    let call = parse(words)?;
    let home = Home::find(
        call.home.clone().or_else(|| std::env::var_os("KEEPFS_HOME").map(PathBuf::from)).as_deref(),
    )?;
    let chosen = choose(&call, home)?;
    let mut options = MountOptions::of(&chosen.config);
    for list in &call.options {
        options.apply_list(list)?;
    }
    options.read_only |= call.read_only;
    if call.fake {
        return Ok(());
    }
    mount(Wish::unattended(chosen, call.target, options))
}

fn parse(words: &[OsString]) -> Result<Call> {
    let wrong = |what: &str| Failure::usage(what).advise(USAGE);
    let mut call = Call::default();
    let mut plain = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = |name: &str| {
            let value = words.next().and_then(|value| value.to_str());
            value.map(str::to_owned).ok_or_else(|| wrong(&format!("{name} needs a value")))
        };
        match word.to_str() {
            Some("-o") => take_options(&mut call, &value("-o")?)?,
            Some("-N") => {
                value("-N")?;
                return Err(wrong("mounting in another mount namespace is not supported"));
            }
            // The type was decided when this helper was called.
            Some("-t") => drop(value("-t")?),
            Some(flags) if flags.len() > 1 && flags.starts_with('-') => {
                for flag in flags[1..].chars() {
                    match flag {
                        'f' => call.fake = true,
                        'r' => call.read_only = true,
                        'n' | 's' | 'v' | 'w' => {}
                        _ => return Err(wrong(&format!("-{flag} is not understood"))),
                    }
                }
            }
            _ => plain.push(word.clone()),
        }
    }
    let [source, target] =
        <[OsString; 2]>::try_from(plain).map_err(|_| wrong("a source and a target are needed"))?;
    call.source = source.into_string().map_err(|_| wrong("the source is not valid UTF-8"))?;
    call.target = PathBuf::from(target);
    Ok(call)
}

/// Keeps `vault=` and `home=` for ourselves; they say where the rest of the configuration is.
fn take_options(call: &mut Call, list: &str) -> Result<()> {
    let mut rest = Vec::new();
    for option in list.split(',') {
        match option.split_once('=') {
            Some(("vault", name)) => call.vault = Some(name.to_owned()),
            Some(("home", path)) => call.home = Some(PathBuf::from(path)),
            _ => rest.push(option),
        }
    }
    call.options.push(rest.join(","));
    Ok(())
}

/// The vault: by `vault=`, by name, or by the URL of its store.
fn choose(call: &Call, home: Home) -> Result<Chosen> {
    let file = ConfigFile::load(&home)?;
    let is_url = call.source.contains(':');
    let name = match &call.vault {
        Some(name) => name.clone(),
        None if is_url => file
            .config
            .vaults
            .iter()
            .find(|(_, vault)| vault.store == call.source)
            .map(|(name, _)| name.clone())
            .ok_or_else(|| {
                Failure::new(Exit::NoVault, "this machine has no vault on that store")
                    .at(&call.source)
                    .advise(format!("attach it once with 'keepfs join {}'", call.source))
            })?,
        None => call.source.clone(),
    };
    check_vault_name(&name)?;
    let config = file.vault(&name)?.clone();
    if is_url && config.store != call.source {
        return Err(Failure::usage(format!("vault '{name}' lies on {}", config.store)).at(&call.source));
    }
    Ok(Chosen { places: home.vault(&name), name, config, home })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn call(words: &[&str]) -> Result<Call> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn call_of_mount_is_understood() {
        let call =
            call(&["default", "/mnt", "-rv", "-o", "rw,home=/var/keepfs,_netdev,vault=a", "-t", "keepfs"])
                .unwrap();
        assert_eq!(call.source, "default");
        assert_eq!(call.target, Path::new("/mnt"));
        assert_eq!(call.options, ["rw,_netdev"]);
        assert_eq!(call.vault.as_deref(), Some("a"));
        assert_eq!(call.home.as_deref(), Some(Path::new("/var/keepfs")));
        assert!(call.read_only && !call.fake);
    }

    #[test]
    fn wrong_calls_are_usage_errors() {
        for words in
            [&["a"][..], &["a", "b", "c"], &["a", "b", "-o"], &["a", "b", "-q"], &["a", "b", "-N", "1"]]
        {
            assert_eq!(call(words).unwrap_err().exit, Exit::Usage);
        }
    }

    #[test]
    fn source_is_a_name_or_a_url() {
        let directory = tempfile::tempdir().unwrap();
        let home = || Home::find(Some(directory.path())).unwrap();
        ConfigFile::edit(&home(), |file| file.add_vault("work", "file:///srv/work")).unwrap();
        let choose_from = |source: &str, vault: Option<&str>| {
            let call = Call { source: source.into(), vault: vault.map(str::to_owned), ..Call::default() };
            choose(&call, home()).map(|chosen| chosen.name)
        };
        assert_eq!(choose_from("work", None).unwrap(), "work");
        assert_eq!(choose_from("file:///srv/work", None).unwrap(), "work");
        assert_eq!(choose_from("anything", Some("work")).unwrap(), "work");
        assert_eq!(choose_from("file:///srv/other", None).unwrap_err().exit, Exit::NoVault);
        assert_eq!(choose_from("file:///srv/other", Some("work")).unwrap_err().exit, Exit::Usage);
        assert_eq!(choose_from("home", None).unwrap_err().exit, Exit::NoVault);
    }
}
