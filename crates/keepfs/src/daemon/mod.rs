//! The process that serves one mount, from the lock on the vault to the last flushed byte.
//!
//! It is the same whether it stays in the foreground or was sent to the background; only who hears that it is
//! ready differs. It decides when to end; how files behave is keepfs-fs's business.

mod launch;
mod log;
mod report;
mod serve;
mod service;

pub(crate) use launch::start;
pub(crate) use log::log_to_stderr;
pub(crate) use serve::run;

use std::fs::OpenOptions;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::config::MountOptions;
use crate::control::Recovered;
use crate::exit::Exit;
use crate::failure::{Doing, Failure, Result};
use crate::home::VaultPlaces;

/// What to mount, where and how.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Name of the vault on this machine.
    pub(crate) vault: String,
    /// URL of its store.
    pub(crate) store: String,
    /// Its places on this machine.
    pub(crate) places: VaultPlaces,
    /// Absolute, without links.
    pub(crate) mount_point: PathBuf,
    /// How.
    pub(crate) options: MountOptions,
}

/// What the mount has to say when it begins.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// What was found after a crash.
    pub(crate) recovered: Option<Recovered>,
    /// What its owner should know: sentences.
    pub(crate) warnings: Vec<String>,
}

/// The only argument of the process that becomes a daemon. No command of the command line: nobody types it.
pub(crate) const WORD: &str = "daemon-of-mount";

/// Becomes a daemon and serves what the pipe on standard input says. Failures go to whoever waits at the other
/// end of standard output, and to the log; that one tells them to the user.
pub(crate) fn background() -> Exit {
    let mut was_ready = false;
    match become_daemon(&mut was_ready) {
        Ok(()) => Exit::Ok,
        Err(failure) => {
            tracing::error!("the daemon ends: {}", failure.what);
            if !was_ready {
                launch::say(std::io::stdout(), Err(failure.clone()));
            }
            failure.exit
        }
    }
}

fn become_daemon(was_ready: &mut bool) -> Result<()> {
    let (launch, secret) = launch::receive(std::io::stdin().lock())?;
    // Its own session: no terminal can hang it up. No directory is kept busy.
    rustix::process::setsid().doing("leave the terminal")?;
    rustix::process::chdir("/").doing("leave the directory")?;
    log::log_to_file(&launch.places.log)?;
    run(&launch, &secret, |ready| {
        *was_ready = launch::say(std::io::stdout(), Ok(ready)) && let_go_of_standard_streams().is_ok();
        *was_ready
    })
}

/// Whoever waits for our output to end shall not wait for the mount to end.
fn let_go_of_standard_streams() -> Result<()> {
    let null = OpenOptions::new().read(true).write(true).open("/dev/null").doing("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).doing("close standard input")?;
    rustix::stdio::dup2_stdout(&null).doing("close standard output")?;
    rustix::stdio::dup2_stderr(&null).doing("close standard error")
}

/// Panics become log lines: place and message, no backtrace.
pub(crate) fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("without a message");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!("panicked at {place}: {message}");
        let failure = Failure::failed(format!("internal error: {message}"))
            .at(place)
            .advise("please report this; what was synced is safe");
        // Standard error may be gone; the log has the line then.
        let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("keepfs: {failure}\n").as_bytes());
    }));
}
