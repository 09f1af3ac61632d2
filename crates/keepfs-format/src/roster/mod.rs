//! The roster: who belongs to a vault, with which keys, and which header is in force.
//!
//! It is a list of signed entries, each naming the hash of the one before. The first one's hash is the vault's
//! id, which every slot holds; so whoever unlocks can check all of it. Doors only.

mod change;
mod entry;
mod object;
mod view;
mod wrapped;

pub use change::{Change, NAMESPACES_MAX, NamespaceSettings, USERS_MAX, WrappedKey};
pub use entry::{ENTRY_LEN_MAX, Entry, EntryHash};
pub use object::RosterKeys;
pub use view::{Epoch, Machine, Namespace, ROSTER_LEN_MAX, Roster, User};
