//! Where the command meets the libraries: their types become ours, their errors become sentences with exit codes.

mod failures;
mod mounted;
mod numbers;
mod remote;
#[cfg(feature = "telegram")]
mod telegram;
mod try_out;
mod vault;

pub(crate) use failures::{fuse_failure, store_failure};
pub(crate) use mounted::{OpenVault, open_cache};
pub(crate) use numbers::{memory, pending, recovered, recovered_sentence};
pub(crate) use remote::{normalize_url, open_store, schemes};
#[cfg(feature = "telegram")]
pub(crate) use telegram::{belong_to, telegram_failure, telegram_settings};
pub(crate) use try_out::try_out;
pub(crate) use vault::{
    Guard, Secret, Slot, change_password, check_vacant, check_vault, found, join, kdf_of, new_phrase, slots,
    unlock,
};
