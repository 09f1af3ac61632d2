//! One running `ssh` and the session through it, made when it is needed and again after it broke.

use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keepfs_store::{Result, Retry, StoreError};
use parking_lot::Mutex;
use russh_sftp::client::{Config, RawSftpSession};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStderr, Command};

use super::Target;
use super::errors::{is_broken, ssh_error};

/// Longest wait for a connection, in seconds.
const CONNECT_WAIT_SECONDS: u64 = 20;

/// Longest wait for the answer to one request, in seconds: a write of 32 KiB behind a window of others.
const REQUEST_WAIT_SECONDS: u64 = 60;

/// Bytes of one read or write that every server takes (draft-ietf-secsh-filexfer-02, section 3).
const PIECE_LEN: u32 = 32 << 10;

/// Most bytes of one piece, whatever a server offers.
const PIECE_LEN_MAX: u64 = 256 << 10;

/// Room beside the bytes in a packet: header, handle, offset.
const PACKET_OVERHEAD: u64 = 1 << 10;

/// Most of what `ssh` says that is kept, in bytes.
const SAID_LEN_MAX: usize = 4 << 10;

/// Renames over what is there, in one step (OpenSSH, PROTOCOL, section 4.3).
pub(super) const POSIX_RENAME: &str = "posix-rename@openssh.com";

/// A connection that answers.
pub(super) struct Connection {
    pub(super) session: RawSftpSession,
    /// Bytes of one read, and of one write.
    pub(super) read_len: u32,
    pub(super) write_len: u32,
    pub(super) can_sync: bool,
    pub(super) can_tell_space: bool,
    broken: AtomicBool,
    said: Arc<Mutex<Vec<u8>>>,
    /// Killed when the last user of the connection lets it go.
    _ssh: Child,
}

impl Connection {
    /// Passes a result on, and remembers if the connection did not survive it.
    pub(super) fn note<T>(
        &self,
        result: std::result::Result<T, russh_sftp::client::error::Error>,
    ) -> std::result::Result<T, russh_sftp::client::error::Error> {
        if let Err(error) = &result
            && is_broken(error)
        {
            self.broken.store(true, Ordering::Relaxed);
        }
        result
    }

    fn is_broken(&self) -> bool {
        self.broken.load(Ordering::Relaxed)
    }

    /// Starts `ssh` and asks the server what it can do.
    async fn open(target: &Target) -> Result<Self> {
        let mut ssh = spawn(target)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        let pipes = (ssh.stdin.take(), ssh.stdout.take(), ssh.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(StoreError::io_soon("ssh was started without pipes"));
        };
        tokio::spawn(listen(stderr, said.clone()));
        let config = Config { request_timeout_secs: REQUEST_WAIT_SECONDS, ..Config::default() };
        // Answers are as long as the longest read, and listings a little longer.
        let config = Config { max_packet_len: (PIECE_LEN_MAX * 2) as u32, ..config };
        let mut session = RawSftpSession::new_with_config(tokio::io::join(stdout, stdin), config);
        let greeting = tokio::time::timeout(Duration::from_secs(CONNECT_WAIT_SECONDS), session.init()).await;
        let version = match greeting {
            Ok(Ok(version)) => version,
            _ => {
                // It may still be about to say why.
                let _ = tokio::time::timeout(Duration::from_secs(1), ssh.wait()).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                return Err(ssh_error(&String::from_utf8_lossy(&said.lock())));
            }
        };
        let offers = |extension: &str| version.extensions.contains_key(extension);
        if !offers(POSIX_RENAME) {
            return Err(StoreError::invalid(format!(
                "the server cannot replace a file in one step ({POSIX_RENAME})"
            )));
        }
        let (mut read_len, mut write_len) = (PIECE_LEN, PIECE_LEN);
        if offers(russh_sftp::extensions::LIMITS)
            && let Ok(limits) = session.limits().await
        {
            let piece = |offered: u64| {
                u32::try_from(offered.min(PIECE_LEN_MAX - PACKET_OVERHEAD)).unwrap_or(PIECE_LEN)
            };
            read_len = piece(limits.max_read_len).max(PIECE_LEN);
            write_len = piece(limits.max_write_len).max(PIECE_LEN);
        }
        session.set_timeout(REQUEST_WAIT_SECONDS);
        session.set_limits(russh_sftp::client::rawsession::Limits::default());
        let can_sync = offers(russh_sftp::extensions::FSYNC);
        let can_tell_space = offers(russh_sftp::extensions::STATVFS);
        let broken = AtomicBool::new(false);
        Ok(Connection { session, read_len, write_len, can_sync, can_tell_space, broken, said, _ssh: ssh })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Only for whoever debugs: what ssh said at last is not shown to anybody.
        self.said.lock().clear();
    }
}

fn spawn(target: &Target) -> Result<Child> {
    let mut command = Command::new("ssh");
    // Nobody is there to be asked, and a dead line shall be noticed.
    command.args([
        "-oBatchMode=yes",
        "-oConnectTimeout=10",
        "-oServerAliveInterval=15",
        "-oServerAliveCountMax=2",
    ]);
    command.args(["-oClearAllForwardings=yes", "-oControlMaster=no", "-oControlPath=none", "-T"]);
    if let Some(config) = &target.config {
        command.arg("-F").arg(config);
    }
    if let Some(identity) = &target.identity {
        command.arg("-i").arg(identity);
    }
    if let Some(port) = target.port {
        command.arg("-p").arg(port.to_string());
    }
    if let Some(user) = &target.user {
        command.arg("-l").arg(user);
    }
    command.args(["-s", "--", &target.host, "sftp"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // An interrupt meant for the program in the foreground is not meant for its connection.
    command.process_group(0).kill_on_drop(true);
    command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => StoreError::invalid("the program ssh is not installed"),
        _ => StoreError::io_soon(format!("starting ssh: {error}")),
    })
}

/// Keeps the beginning of what `ssh` says; the rest is read so that it does not block.
async fn listen(mut stderr: ChildStderr, said: Arc<Mutex<Vec<u8>>>) {
    let mut part = [0; 1024];
    while let Ok(len @ 1..) = stderr.read(&mut part).await {
        let mut said = said.lock();
        let room = SAID_LEN_MAX.saturating_sub(said.len());
        said.extend_from_slice(&part[..len.min(room)]);
    }
}

/// A place for one connection: made on first use, replaced when broken.
pub(super) struct Lane {
    current: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

impl Lane {
    pub(super) fn new() -> Self {
        Lane { current: tokio::sync::Mutex::new(None) }
    }

    /// The connection; those who come while it is being made wait for it.
    pub(super) async fn connection(&self, target: &Target) -> Result<Arc<Connection>> {
        let mut current = self.current.lock().await;
        if let Some(connection) = current.as_ref().filter(|connection| !connection.is_broken()) {
            return Ok(connection.clone());
        }
        *current = None;
        let limit = Duration::from_secs(2 * CONNECT_WAIT_SECONDS);
        let opened = tokio::time::timeout(limit, Connection::open(target)).await;
        let connection = opened.unwrap_or_else(|_| {
            let detail = format!("no connection within {} seconds", limit.as_secs());
            Err(StoreError::Unavailable { detail, retry: Retry::Soon })
        })?;
        Ok(current.insert(Arc::new(connection)).clone())
    }
}
