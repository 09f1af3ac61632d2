//! The daemon's side of the control socket: who may ask, one thread a connection, and nothing decided here.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::protocol::{Pending, Reply, Request, Status};
use super::socket::{Lines, listen};
use crate::failure::{Failure, Result};

/// Connections served at once; one beyond is closed at once.
const CONNECTIONS_MAX: usize = 16;

/// A peer that says nothing for this long is dropped.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// What stands behind the socket.
pub(crate) trait Service: Send + Sync + 'static {
    /// Does what is asked. `progress` returns false when nobody listens any more.
    fn answer(&self, request: &Request, progress: &mut dyn FnMut(&Pending) -> bool) -> Result<Answer>;
}

/// What the daemon says, and whether it ends after it.
pub(crate) struct Answer {
    /// The daemon's state.
    pub(crate) status: Box<Status>,
    /// There when the process ends now: dropped once the peer has heard the answer. The connection then stays
    /// open until the process is gone, so that the peer can wait for that.
    pub(crate) told: Option<Sender<()>>,
}

/// Accepts connections for as long as the process lives. The caller holds the daemon's lock.
pub(crate) fn serve(socket: &Path, service: Arc<dyn Service>) -> std::io::Result<()> {
    let listener = listen(socket)?;
    std::thread::Builder::new().name("control".to_owned()).spawn(move || accept(&listener, &service))?;
    Ok(())
}

fn accept(listener: &UnixListener, service: &Arc<dyn Service>) {
    let busy = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        let stream = match stream {
            Ok(stream) if is_allowed(&stream) => stream,
            Ok(_) => continue,
            Err(error) => {
                tracing::warn!("the control socket failed to accept: {error}");
                // Out of descriptors, most likely: trying again at once would only burn the processor.
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let Some(seat) = Seat::take(&busy) else { continue };
        let service = Arc::clone(service);
        let spawned = std::thread::Builder::new().name("control-peer".to_owned()).spawn(move || {
            let _seat = seat;
            if let Err(error) = converse(stream, &*service) {
                tracing::debug!("a control connection ended: {error}");
            }
        });
        if let Err(error) = spawned {
            tracing::warn!("the control socket cannot serve: {error}");
        }
    }
}

/// One of [`CONNECTIONS_MAX`] places, given back when dropped.
struct Seat(Arc<AtomicUsize>);

impl Seat {
    fn take(busy: &Arc<AtomicUsize>) -> Option<Self> {
        let seat = Self(Arc::clone(busy));
        (busy.fetch_add(1, Ordering::AcqRel) < CONNECTIONS_MAX).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Only the user who mounted, and root. The mode of the socket says the same; this holds even if somebody changes it.
fn is_allowed(stream: &UnixStream) -> bool {
    match rustix::net::sockopt::socket_peercred(stream) {
        Ok(peer) => peer.uid.is_root() || peer.uid == rustix::process::geteuid(),
        Err(_) => false,
    }
}

fn converse(stream: UnixStream, service: &dyn Service) -> std::io::Result<()> {
    stream.set_read_timeout(Some(SILENCE_MAX))?;
    stream.set_write_timeout(Some(SILENCE_MAX))?;
    let mut out = stream.try_clone()?;
    let mut lines = Lines::new(stream);
    while let Some(line) = lines.next()? {
        let answer = match serde_json::from_str::<Request>(&line) {
            Ok(request) => service.answer(&request, &mut |pending| {
                send(&mut out, &Reply::Progress { pending: pending.clone() }).is_ok()
            }),
            Err(error) => {
                Err(Failure::failed(format!("the daemon does not understand the request: {error}"))
                    .advise("the daemon may be of another version; unmount and mount again"))
            }
        };
        match answer {
            Ok(Answer { status, told }) => {
                let sent = send(&mut out, &Reply::Done { status });
                if let Some(told) = told {
                    drop(told);
                    hold_until_the_process_ends();
                }
                sent?;
            }
            Err(failure) => send(&mut out, &Reply::Failed(failure))?,
        }
    }
    Ok(())
}

/// The kernel closes the connection when the process is gone, and that is what the peer waits for.
fn hold_until_the_process_ends() {
    loop {
        std::thread::park();
    }
}

fn send(out: &mut UnixStream, reply: &Reply) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    out.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Client;
    use crate::control::protocol::tests::status;

    struct Echo;

    impl Service for Echo {
        fn answer(&self, request: &Request, progress: &mut dyn FnMut(&Pending) -> bool) -> Result<Answer> {
            match request {
                Request::Status => Ok(Answer { status: Box::new(status()), told: None }),
                _ => {
                    progress(&Pending { bytes: 7, ..Pending::default() });
                    Err(Failure::failed("no"))
                }
            }
        }
    }

    #[test]
    fn questions_are_answered_with_progress_and_failures() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        serve(&socket, Arc::new(Echo)).unwrap();
        let mut client = Client::connect(&socket).unwrap().unwrap();
        assert_eq!(client.must_answer(&Request::Status, &mut |_| {}).unwrap(), status());
        let mut seen = Vec::new();
        let failure = client.ask(&Request::Sync, &mut |pending| seen.push(pending.bytes)).unwrap_err();
        assert_eq!((failure.what.as_str(), seen), ("no", vec![7]));
        assert_eq!(client.must_answer(&Request::Status, &mut |_| {}).unwrap(), status());
    }

    #[test]
    fn request_of_another_version_is_refused_in_words() {
        use std::io::{BufRead, BufReader};
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("control.sock");
        serve(&socket, Arc::new(Echo)).unwrap();
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"{\"command\":\"dance\"}\n").unwrap();
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        assert!(line.contains(r#""event":"failed""#) && line.contains("another version"), "{line}");
    }
}
