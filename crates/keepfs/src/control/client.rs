//! A command's side of the control socket.

use std::io::{ErrorKind, Write};
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

    /// Asks, passes progress on, and returns the daemon's state after it; `None` if it died before it answered.
    pub(crate) fn ask(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(&Pending),
    ) -> Result<Option<Status>> {
        let mut line = serde_json::to_vec(request).doing("write a request")?;
        line.push(b'\n');
        if let Err(error) = self.stream.write_all(&line) {
            return unless_gone(&error, "ask the daemon");
        }
        loop {
            let line = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => return Ok(None),
                Err(error) => return unless_gone(&error, "hear the daemon's answer"),
            };
            match serde_json::from_str(&line).doing("understand the daemon's answer")? {
                Reply::Progress { pending } => progress(&pending),
                Reply::Done { status } => return Ok(Some(*status)),
                Reply::Failed(failure) => return Err(failure),
            }
        }
    }

    /// The same where a daemon that died is a failure.
    pub(crate) fn must_answer(
        &mut self,
        request: &Request,
        progress: &mut dyn FnMut(&Pending),
    ) -> Result<Status> {
        self.ask(request, progress)?.ok_or_else(|| {
            Failure::failed("the daemon ended before it answered")
                .advise("its log says why: see 'keepfs paths'")
        })
    }

    /// Waits until the daemon has closed the connection, which it does by ending.
    pub(crate) fn wait_for_end(mut self) {
        while let Ok(Some(_)) = self.lines.next() {}
    }
}

/// A process that was killed closes its sockets in its own time.
fn unless_gone(error: &std::io::Error, what: &str) -> Result<Option<Status>> {
    match error.kind() {
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => Ok(None),
        _ => Err(Failure::failed(format!("cannot {what}: {error}"))),
    }
}
