//! Claims about the chunk space, tested at its door.
#![allow(clippy::unwrap_used, missing_docs)]

mod concurrency;
mod storing;
mod world;
