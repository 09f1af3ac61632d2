//! A Telegram account as a store: sealed blobs as documents in the saved messages or in a private channel.
//!
//! Unofficial: it uses Telegram's API with the user's own `api_id`, and Telegram promises nothing about it. Owns the
//! connections with their deadlines and pace, the login, the index from names to messages, uploads that resume,
//! and ranged downloads. Never knows what a blob holds; cryptography for what is kept on this machine is the
//! caller's ([`Machine`]).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod anchor;
mod attempt;
mod download;
mod error;
mod family;
mod flow;
mod index;
mod index_file;
mod label;
mod link;
mod listener;
mod login;
mod place;
mod pool;
mod reading;
mod refresh;
mod session;
mod settings;
mod shelf;
mod sighting;
mod source;
mod store;
mod upload;
mod volume;
mod volume_file;

pub use error::TelegramError;
pub use login::{Account, Application, Login, Step, account, log_out};
pub use place::check_place;
pub use session::{AuthKey, KEY_LEN};
pub use settings::{
    ANCHOR_DISTANCE_DEFAULT, Deadlines, Endpoint, Machine, Settings, TestCentre, VOLUME_LEN_DEFAULT,
};
pub use store::{OpenWish, TelegramStore};
