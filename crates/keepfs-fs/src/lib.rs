//! Skeleton.
pub mod disk;
pub mod error;
pub mod home;
pub mod journal;
pub mod pages;
