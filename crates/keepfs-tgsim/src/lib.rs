//! keepfs-tgsim: a local Telegram server for tests.
//!
//! It speaks MTProto 2.0 over TCP to unchanged clients (grammers, Telethon) and does what the store of keepfs
//! needs of Telegram: sign-in with code and password, uploads in parts, documents, history, channels, updates.
//! Telegram's rules, limits and errors are part of it, and a control socket makes it fail on demand.
//!
//! It owns the server's side of the protocol and a state of its own. It never talks to Telegram, never guards a
//! secret, and nothing that ships depends on it.

mod api;
mod connection;
mod control;
mod counters;
mod error;
mod faults;
mod link;
mod rates;
mod request;
mod server;
mod wire;
mod world;

pub use control::listen as listen_for_commands;
pub use counters::{Completed, Counters};
pub use error::{Error, Result};
pub use faults::{ANY, Action, Fault, PUSH};
pub use rates::{Rate, Unit};
pub use server::{Options, Server};
pub use wire::rsa_key::PUBLIC_KEY_PEM;
pub use world::settings::Settings;
