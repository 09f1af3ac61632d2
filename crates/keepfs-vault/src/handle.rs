//! The handle of a staged object, which can be let go to save a file descriptor and comes back when needed.

use std::sync::{Arc, Weak};

use keepfs_store::{ObjectName, Staged, Staging};
use parking_lot::Mutex;

use crate::error::Result;

enum State {
    Open(Arc<dyn Staged>),
    /// Let go. Somebody may still be using it, and then it must not be opened a second time.
    Released(Weak<dyn Staged>),
}

/// A handle that may be open.
pub(crate) struct Handle(Mutex<State>);

impl Handle {
    pub(crate) fn new(staged: Box<dyn Staged>) -> Self {
        Self(Mutex::new(State::Open(Arc::from(staged))))
    }

    /// The handle if it is open.
    pub(crate) fn open(&self) -> Option<Arc<dyn Staged>> {
        match &*self.0.lock() {
            State::Open(staged) => Some(staged.clone()),
            State::Released(staged) => staged.upgrade(),
        }
    }

    /// The handle, opened again if it was let go.
    pub(crate) fn get(&self, name: &ObjectName, staging: &dyn Staging) -> Result<Arc<dyn Staged>> {
        let mut state = self.0.lock();
        let staged = match &*state {
            State::Open(staged) => return Ok(staged.clone()),
            State::Released(staged) => match staged.upgrade() {
                Some(staged) => staged,
                None => Arc::from(staging.reopen(name)?),
            },
        };
        *state = State::Open(staged.clone());
        Ok(staged)
    }

    /// Lets it go.
    pub(crate) fn release(&self) {
        let mut state = self.0.lock();
        if let State::Open(staged) = &*state {
            let weak = Arc::downgrade(staged);
            // The last reference may close a file: not under the lock.
            let open = std::mem::replace(&mut *state, State::Released(weak));
            drop(state);
            drop(open);
        }
    }
}
