//! What the binary needs of Linux around the mount: the mount table, locks, readiness, signals at a prompt.

mod lock;
mod mounts;
mod notify;
mod terminal;
mod users;

pub(crate) use lock::{DaemonLock, Holder, held};
pub(crate) use mounts::{Condition, MountTable, busy, condition, heal, unmount};
pub(crate) use notify::Notify;
pub(crate) use terminal::{ask_silently, hand_signals_over, restore_terminal_on_interrupt};
