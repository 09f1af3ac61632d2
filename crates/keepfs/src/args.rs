//! The command line as types. Declares, never acts.
//!
//! Every option of lasting use has an environment variable, because units and containers set those more easily.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::config::{Compression, Durability};
use crate::size::Size;

/// Your files, on storage you do not have to trust.
#[derive(Parser, Debug)]
#[command(name = "keepfs", version, about, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Arguments {
    /// Options that every command takes.
    #[command(flatten)]
    pub(crate) global: Global,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options that every command takes.
#[derive(Args, Clone, Debug)]
pub(crate) struct Global {
    /// Directory that holds configuration and state (default: the XDG directories)
    #[arg(long, value_name = "DIR", env = "KEEPFS_HOME", global = true)]
    pub(crate) home: Option<PathBuf>,
    /// Name of the vault on this machine (default: "default")
    #[arg(long, value_name = "NAME", env = "KEEPFS_VAULT", global = true)]
    pub(crate) vault: Option<String>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Create a vault on a store and show its recovery phrase once
    Init(Init),
    /// Attach this machine to a vault that exists
    Join(Join),
    /// Mount a vault; returns when the files are there
    Mount(Mount),
    /// Flush and unmount; returns when the daemon has finished
    #[command(visible_alias = "umount")]
    Unmount(Unmount),
    /// Show vaults, mounts, what is not yet on the store, and health
    Status(Json),
    /// Put everything on the store now; returns 0 only when it is there
    Sync(Json),
    /// Show, limit or clear the local cache
    Cache(Cache),
    /// Passwords and recovery phrases: the ways to unlock the vault
    Key(Key),
    /// Log in to Telegram, once a machine, for stores that are called telegram:
    #[cfg(feature = "telegram")]
    Auth(Auth),
    /// Read and change config.toml
    Config(Config),
    /// Show which directories and files are used
    Paths(Json),
    /// Print a completion script
    Completions {
        /// For this shell
        shell: Shell,
    },
    /// Show what somebody who holds only the store can see; needs no password
    Inspect(Inspect),
    /// Stores: try one out, log in, log out
    Store(StoreCommand),
    /// Copy a whole vault to another store, also while it is mounted; needs no password
    Copy(Copy),
}

/// Output for programs.
#[derive(Args, Clone, Debug)]
pub(crate) struct Json {
    /// Print JSON (its fields are documented and stable)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Where the password comes from. Never an argument: arguments are visible to every user of the machine.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct PasswordFrom {
    /// Read the password from this file [env: KEEPFS_PASSWORD_FILE; see also KEEPFS_PASSWORD]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from what this shell command prints [env: KEEPFS_PASSWORD_COMMAND]
    #[arg(long, value_name = "COMMAND", conflicts_with = "password_file")]
    pub(crate) password_command: Option<String>,
}

/// What opens an existing vault.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct UnlockWith {
    /// Password source.
    #[command(flatten)]
    pub(crate) password: PasswordFrom,
    /// Unlock with the recovery phrase instead of the password
    #[arg(long)]
    pub(crate) phrase: bool,
    /// Read the recovery phrase from this file (implies --phrase)
    #[arg(long, value_name = "FILE", env = "KEEPFS_PHRASE_FILE")]
    pub(crate) phrase_file: Option<PathBuf>,
}

/// `init`.
#[derive(Args, Debug)]
pub(crate) struct Init {
    /// Where the vault shall live, for example file:///srv/vault
    #[arg(value_name = "STORE-URL")]
    pub(crate) store: String,
    /// Password source.
    #[command(flatten)]
    pub(crate) password: PasswordFrom,
    /// Memory that a guess at the password costs (at least 64MiB)
    #[arg(long, value_name = "SIZE", env = "KEEPFS_KDF_MEMORY")]
    pub(crate) kdf_memory: Option<Size>,
    /// Write the recovery phrase to this new file (mode 0600) instead of printing it
    #[arg(long, value_name = "FILE")]
    pub(crate) phrase_file: Option<PathBuf>,
    /// Do not ask whether the recovery phrase was written down
    #[arg(long)]
    pub(crate) yes: bool,
}

/// `join`.
#[derive(Args, Debug)]
pub(crate) struct Join {
    /// Where the vault lives
    #[arg(value_name = "STORE-URL")]
    pub(crate) store: String,
    /// What opens it.
    #[command(flatten)]
    pub(crate) unlock: UnlockWith,
}

