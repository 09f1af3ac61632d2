//! The server through its door: the stock client of grammers over real sockets, told by the control socket.

#![allow(clippy::unwrap_used)]

mod channels;
mod faults;
mod files;
mod messages;
mod sessions;
mod support;
