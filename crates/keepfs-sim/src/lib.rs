//! What watches over the project: the repository as data, for the tests in `tests/`, the canary scan, simulated
//! worlds in which the whole file system runs over a store and a disk that fail, and the disk that loses power below
//! the real binary; and the doors through which random bytes reach every decoder.
//!
//! Owns the rules that no compiler checks: which crate may know which, how long a file may be, what must
//! never be found on a store; and what a file system must show after everything that can happen to it. It is
//! development equipment: nothing that ships depends on it.

mod canary;
pub mod doors;
mod lossy;
mod place;
mod repository;
mod seeded;
mod source;
pub mod world;

pub use canary::{Canaries, Finding, ScanReport};
pub use lossy::serve_lossy_disk;
pub use place::{CALLER, PASSWORD, Place};
pub use repository::{Repository, RustFile};
pub use seeded::{Chance, SeededEnv, noise};
pub use source::{Function, Source};
