//! Claims about the chunk space, tested at its door.
#![allow(clippy::unwrap_used, missing_docs)]

mod concurrency;
mod damage;
mod failing;
mod publishing;
mod real;
mod recovering;
mod remote;
mod storing;
mod world;
