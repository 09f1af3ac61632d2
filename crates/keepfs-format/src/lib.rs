//! Bytes and types of a keepfs vault, and all of its cryptography.
//!
//! It owns what lies on a store, bit by bit, and every use of a key. It is pure: no file, socket, thread,
//! clock or generator of its own; time and randomness come in through [`env::Env`]. `FORMAT.md` at the root
//! of the repository describes the same bytes for strangers.

pub mod chunk;
pub mod codec;
pub mod compress;
pub mod env;
pub mod error;
pub mod ids;
pub mod keys;
pub mod local;
pub mod op;
pub mod sealed;
pub mod secret;
#[cfg(test)]
mod testing;

pub use env::Env;
pub use error::FormatError;
