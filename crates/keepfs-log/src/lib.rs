//! The pure fold: what an operation does to a tree.
//!
//! Every change of a namespace is an operation, wherever it comes from: a system call on this machine, the
//! journal after a crash, a segment of another machine. [`apply`] is the only code that knows what an
//! operation means. It owns no state and touches nothing outside: state is whatever implements [`State`].

mod fold;
mod state;

pub use fold::{FoldError, apply, apply_group, last_number_of};
pub use state::State;