/// `mount`.
#[derive(Args, Debug)]
pub(crate) struct Mount {
    /// An existing directory
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// Stay in the foreground (for systemd: speaks its readiness protocol)
    #[arg(short, long)]
    pub(crate) foreground: bool,
    /// What opens the vault.
    #[command(flatten)]
    pub(crate) unlock: UnlockWith,
    /// Let other users of this machine see the files (permissions still hold)
    #[arg(long, env = "KEEPFS_ALLOW_OTHER", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) allow_other: bool,
    /// Refuse every change
    #[arg(long, env = "KEEPFS_READ_ONLY", value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) read_only: bool,
    /// What fsync waits for: this machine's disk, or the store
    #[arg(long, env = "KEEPFS_DURABILITY")]
    pub(crate) durability: Option<Durability>,
    /// How blocks are compressed before they are sealed
    #[arg(long, env = "KEEPFS_COMPRESSION")]
    pub(crate) compression: Option<Compression>,
    /// Most bytes of local disk for sealed copies of what lies on a remote store
    #[arg(long, value_name = "SIZE", env = "KEEPFS_CACHE_LIMIT")]
    pub(crate) cache_limit: Option<Size>,
    /// Most bytes a second to a remote store
    #[arg(long, value_name = "SIZE", env = "KEEPFS_LIMIT_UPLOAD")]
    pub(crate) limit_upload: Option<Size>,
    /// Most bytes a second from a remote store
    #[arg(long, value_name = "SIZE", env = "KEEPFS_LIMIT_DOWNLOAD")]
    pub(crate) limit_download: Option<Size>,
    /// Options in the form of fstab: key,key=value (see docs/cli.md)
    #[arg(short = 'o', value_name = "OPTIONS")]
    pub(crate) options: Vec<String>,
}

