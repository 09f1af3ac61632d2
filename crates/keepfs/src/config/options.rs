//! How a vault is mounted: config.toml, then `-o`, then the flags, each over the one before. Parses, never mounts.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::VaultConfig;
use crate::failure::{Failure, Result};
use crate::size::Size;

/// What fsync waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Durability {
    /// This machine's disk
    #[default]
    Local,
    /// The store
    Remote,
}

/// How blocks are compressed before they are sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Compression {
    /// Level 1, where it helps
    #[default]
    Zstd,
    /// For speed
    Lz4,
    /// Not at all
    None,
}

/// Options of one mount, complete.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MountOptions {
    /// Other users of this machine may enter.
    pub(crate) allow_other: bool,
    /// Every change is refused.
    pub(crate) read_only: bool,
    /// What fsync waits for.
    pub(crate) durability: Durability,
    /// How blocks are compressed.
    pub(crate) compression: Compression,
    /// Most bytes of local disk for sealed copies of remote objects.
    pub(crate) cache_limit: Option<Size>,
    /// Most bytes a second to a remote store.
    #[serde(default)]
    pub(crate) limit_upload: Option<Size>,
    /// Most bytes a second from a remote store.
    #[serde(default)]
    pub(crate) limit_download: Option<Size>,
    /// The kernel refuses to execute what lies there.
    pub(crate) no_exec: bool,
    /// Where the password is, if the options said so.
    #[serde(skip)]
    pub(crate) password_file: Option<PathBuf>,
    /// A shell command that prints it, if the options said so.
    #[serde(skip)]
    pub(crate) password_command: Option<String>,
}

/// What `mount(8)` and fstab pass to every helper and means nothing to us, because it steers others (`noauto`,
/// `_netdev`) or always holds (`nosuid`, `nodev`, `default_permissions`).
const IGNORED: [&str; 25] = [
    "defaults",
    "auto",
    "noauto",
    "user",
    "nouser",
    "users",
    "owner",
    "group",
    "_netdev",
    "nofail",
    "async",
    "dev",
    "suid",
    "nodev",
    "nosuid",
    "relatime",
    "norelatime",
    "noatime",
    "nodiratime",
    "strictatime",
    "lazytime",
    "default_permissions",
    "nolazytime",
    "diratime",
    "silent",
];

impl MountOptions {
    /// What config.toml says about a vault.
    pub(crate) fn of(config: &VaultConfig) -> Self {
        Self {
            allow_other: config.allow_other.unwrap_or_default(),
            read_only: config.read_only.unwrap_or_default(),
            durability: config.durability.unwrap_or_default(),
            compression: config.compression.unwrap_or_default(),
            cache_limit: config.cache_limit,
            limit_upload: config.limit_upload,
            limit_download: config.limit_download,
            no_exec: false,
            password_file: config.password_file.clone(),
            password_command: config.password_command.clone(),
        }
    }

    /// Applies a list in the form of fstab, left to right.
    ///
    /// # Errors
    /// Usage, naming the first option that is unknown or has a wrong value.
    pub(crate) fn apply_list(&mut self, list: &str) -> Result<()> {
        for option in list.split(',').filter(|option| !option.is_empty()) {
            let (key, value) = match option.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (option, None),
            };
            self.apply(key, value).map_err(|failure| failure.at(format_args!("-o {option}")))?;
        }
        Ok(())
    }

    fn apply(&mut self, key: &str, value: Option<&str>) -> Result<()> {
        match (key, value) {
            ("allow_other", None) => self.allow_other = true,
            ("ro", None) => self.read_only = true,
            ("rw", None) => self.read_only = false,
            ("noexec", None) => self.no_exec = true,
            ("exec", None) => self.no_exec = false,
            ("sync", None) => self.durability = Durability::Remote,
            ("durability", Some(value)) => self.durability = choice(value)?,
            ("compression", Some(value)) => self.compression = choice(value)?,
            ("cache_limit", Some(value)) => self.cache_limit = Some(size(value)?),
            ("limit_upload", Some(value)) => self.limit_upload = Some(size(value)?),
            ("limit_download", Some(value)) => self.limit_download = Some(size(value)?),
            ("password_file", Some(value)) => self.password_file = Some(PathBuf::from(value)),
            ("password_command", Some(value)) => self.password_command = Some(value.to_owned()),
            (key, None) if IGNORED.contains(&key) => {}
            (key, _) if key.starts_with("x-") || key.starts_with("X-") || key == "comment" => {}
            _ => {
                return Err(Failure::usage(format!(
                    "'{key}' is not a mount option, or its value is missing"
                ))
                .advise("docs/cli.md lists them"));
            }
        }
        Ok(())
    }
}

fn size(value: &str) -> Result<Size> {
    Size::from_str(value).map_err(Failure::usage)
}

fn choice<T: ValueEnum>(value: &str) -> Result<T> {
    T::from_str(value, true).map_err(|_| {
        let known: Vec<_> = T::value_variants()
            .iter()
            .filter_map(|variant| Some(variant.to_possible_value()?.get_name().to_owned()))
            .collect();
        Failure::usage(format!("'{value}' is not one of {}", known.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fstab_list_is_understood() {
        let mut options = MountOptions::default();
        options
            .apply_list("rw,_netdev,nofail,x-systemd.automount,user,allow_other,nosuid,durability=remote,cache_limit=1GiB")
            .unwrap();
        options.apply_list("password_file=/etc/keepfs/a b,,compression=lz4").unwrap();
        assert!(options.allow_other && !options.read_only);
        assert_eq!(options.durability, Durability::Remote);
        assert_eq!(options.compression, Compression::Lz4);
        assert_eq!(options.cache_limit, Some(Size(1 << 30)));
        assert!(!options.no_exec);
        assert_eq!(options.password_file.as_deref(), Some(std::path::Path::new("/etc/keepfs/a b")));
    }

    #[test]
    fn unknown_option_is_refused_and_named() {
        for list in ["allow_othr", "compression", "compression=zip", "cache_limit=big", "ro=1"] {
            let failure = MountOptions::default().apply_list(list).unwrap_err();
            assert!(failure.to_string().contains(&format!("-o {list}")), "{failure}");
        }
    }
}
