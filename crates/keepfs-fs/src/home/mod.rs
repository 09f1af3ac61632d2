//! A vault from the door: found it, join it, unlock it, change who may enter. Doors only.
//!
//! Nothing here touches the environment, a terminal or a clock of its own; store, disk, time and randomness
//! come in a [`Site`]. The caller holds the vault's lock on this machine, so that two processes never work on
//! one state directory.

mod chain;
mod header;
mod init;
mod join;
mod site;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod unlock;
mod unlocked;

pub use init::{MAIN_NAMESPACE, NewVault, init};
pub use join::join;
pub use keepfs_format::kdf::KdfParams;
pub use keepfs_format::phrase::RecoveryPhrase;
pub use keepfs_format::slot::{SlotId, SlotKind, UnlockSecret};
pub use site::Site;
pub use slots::{SlotInfo, add_password, change_password, list_slots, new_phrase, remove_slot};
pub use unlock::unlock;
pub use unlocked::{MachineIdentity, Notice, Unlocked};
