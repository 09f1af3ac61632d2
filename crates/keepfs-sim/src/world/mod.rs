//! A simulated world: the whole file system, one thread, time and chance from a seed, over a store and a disk that
//! fail as the seed tells, judged after everything that happens by a pure model.
//!
//! The oracle. Every answer is the model's, or an error while something goes wrong. After a crash the tree is what
//! it was after some call, and no older than the last acknowledged sync; on another machine, no older than the
//! last acknowledged sync to the store. What dies writes nothing more: disk and store refuse it together. After
//! an error that stops writing, nothing is acknowledged until the vault was opened again.

mod action;
mod call;
mod history;
mod life;
mod machine;
mod model;
mod script;
mod tree;
mod trouble;

pub use action::{Action, Bytes, Named, Which};
pub use call::{Answer, show};
pub use life::{Lived, live};
pub use machine::{Machine, Vault};
pub use model::Model;
pub use script::{Played, Script, play};
pub use tree::{Body, Item, Path, Shown, difference};
pub use trouble::Trouble;

/// What is wrong with a file system, in words.
pub type Verdict<T = ()> = std::result::Result<T, String>;

/// How a session ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// It is closed.
    Unmount,
    /// The process dies; its machine goes on.
    Kill,
    /// The power goes, and what was not durable with it.
    PowerCut,
    /// The machine is gone; another one joins.
    Loss,
}
