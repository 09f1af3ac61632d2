//! Claims about one open namespace, made through its API over stores and disks in memory.

mod lifecycle;
mod model;
mod support;
