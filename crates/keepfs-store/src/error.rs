//! What can go wrong with a store, told so that the caller knows what to do next.

use std::time::Duration;

use crate::name::ObjectName;

/// What the methods of a store return.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

/// Whether an operation that failed may be tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retry {
    /// The same call may work at once or soon.
    Soon,
    /// Nobody answers: the machine is off, nothing listens there, the network is down. It may work again some time,
    /// and hardly within a moment.
    Later,
    /// The same call may work after this long, not before: the service said so.
    After(Duration),
    /// It will fail again until somebody does something (credentials, permission, space).
    Never,
}

/// Why a store did not do what it was asked. Each variant says what the caller should do.
///
/// After an error the effect of a writing call is unknown: it may have happened. Only `NotFound`, `Exists`,
/// `TooLarge` and `Invalid` promise that this call changed nothing.
#[non_exhaustive]
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum StoreError {
    /// No such object. Take it as an answer: the store was reached and does not have it.
    #[error("{name} is not on the store")]
    NotFound {
        /// Name of the object.
        name: String,
    },
    /// `PutMode::Create` met an object of that name. Take it as an answer: somebody else was first, or an
    /// earlier call of one's own whose answer was lost; compare the contents to tell the two apart.
    #[error("{name} is already on the store")]
    Exists {
        /// Name of the object.
        name: String,
    },
    /// Credentials or permissions do not suffice. Tell the user; retrying helps only after he acted.
    #[error("the store refuses access: {detail}")]
    Denied {
        /// What was refused, for people.
        detail: String,
    },
    /// The store takes no writes. Go on reading; keep the writes queued and tell the user.
    #[error("the store is read-only: {detail}")]
    ReadOnly {
        /// What was refused, for people.
        detail: String,
    },
    /// No space or quota left. Keep the write queued, tell the user, try again now and then.
    #[error("the store is full: {detail}")]
    Full {
        /// What did not fit, for people.
        detail: String,
    },
    /// The object is longer than the caller was ready to take. Treat it as damaged or hostile.
    #[error("{name} holds {actual} bytes, at most {limit} were expected")]
    TooLarge {
        /// Name of the object.
        name: String,
        /// Its length in bytes.
        actual: u64,
        /// The most the caller allowed, in bytes.
        limit: u64,
    },
    /// The store cannot be reached at all: no network, the disk is unplugged, the service throttles.
    /// Retry as `retry` says, for as long as the data matters; serve what is cached meanwhile.
    #[error("the store cannot be reached: {detail}")]
    Unavailable {
        /// Why, for people.
        detail: String,
        /// When to try again.
        retry: Retry,
    },
    /// The store was reached and failed, or gave fewer bytes than the object must have. Retry as `retry`
    /// says; with `Never` report it.
    #[error("the store failed: {detail}")]
    Io {
        /// What failed, for people.
        detail: String,
        /// When to try again.
        retry: Retry,
    },
    /// The call itself is wrong: a name outside the grammar, a role that cannot be staged, a write to a
    /// published object. It is a bug of the caller or a bad argument of the user; it never works later.
    #[error("invalid request to the store: {detail}")]
    Invalid {
        /// What is wrong, for people.
        detail: String,
    },
}

impl StoreError {
    /// `NotFound` for this name.
    pub fn not_found(name: &ObjectName) -> Self {
        StoreError::NotFound { name: name.as_str().to_owned() }
    }

    /// `Exists` for this name.
    pub fn exists(name: &ObjectName) -> Self {
        StoreError::Exists { name: name.as_str().to_owned() }
    }

    /// `TooLarge` for this name.
    pub fn too_large(name: &ObjectName, actual: u64, limit: u64) -> Self {
        StoreError::TooLarge { name: name.as_str().to_owned(), actual, limit }
    }

    /// `Io` that may pass by itself.
    pub fn io_soon(detail: impl Into<String>) -> Self {
        StoreError::Io { detail: detail.into(), retry: Retry::Soon }
    }

    /// `Io` that stays until somebody does something.
    pub fn io_never(detail: impl Into<String>) -> Self {
        StoreError::Io { detail: detail.into(), retry: Retry::Never }
    }

    /// `Io` for a range that reaches past the end of an object. The store has answered: the same call gives
    /// the same, unless the object is damaged and somebody repairs it.
    pub fn short(name: &ObjectName, offset: u64, wanted_len: u64) -> Self {
        Self::io_never(format!("{name} ends before byte {}", offset.saturating_add(wanted_len)))
    }

    /// `Invalid` with this explanation.
    pub fn invalid(detail: impl Into<String>) -> Self {
        StoreError::Invalid { detail: detail.into() }
    }

    /// When the same call may be tried again. Answers (`NotFound`, `Exists`) and everything that needs a
    /// person are `Never`.
    pub fn retry(&self) -> Retry {
        match self {
            StoreError::Unavailable { retry, .. } | StoreError::Io { retry, .. } => *retry,
            _ => Retry::Never,
        }
    }

    /// Whether the store gave a plain answer about this name (there is none, there is one, it is longer)
    /// rather than failing.
    pub fn is_answer(&self) -> bool {
        matches!(self, StoreError::NotFound { .. } | StoreError::Exists { .. } | StoreError::TooLarge { .. })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_never_retried() {
        let name = ObjectName::vault();
        for error in
            [StoreError::not_found(&name), StoreError::exists(&name), StoreError::too_large(&name, 2, 1)]
        {
            assert!(error.is_answer());
            assert_eq!(error.retry(), Retry::Never);
        }
        assert_eq!(StoreError::short(&name, 1, 2).retry(), Retry::Never);
    }
}
