//! An encrypted, deduplicated space of chunks over any store.
//!
//! A [`ChunkSpace`] cuts files, stores each piece once, packs the pieces into objects, sends those to the
//! store in an order that never names what is not there, and reads any part of a piece back, verified. It
//! never touches a file or a socket: the store, the place where packs grow, the cache, time and randomness
//! are all arguments. Threads run only where the options ask for them.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod block_cache;
mod chunker;
mod error;
mod fetch;
mod handle;
mod layouts;
pub mod limits;
mod overlay;
mod pack_file;
mod packer;
mod packs;
mod pause;
mod pool;
mod prefetch;
mod publisher;
mod queue;
mod reader;
mod recovery;
mod salts;
mod seal;
mod space;

pub use chunker::{Chunker, Cutting};
pub use error::{Result, VaultError};
pub use packs::StagingPlace;
pub use publisher::{OnDone, Publisher};
pub use queue::{Job, JobId, Outcome, Pending, Subject};
pub use recovery::Recovered;
pub use space::{ChunkIndex, ChunkSpace, SpaceOptions, SpaceStats, Stored};
