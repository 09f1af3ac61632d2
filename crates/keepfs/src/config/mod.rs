//! `config.toml`: which vaults this machine knows and how each is mounted by default. Holds no secret.

mod file;
mod options;

pub(crate) use file::{ConfigFile, SETTINGS};
pub(crate) use options::{Compression, Durability, MountOptions};

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::size::Size;

/// Name of the vault that is meant when none is named.
pub(crate) const DEFAULT_VAULT: &str = "default";

/// The whole file.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// Vaults by their name on this machine.
    #[serde(default)]
    pub(crate) vaults: BTreeMap<String, VaultConfig>,
}

/// One vault. Only `store` must be there; what is absent has the default that docs/cli.md names.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct VaultConfig {
    /// URL of the store.
    pub(crate) store: String,
    /// See `mount --compression`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compression: Option<Compression>,
    /// See `mount --durability`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<Durability>,
    /// See `mount --cache-limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cache_limit: Option<Size>,
    /// See `mount --limit-upload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_upload: Option<Size>,
    /// See `mount --limit-download`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit_download: Option<Size>,
    /// See `mount --allow-other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) allow_other: Option<bool>,
    /// See `mount --read-only`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) read_only: Option<bool>,
    /// Where the password is read from when nothing else says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_file: Option<PathBuf>,
    /// A shell command that prints the password, when nothing else says where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) password_command: Option<String>,
}
