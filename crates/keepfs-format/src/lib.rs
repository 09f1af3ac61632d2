//! Skeleton.
pub mod env;
pub mod ids;
pub mod op;
pub mod secret;
