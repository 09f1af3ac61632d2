//! From OpenDAL's errors, and what the transport noted, to store errors.

use keepfs_store::{ObjectName, Retry, StoreError};
use opendal::{Error, ErrorKind};

use super::transport::Noted;
use crate::remote::refusal_text::shown;

/// What a call was about.
#[derive(Clone, Copy)]
pub(super) struct About<'a> {
    /// The object, if it was about one.
    pub(super) name: Option<&'a ObjectName>,
    /// The range that was wanted: offset and length in bytes.
    pub(super) range: Option<(u64, u64)>,
    /// Most bytes that the caller took.
    pub(super) limit: u64,
}

impl<'a> About<'a> {
    pub(super) fn object(name: &'a ObjectName) -> Self {
        About { name: Some(name), range: None, limit: u64::MAX }
    }

    pub(super) fn nothing() -> Self {
        About { name: None, range: None, limit: u64::MAX }
    }
}

/// The store error that a failed call is.
pub(super) fn store_error(about: About<'_>, error: &Error, noted: Noted) -> StoreError {
    if let (Some(name), Some(len)) = (about.name, noted.too_large) {
        // A body that did not tell its length has at least one byte more than was taken.
        return StoreError::too_large(name, len.unwrap_or(about.limit.saturating_add(1)), about.limit);
    }
    let refusal = noted.refusal.as_ref().map(|refusal| refusal.to_error());
    match (error.kind(), about.name) {
        (ErrorKind::NotFound, Some(name)) => match refusal {
            // The name is missing because the whole bucket is.
            Some(invalid @ StoreError::Invalid { .. }) => return invalid,
            _ => return StoreError::not_found(name),
        },
        (ErrorKind::AlreadyExists | ErrorKind::ConditionNotMatch, Some(name)) => {
            return StoreError::exists(name);
        }
        (ErrorKind::RangeNotSatisfied, Some(name)) => {
            let (offset, len) = about.range.unwrap_or_default();
            return StoreError::short(name, offset, len);
        }
        _ => {}
    }
    if let Some(error) = noted.failure.or(refusal) {
        return error;
    }
    let detail = sentence(error);
    match error.kind() {
        ErrorKind::PermissionDenied => StoreError::Denied { detail },
        ErrorKind::RateLimited => StoreError::Unavailable { detail, retry: Retry::Soon },
        ErrorKind::ConfigInvalid => StoreError::Invalid { detail },
        ErrorKind::Conflict => StoreError::io_soon(detail),
        _ if detail.contains("redential") => StoreError::Denied { detail },
        _ if error.is_temporary() => StoreError::io_soon(detail),
        _ => StoreError::io_never(detail),
    }
}

/// What is wrong without the address, which may carry a token, and without headers.
pub(super) fn sentence(error: &Error) -> String {
    let text = error.to_string();
    let said = text.split_once(" => ").map_or(text.as_str(), |(_, said)| said);
    shown(format!("{}: {said}", error.kind()))
}
