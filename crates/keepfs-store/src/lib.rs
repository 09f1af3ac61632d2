//! Where blobs live: the [`Store`] trait, its error, and everything that can be said about stores without
//! touching the outside world.
//!
//! A store is a dumb, untrusted place for named objects; it never knows what it holds. Real stores are in
//! `keepfs-stores`. Here are the contracts they keep, the memory store, the wrappers that each add one thing
//! to any store (retry, limit, throttle, meter, fault), and the conformance suite that every store and wrapper passes.
//!
//! This crate opens no socket, starts no thread outside its conformance suite, and has no clock or random
//! generator of its own. The only files it opens are those that a caller hands to `put_file`.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod cache;
mod compare;
pub mod conformance;
mod error;
mod fault;
mod limit;
mod memory;
mod memory_staging;
mod meter;
mod method;
mod name;
mod retry;
mod staging;
mod store;
mod throttle;
mod wrap;

pub use cache::{BlobCache, CACHE_KEY_LEN_MAX, MemoryCache, is_cache_key};
pub use compare::same_contents;
pub use error::{Result, Retry, StoreError};
pub use fault::{Fault, FaultStore, Faults, Hook, Moment, Rates, Strike, Traced, Weather};
pub use limit::LimitStore;
pub use memory::MemoryStore;
pub use meter::{Count, Counters, MeterStore};
pub use method::Method;
pub use name::{ID_LEN, ObjectName};
pub use retry::{RetryPolicy, RetryStore, Timing};
pub use staging::{Staged, Staging, check_stageable};
pub use store::{Capabilities, ObjectInfo, PutMode, Space, Store, read_local_file};
pub use throttle::{ByteRates, ThrottleStore};
