//! What unlocking yields: everything that a mounted vault needs to know about itself.

use std::fmt;

use keepfs_format::identity::SigningKey;
use keepfs_format::ids::{MachineId, MachineTag, VaultId};
use keepfs_format::keys::{NamespaceKeys, NamespaceSecrets};
use keepfs_format::roster::{NamespaceSettings, Roster};
use keepfs_format::secret::Secret;
use keepfs_format::slot::{SlotId, SlotPayload};

use super::chain::Chain;
use super::init::MAIN_NAMESPACE;
use super::state::MachineState;
use crate::error::{FsError, Result};

/// Who this machine is.
pub struct MachineIdentity {
    /// Known for ever.
    pub id: MachineId,
    /// Its short name inside the vault.
    pub tag: MachineTag,
    /// What people call it.
    pub name: Box<str>,
    /// Signs its segments and heads.
    pub signing: SigningKey,
}

/// Something a person should hear of, though it was dealt with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The store was not reached; everything is from local state.
    Offline {
        /// What the store said.
        detail: String,
    },
    /// The header on the store was put right from the roster.
    HeaderRepaired {
        /// What was wrong with it.
        flaw: &'static str,
    },
    /// The header on the store is not as it should be, and could not be put right.
    HeaderNotRepaired {
        /// What is wrong with it.
        flaw: &'static str,
        /// What the store said.
        detail: String,
    },
    /// The local copy of the roster was damaged and was fetched anew.
    RosterRefetched,
}

impl fmt::Display for Notice {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offline { detail } => {
                write!(out, "the store was not reached ({detail}); working from local state")
            }
            Self::HeaderRepaired { flaw } => write!(out, "the vault's header {flaw}; it was put right"),
            Self::HeaderNotRepaired { flaw, detail } => {
                write!(out, "the vault's header {flaw} and could not be put right ({detail})")
            }
            Self::RosterRefetched => {
                out.write_str("the local copy of the roster was damaged; it was fetched anew")
            }
        }
    }
}

/// An unlocked vault. All secrets are wiped when it is dropped.
pub struct Unlocked {
    /// The newest secrets of the namespace `main`.
    pub secrets: NamespaceSecrets,
    /// Its earlier epochs, the newest first; old objects are sealed under them.
    pub past_secrets: Vec<NamespaceSecrets>,
    /// What all machines agree on about the namespace.
    pub settings: NamespaceSettings,
    /// Who this machine is.
    pub machine: MachineIdentity,
    /// Root of the keys of journal, database, cache and queue on this machine.
    pub local_key: Secret<32>,
    /// What a person should hear of.
    pub notices: Vec<Notice>,
    pub(super) chain: Chain,
    pub(super) user: SlotPayload,
    pub(super) slot: SlotId,
}

impl Unlocked {
    /// Puts together what the roster and this machine's state say.
    pub(super) fn new(machine: MachineState, chain: Chain, user: SlotPayload, slot: SlotId) -> Result<Self> {
        let odd = |what: &str| FsError::Damaged {
            what: what.to_owned(),
            advice:
                "move the state directory out of the way and attach this machine again with 'keepfs join'"
                    .into(),
        };
        let listed = chain.roster.machine(machine.tag);
        let name = match listed {
            Some(listed) if listed.id == machine.id && listed.signing == machine.signing.verifying_key() => {
                listed.name.clone()
            }
            _ => return Err(odd("this machine's state, which the roster does not know,")),
        };
        let namespace =
            chain.roster.namespace(MAIN_NAMESPACE).ok_or_else(|| odd("the roster, which has no tree,"))?;
        let settings = namespace.settings;
        let mut secrets = chain.roster.secrets(namespace, user.user, &user.reader)?;
        let newest = secrets.remove(0);
        let MachineState { id, tag, signing, local_key, .. } = machine;
        Ok(Self {
            secrets: newest,
            past_secrets: secrets,
            settings,
            machine: MachineIdentity { id, tag, name, signing },
            local_key,
            notices: Vec::new(),
            chain,
            user,
            slot,
        })
    }

    /// The vault.
    pub fn vault(&self) -> VaultId {
        self.chain.roster.vault()
    }

    /// Members, machines and namespaces; `roster().machine(tag)` has the key that verifies a machine.
    pub fn roster(&self) -> &Roster {
        &self.chain.roster
    }

    /// The keys of the namespace, past epochs included.
    pub fn namespace_keys(&self) -> NamespaceKeys {
        let mut keys = NamespaceKeys::derive(&self.secrets);
        for past in &self.past_secrets {
            keys.add_past_epoch(past.epoch, &past.epoch_key);
        }
        keys
    }
}
