//! What travels over the control socket, and what `--json` prints: the same types, so that they cannot differ.
//!
//! Fields are promised by docs/cli.md: they may be added, never renamed or given another meaning.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::{Compression, Durability};
use crate::failure::Failure;

/// What a command asks of the daemon.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// How are you?
    Status,
    /// Everything on the store, with progress.
    Sync,
    /// Flush and unmount, then end.
    Unmount {
        /// Everything on the store before that, with progress.
        wait: bool,
    },
    /// Remove what is cached.
    ClearCache,
}

/// One line of the daemon's answer.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Under way.
    Progress {
        /// What is left.
        pending: Pending,
    },
    /// The last line: done.
    Done {
        /// The daemon after it.
        status: Box<Status>,
    },
    /// The last line: not done.
    Failed(Failure),
}

/// What is only on this machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// Sealed bytes not yet on the store.
    pub(crate) bytes: u64,
    /// Objects not yet on the store.
    pub(crate) objects: u64,
    /// Seconds since the oldest of them was written.
    pub(crate) oldest_age_seconds: Option<u64>,
    /// What the store last said, if the last attempt failed.
    pub(crate) store_error: Option<String>,
    /// Seconds until the next attempt.
    pub(crate) retry_in_seconds: Option<u64>,
}

impl Pending {
    /// Whether the store has everything.
    pub(crate) fn is_nothing(&self) -> bool {
        self.bytes == 0 && self.objects == 0
    }
}

/// One vault of this machine.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Its name on this machine.
    pub(crate) vault: String,
    /// URL of its store.
    pub(crate) store: String,
    /// Whether a daemon serves it.
    pub(crate) mounted: bool,
    /// Where.
    pub(crate) mount_point: Option<PathBuf>,
    /// The daemon.
    pub(crate) pid: Option<u32>,
    /// Unix seconds of the mount.
    pub(crate) since: Option<u64>,
    /// Whether changes are refused.
    pub(crate) read_only: bool,
    /// What fsync waits for.
    pub(crate) durability: Durability,
    /// How blocks are compressed.
    pub(crate) compression: Compression,
    /// Files and directories.
    pub(crate) inodes: Option<u64>,
    /// Bytes of their content, holes left out.
    pub(crate) content_bytes: Option<u64>,
    /// What is only on this machine. `None`: not known while nothing is mounted.
    pub(crate) pending: Option<Pending>,
    /// Whether it can be trusted to go on.
    pub(crate) health: Health,
    /// Sealed copies of remote objects on this machine's disk.
    pub(crate) cache: Option<CacheStatus>,
    /// What went to and came from a store that is not on this machine, since the mount.
    #[serde(default)]
    pub(crate) traffic: Option<Traffic>,
    /// What the mount found after a crash.
    pub(crate) recovered: Option<Recovered>,
    /// Memory in use.
    pub(crate) memory: Option<MemoryStatus>,
}

/// Whether the vault can be trusted to go on. Once it is unhealthy it stays so until the next mount.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Health {
    /// No damage and no local error was met.
    pub(crate) healthy: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
    /// Files whose content was found damaged.
    pub(crate) damaged: Vec<Damage>,
}

/// A file whose content was found damaged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Damage {
    /// Its inode number, which the log also names.
    pub(crate) inode: u64,
    /// Its path below the mount point; absent when it has none any more.
    pub(crate) path: Option<String>,
}

/// Sealed copies of remote objects on this machine's disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct CacheStatus {
    /// Bytes in use.
    pub(crate) bytes: u64,
    /// Most bytes it may use.
    pub(crate) limit: u64,
}

/// What went to and came from the store since the mount.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Traffic {
    /// Calls to the store, each attempt counted.
    pub(crate) requests: u64,
    /// Those that failed.
    pub(crate) errors: u64,
    /// Bytes of objects sent.
    pub(crate) sent_bytes: u64,
    /// Bytes of objects received.
    pub(crate) received_bytes: u64,
}

/// What the mount found after a crash.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Recovered {
    /// Operations taken from the journal.
    pub(crate) operations: u64,
    /// Bytes of file content taken from the journal.
    pub(crate) bytes: u64,
    /// Packs that were being written and are whole now.
    pub(crate) packs: u64,
    /// The local database was lost and rebuilt from the store.
    pub(crate) rebuilt: bool,
}

/// Memory in use.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct MemoryStatus {
    /// Resident bytes of the daemon, as the kernel counts them.
    pub(crate) resident: u64,
    /// Bytes of each named pool.
    pub(crate) pools: std::collections::BTreeMap<String, u64>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::control) fn status() -> Status {
        Status {
            vault: "default".to_owned(),
            store: "file:///a".to_owned(),
            mounted: true,
            mount_point: Some("/m".into()),
            pid: Some(1),
            since: Some(2),
            read_only: false,
            durability: Durability::Local,
            compression: Compression::Zstd,
            inodes: Some(3),
            content_bytes: Some(4),
            pending: Some(Pending::default()),
            health: Health { healthy: false, reason: Some("r".to_owned()), damaged: Vec::new() },
            cache: None,
            traffic: None,
            recovered: None,
            memory: None,
        }
    }

    #[test]
    fn fields_are_those_that_the_document_promises() {
        let document = include_str!("../../../../docs/cli.md");
        let mut full = status();
        full.health.damaged.push(Damage { inode: 1, path: None });
        full.cache = Some(CacheStatus { bytes: 0, limit: 0 });
        full.recovered = Some(Recovered::default());
        full.memory = Some(MemoryStatus::default());
        fn visit(value: &serde_json::Value, document: &str) {
            match value {
                serde_json::Value::Object(fields) => {
                    for (name, value) in fields {
                        assert!(
                            document.contains(&format!("`{name}`")),
                            "docs/cli.md lacks the field {name}"
                        );
                        visit(value, document);
                    }
                }
                serde_json::Value::Array(values) => values.iter().for_each(|value| visit(value, document)),
                _ => {}
            }
        }
        visit(&serde_json::to_value(full).unwrap(), document);
    }

    #[test]
    fn failure_line_is_flat() {
        let line = serde_json::to_string(&Reply::Failed(Failure::failed("x"))).unwrap();
        assert_eq!(line, r#"{"event":"failed","exit":"failed","what":"x"}"#);
    }
}
