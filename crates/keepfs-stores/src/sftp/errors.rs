//! What an SFTP server and `ssh` say when something fails, as store errors.

use keepfs_store::{Retry, StoreError};
use russh_sftp::client::error::Error;
use russh_sftp::protocol::StatusCode;

use crate::remote::refusal_text::shown;

/// The status of a refusal; `None` if the connection failed instead.
pub(super) fn status(error: &Error) -> Option<StatusCode> {
    match error {
        Error::Status(status) => Some(status.status_code),
        _ => None,
    }
}

/// Whether the connection is of no more use.
pub(super) fn is_broken(error: &Error) -> bool {
    match status(error) {
        Some(status) => matches!(status, StatusCode::NoConnection | StatusCode::ConnectionLost),
        None => !matches!(error, Error::Limited(_)),
    }
}

/// The store error for a failure that is no answer about an object.
pub(super) fn store_error(doing: &str, error: &Error) -> StoreError {
    let detail = shown(format!("{doing}: {error}"));
    match status(error) {
        Some(StatusCode::PermissionDenied) => StoreError::Denied { detail },
        Some(StatusCode::OpUnsupported | StatusCode::BadMessage) => StoreError::io_never(detail),
        Some(StatusCode::NoConnection | StatusCode::ConnectionLost) | None => {
            StoreError::Unavailable { detail, retry: Retry::Soon }
        }
        Some(_) => StoreError::io_soon(detail),
    }
}

/// Why `ssh` ended before the server spoke, from what it wrote to standard error.
pub(super) fn ssh_error(said: &str) -> StoreError {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let told = shown(lines.collect::<Vec<_>>().join("; "));
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED"]) {
        let detail =
            format!("ssh does not know the host's key; connect once by hand and look at it ({told})");
        return StoreError::Denied { detail };
    }
    if has(&["Permission denied", "Too many authentication failures", "UNPROTECTED PRIVATE KEY"]) {
        return StoreError::Denied { detail: format!("ssh was not let in ({told})") };
    }
    if has(&[
        "subsystem request failed",
        "Bad owner or permissions",
        "Bad configuration option",
        "Can't open user config",
    ]) {
        return StoreError::Invalid { detail: format!("ssh: {told}") };
    }
    let is_unanswered =
        has(&["Connection refused", "No route to host", "Network is unreachable", "resolve hostname"]);
    let retry = if is_unanswered { Retry::Later } else { Retry::Soon };
    let detail = if told.is_empty() { "ssh ended without a word".to_owned() } else { format!("ssh: {told}") };
    StoreError::Unavailable { detail, retry }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ssh_says_has_its_class() {
        assert!(matches!(ssh_error("me@host: Permission denied (publickey)."), StoreError::Denied { .. }));
        assert!(matches!(ssh_error("Host key verification failed.\n"), StoreError::Denied { .. }));
        assert!(matches!(ssh_error("subsystem request failed on channel 0"), StoreError::Invalid { .. }));
        assert_eq!(ssh_error("ssh: connect to host h port 22: Connection refused").retry(), Retry::Later);
        assert_eq!(ssh_error("").retry(), Retry::Soon);
    }
}
