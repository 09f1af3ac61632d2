//! How commands talk to the daemon of a mounted vault: one JSON line each way over a socket of its owner.
//!
//! The daemon answers with any number of `progress` lines and then exactly one `done` or `failed`.

mod client;
mod protocol;
mod server;
mod socket;

pub(crate) use client::Client;
pub(crate) use protocol::{
    CacheStatus, Damage, Health, MemoryStatus, Pending, Recovered, Reply, Request, Status, Traffic,
};
pub(crate) use server::{Answer, Service, serve};
