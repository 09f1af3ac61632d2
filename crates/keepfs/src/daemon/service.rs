//! What the daemon does when asked over the control socket.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Weak};

use super::report::Reporter;
use super::serve::Event;
use crate::control::{Answer, Pending, Request, Service};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::wiring::OpenVault;

fn ending() -> Failure {
    Failure::failed("the daemon is ending already").advise("wait until it has")
}

/// Stands behind the control socket. Its threads outlive the file system, which ends when its owner lets go of
/// it: hence the weak references.
pub(super) struct ControlService {
    vault: Weak<OpenVault>,
    reporter: Weak<Reporter>,
    events: Sender<Event>,
}

impl ControlService {
    /// Sends what concerns the end of the mount to `events`.
    pub(super) fn new(vault: Weak<OpenVault>, reporter: Weak<Reporter>, events: Sender<Event>) -> Self {
        Self { vault, reporter, events }
    }

    fn vault(&self) -> Result<Arc<OpenVault>> {
        self.vault.upgrade().ok_or_else(ending)
    }

    fn reporter(&self) -> Result<Arc<Reporter>> {
        self.reporter.upgrade().ok_or_else(ending)
    }

    fn sync(&self, progress: &mut dyn FnMut(&Pending) -> bool) -> Result<()> {
        self.vault()?.sync_store(&mut |pending| {
            progress(pending);
        })
    }

    fn unmount(&self, wait: bool, progress: &mut dyn FnMut(&Pending) -> bool) -> Result<Answer> {
        let interrupted = || Failure::new(Exit::Interrupted, "nobody waits for the unmount any more");
        if wait {
            self.sync(progress)?;
        }
        // Whoever gave up waiting does not want the mount to vanish later.
        if !progress(&self.reporter()?.pending()) {
            return Err(interrupted());
        }
        let (asker, outcome) = channel();
        self.events.send(Event::Unmount(asker)).map_err(|_| ending())?;
        let farewell = outcome.recv().map_err(|_| ending())??;
        Ok(Answer { status: farewell.status, told: Some(farewell.told) })
    }
}

impl Service for ControlService {
    fn answer(&self, request: &Request, progress: &mut dyn FnMut(&Pending) -> bool) -> Result<Answer> {
        match request {
            Request::Status => {}
            Request::Sync => self.sync(progress)?,
            Request::Unmount { wait } => return self.unmount(*wait, progress),
            Request::ClearCache => self.vault()?.cache.iter().for_each(|cache| cache.clear()),
        }
        Ok(Answer { status: Box::new(self.reporter()?.status()), told: None })
    }
}
