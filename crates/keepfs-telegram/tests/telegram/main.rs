//! The store against a local Telegram server in a process of its own, over real sockets.

#![allow(clippy::unwrap_used)]

mod bad_luck;
mod login;
mod promises;
mod resume;
mod server;
mod sharing;
