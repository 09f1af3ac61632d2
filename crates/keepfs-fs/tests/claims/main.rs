//! Claims about one open namespace, made through its API over stores and disks in memory.

#![allow(clippy::unwrap_used, reason = "a claim that does not hold shall panic")]

mod crash;
mod failing;
mod hostile;
mod late;
mod lifecycle;
mod model;
mod steps;
mod streams;
mod support;
