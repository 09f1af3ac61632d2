//! What watches over the project: the repository as data, for the tests in `tests/`, and the canary scan.
//!
//! Owns the rules that no compiler checks: which crate may know which, how long a file may be, what must
//! never be found on a store. It is development equipment: nothing that ships depends on it.

mod canary;
mod repository;
mod source;

pub use canary::{Canaries, Finding, ScanReport};
pub use repository::{Repository, RustFile};
pub use source::{Function, Source};
