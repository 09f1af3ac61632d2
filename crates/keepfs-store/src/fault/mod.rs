//! Failing on purpose: the fault model, what is to go wrong, and the store that does.

mod faults;
mod model;
mod store;

pub use faults::Faults;
pub use model::{Fault, Hook, Moment, Rates, Strike, Traced, Weather};
pub use store::FaultStore;

#[cfg(test)]
mod tests;
