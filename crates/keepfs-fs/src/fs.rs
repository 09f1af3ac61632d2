//! The handle that frontends hold.

use std::sync::Arc;

use crate::core::Core;

/// One open namespace of a vault: the one API of all frontends. Every call may come from any thread.
///
/// Dropping it without [`Fs::close`] is what a crash is: everything acknowledged is kept, and recovered by
/// the next open.
pub struct Fs {
    pub(crate) core: Arc<Core>,
}

impl Drop for Fs {
    /// Stops the background where it stands. Nothing is flushed: that is what [`Fs::close`] is for.
    fn drop(&mut self) {
        self.core.stop();
        self.core.space.publisher().stop();
    }
}
