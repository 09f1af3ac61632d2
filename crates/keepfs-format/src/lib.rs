//! Skeleton.
#[allow(missing_docs)] pub mod ids;
#[allow(missing_docs)] pub mod op;
