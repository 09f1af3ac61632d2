//! The handle of a staged object, which can be let go to save a file descriptor and comes back when needed.

use std::sync::{Arc, Weak};
use std::time::Duration;

use keepfs_store::{ObjectName, Staged, Staging, StoreError};
use parking_lot::Mutex;

use crate::error::Result;

enum State {
    Open(Arc<dyn Staged>),
    /// Let go. Somebody may still be using it, and then it must not be opened a second time.
    Released(Weak<dyn Staged>),
}

/// How often, and after which pauses, an object is opened again that its last user is just closing.
const CLOSING_TRIES_MAX: u32 = 100;
const CLOSING_PAUSE: Duration = Duration::from_millis(1);

/// Opens a staged object again. The last reference may have been dropped by a thread that has not come to
/// closing it yet; the staging place then still takes it for open.
fn reopen(name: &ObjectName, staging: &dyn Staging) -> Result<Box<dyn Staged>> {
    for _ in 0..CLOSING_TRIES_MAX {
        match staging.reopen(name) {
            Err(StoreError::Denied { .. }) => std::thread::sleep(CLOSING_PAUSE),
            other => return Ok(other?),
        }
    }
    Ok(staging.reopen(name)?)
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
                None => Arc::from(reopen(name, staging)?),
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
