//! Where the command meets the libraries: their types become ours, their errors become sentences with exit codes.

mod failures;
mod mounted;
mod numbers;
mod remote;
mod try_out;
mod vault;

pub(crate) use failures::{fuse_failure, store_failure};
pub(crate) use mounted::{OpenVault, open_cache};
pub(crate) use numbers::{memory, pending, recovered, recovered_sentence};
pub(crate) use remote::{open_store, schemes};
pub(crate) use try_out::try_out;
pub(crate) use vault::{
    Guard, Secret, Slot, change_password, check_vacant, check_vault, found, join, kdf_of, new_phrase, slots,
    unlock,
};
