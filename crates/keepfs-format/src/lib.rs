//! Bytes and types of a keepfs vault, and all of its cryptography.
//!
//! It owns what lies on a store, bit by bit, and every use of a key. It is pure: no file, socket, thread,
//! clock or generator of its own; time and randomness come in through [`env::Env`]. `FORMAT.md` at the root
//! of the repository describes the same bytes for strangers.

pub mod checkpoint;
pub mod chunk;
pub mod codec;
pub mod compress;
pub mod directory;
pub mod env;
pub mod error;
pub mod head;
pub mod header;
pub mod identity;
pub mod ids;
pub mod kdf;
pub mod keys;
pub mod local;
pub mod op;
pub mod op_codec;
pub mod op_rules;
pub mod pack;
pub mod phrase;
pub mod roster;
pub mod run;
pub mod sealed;
pub mod secret;
pub mod segment;
pub mod signed;
pub mod slot;
#[cfg(test)]
mod testing;
pub mod trailer;
pub mod vector;
pub mod wrap;

pub use env::Env;
pub use error::FormatError;
