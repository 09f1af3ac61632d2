//! Claims about the format, made at its public door.

// Helpers outside test functions unwrap as tests do: a failure there is a failed test.
#![allow(clippy::unwrap_used)]

mod cases;
mod directories;
mod identity;
mod log_objects;
mod operations;
mod randomness;
mod runs;
mod stranger;
mod support;
mod vectors;