/// `unmount`.
#[derive(Args, Debug)]
pub(crate) struct Unmount {
    /// Where it is mounted
    #[arg(value_name = "PATH")]
    pub(crate) path: PathBuf,
    /// First wait until everything is on the store
    #[arg(long)]
    pub(crate) wait: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `cache`.
#[derive(Args, Debug)]
pub(crate) struct Cache {
    /// Remove every cached copy; nothing that is only here is touched
    #[arg(long)]
    pub(crate) clear: bool,
    /// Set the limit for the next mount
    #[arg(long, value_name = "SIZE")]
    pub(crate) limit: Option<Size>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `auth`.
#[cfg(feature = "telegram")]
#[derive(Args, Debug)]
pub(crate) struct Auth {
    /// Phone number of the account, with its country code
    #[arg(long, value_name = "NUMBER", required_unless_present_any = ["logout", "status"])]
    pub(crate) phone: Option<String>,
    /// Number of your own application, from https://my.telegram.org
    #[arg(long, value_name = "NUMBER", env = "KEEPFS_TELEGRAM_API_ID")]
    pub(crate) api_id: Option<i32>,
    /// Read the application's api_hash from this file [see also KEEPFS_TELEGRAM_API_HASH]
    #[arg(long, value_name = "FILE", env = "KEEPFS_TELEGRAM_API_HASH_FILE")]
    pub(crate) api_hash_file: Option<PathBuf>,
    /// Read the code that Telegram sends from this file instead of asking for it
    #[arg(long, value_name = "FILE", env = "KEEPFS_TELEGRAM_CODE_FILE")]
    pub(crate) code_file: Option<PathBuf>,
    /// Read the password of two-step verification from this file instead of asking for it
    #[arg(long, value_name = "FILE", env = "KEEPFS_TELEGRAM_PASSWORD_FILE")]
    pub(crate) two_step_file: Option<PathBuf>,
    /// End this machine's session
    #[arg(long, conflicts_with_all = ["phone", "status"])]
    pub(crate) logout: bool,
    /// Show the account that this machine is logged in to
    #[arg(long, conflicts_with = "phone")]
    pub(crate) status: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `config`.
#[derive(Args, Debug)]
pub(crate) struct Config {
    /// What to do (default: list)
    #[command(subcommand)]
    pub(crate) action: Option<ConfigAction>,
}

/// What to do with config.toml.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigAction {
    /// Print one setting of the vault
    Get {
        /// Its name
        key: String,
    },
    /// Change one setting of the vault
    Set {
        /// Its name
        key: String,
        /// Its new value
        value: String,
    },
    /// Remove one setting of the vault, so that the default holds again
    Unset {
        /// Its name
        key: String,
    },
    /// Print every setting of every vault
    List(Json),
}

/// `inspect`.
#[derive(Args, Debug)]
pub(crate) struct Inspect {
    /// The store to look at
    #[arg(value_name = "STORE-URL")]
    pub(crate) store: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// `store`.
#[derive(Args, Debug)]
pub(crate) struct StoreCommand {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: StoreAction,
}

/// `copy`.
#[derive(Args, Debug)]
pub(crate) struct Copy {
    /// Where the vault is
    #[arg(value_name = "FROM-URL")]
    pub(crate) from: String,
    /// Where it shall be as well
    #[arg(value_name = "TO-URL")]
    pub(crate) to: String,
    /// Read and compare also what was there already
    #[arg(long)]
    pub(crate) verify: bool,
    /// Let go what the vault there says, where it differs
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to do with a store.
#[derive(Subcommand, Debug)]
pub(crate) enum StoreAction {
    /// Try every promise that a store must keep; leaves nothing behind and may run beside a vault
    Check {
        /// The store to try
        #[arg(value_name = "STORE-URL")]
        store: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep what a store must be told: asked at the terminal, else name=value lines on standard input
    Login {
        /// The store
        #[arg(value_name = "STORE-URL")]
        store: String,
    },
    /// Forget it
    Logout {
        /// The store
        #[arg(value_name = "STORE-URL")]
        store: String,
    },
}

/// `key`.
#[derive(Args, Debug)]
pub(crate) struct Key {
    /// What to do
    #[command(subcommand)]
    pub(crate) action: KeyAction,
}

/// What to do with the ways to unlock the vault.
#[derive(Subcommand, Debug)]
pub(crate) enum KeyAction {
    /// List the ways to unlock the vault
    List(Json),
    /// Change the password
    Passwd {
        /// What opens the vault now.
        #[command(flatten)]
        unlock: UnlockWith,
        /// Read the new password from this file
        #[arg(long, value_name = "FILE", env = "KEEPFS_NEW_PASSWORD_FILE")]
        new_password_file: Option<PathBuf>,
        /// Memory that a guess at the new password costs (at least 64MiB)
        #[arg(long, value_name = "SIZE", env = "KEEPFS_KDF_MEMORY")]
        kdf_memory: Option<Size>,
    },
    /// Replace the recovery phrase by a new one and show it once
    Phrase {
        /// Password source.
        #[command(flatten)]
        password: PasswordFrom,
        /// Write the recovery phrase to this new file (mode 0600) instead of printing it
        #[arg(long, value_name = "FILE")]
        phrase_file: Option<PathBuf>,
        /// Do not ask whether the recovery phrase was written down
        #[arg(long)]
        yes: bool,
    },
}

impl Command {
    /// Whether the caller reads JSON, so that failures must be JSON too.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Status(output) | Self::Sync(output) | Self::Paths(output) => output.json,
            Self::Unmount(unmount) => unmount.json,
            Self::Cache(cache) => cache.json,
            #[cfg(feature = "telegram")]
            Self::Auth(auth) => auth.json,
            Self::Inspect(inspect) => inspect.json,
            Self::Copy(copy) => copy.json,
            Self::Store(StoreCommand { action: StoreAction::Check { json, .. } }) => *json,
            Self::Config(Config { action: Some(ConfigAction::List(output)) }) => output.json,
            Self::Key(Key { action: KeyAction::List(output) }) => output.json,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn declaration_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn document_names_every_command_option_and_variable() {
        let document = include_str!("../../../docs/cli.md");
        fn visit(command: &clap::Command, document: &str) {
            for argument in command.get_arguments() {
                if let Some(long) = argument.get_long().filter(|long| !["help", "version"].contains(long)) {
                    assert!(document.contains(&format!("`--{long}")), "docs/cli.md lacks --{long}");
                }
                if let Some(variable) = argument.get_env() {
                    let variable = variable.to_string_lossy();
                    assert!(document.contains(&format!("`{variable}`")), "docs/cli.md lacks {variable}");
                }
            }
            for inner in command.get_subcommands() {
                assert!(document.contains(inner.get_name()), "docs/cli.md lacks {}", inner.get_name());
                visit(inner, document);
            }
        }
        visit(&Arguments::command(), document);
    }
}
