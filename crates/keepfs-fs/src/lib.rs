//! Skeleton.
pub mod disk;
pub mod journal;
