//! A command's side of the control socket.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::protocol::{Pending, Reply, Request, Status};
use super::socket::{Lines, connect};
use crate::failure::{Doing, Failure, Result};

/// A connection to a daemon that is alive.
pub(crate) struct Client {
    stream: UnixStream,
    lines: Lines,
}

impl Client {
    /// Connects; `None` when no daemon listens.
    pub(crate) fn connect(socket: &Path) -> Result<Option<Self>> {
        let stream = connect(socket).map_err(|error| {
            Failure::failed(format!("cannot talk to the daemon: {error}")).at(socket.display())
        })?;
        let Some(stream) = stream else { return Ok(None) };
        let lines = Lines::new(stream.try_clone().doing("talk to the daemon")?);
        Ok(Some(Self { stream, lines }))
    }

    /// Asks, passes progress on, and returns the daemon's state after it.
    pub(crate) fn ask(&mut self, request: &Request, progress: &mut dyn FnMut(&Pending)) -> Result<Status> {
        let mut line = serde_json::to_vec(request).doing("write a request")?;
        line.push(b'\n');
        self.stream.write_all(&line).doing("ask the daemon")?;
        loop {
            let line = self.lines.next().doing("hear the daemon's answer")?.ok_or_else(|| {
                Failure::failed("the daemon ended before it answered")
                    .advise("its log says why: see 'keepfs paths'")
            })?;
            match serde_json::from_str(&line).doing("understand the daemon's answer")? {
                Reply::Progress { pending } => progress(&pending),
                Reply::Done { status } => return Ok(*status),
                Reply::Failed(failure) => return Err(failure),
            }
        }
    }

    /// Waits until the daemon has closed the connection, which it does by ending.
    pub(crate) fn wait_for_end(mut self) {
        while let Ok(Some(_)) = self.lines.next() {}
    }
}
