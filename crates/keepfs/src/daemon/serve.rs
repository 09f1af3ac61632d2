//! The life of one mount: lock, unlock, mount, serve until asked to stop, flush, end.
//!
//! One thread decides when to end; signals, the control socket and the kernel send it events. Whatever the way
//! to the end, the file system is closed before the lock on the vault is given back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use keepfs_fuse::{FuseError, Mounted, Unmount};
use rustix::fs::Mode;
use rustix::process::DumpableBehavior;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::report::Reporter;
use super::service::ControlService;
use super::{Launch, Ready};
use crate::control::{self, Status};
use crate::failure::{Doing, Result};
use crate::host::{Notify, busy, hand_signals_over};
use crate::leftover;
use crate::wiring::{self, OpenVault, Secret};

/// How long programs that use a mount which must go may finish what they are doing.
const DETACHED_LIMIT: Duration = Duration::from_secs(2);

/// How long the peer that asked for the end may take to hear that it came.
const LAST_WORD_LIMIT: Duration = Duration::from_secs(5);

/// What may happen to a mount from outside.
pub(super) enum Event {
    /// Somebody wants the process to end.
    Signal(i32),
    /// Somebody asks over the control socket; hears the outcome.
    Unmount(Sender<Result<Farewell>>),
    /// The kernel has let the mount go.
    Ended,
}

/// What the peer that asked for the end hears.
pub(super) struct Farewell {
    /// The daemon after everything was flushed.
    pub(super) status: Box<Status>,
    /// Dropped when the peer has been told.
    pub(super) told: Sender<()>,
}

/// How it ended.
struct End {
    asker: Asker,
    outcome: Result<Box<Status>>,
}

/// Serves one mount from beginning to end. `ready` hears once that it answers; false means that whoever wanted
/// the mount is gone.
pub(crate) fn run(launch: &Launch, secret: &Secret, ready: impl FnOnce(Ready) -> bool) -> Result<()> {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
    // From here on this memory holds keys: no core file shall, and nobody but root may look.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).doing("forbid core files")?;
    let vault = Arc::new(OpenVault::open(launch, secret)?);
    let end = match vault.mount(launch) {
        Ok(mounted) => serve(launch, &vault, mounted, ready),
        Err(failure) => {
            vault.close()?;
            Err(failure)
        }
    };
    // Here the database is closed and the lock given back: everybody else holds the vault weakly.
    drop(vault);
    say_farewell(end?)
}

fn serve(
    launch: &Launch,
    vault: &Arc<OpenVault>,
    mounted: Mounted,
    ready: impl FnOnce(Ready) -> bool,
) -> Result<End> {
    leftover::forget(&launch.places);
    let mounted = Arc::new(mounted);
    let reporter = Arc::new(Reporter::new(launch.clone(), Arc::clone(vault)));
    let notify = Notify::from_environment();
    let (events, inbox) = channel();
    let service = ControlService::new(Arc::downgrade(vault), Arc::downgrade(&reporter), events.clone());
    let started =
        watch_signals(events.clone()).and_then(|()| watch_session(Arc::clone(&mounted), events)).and_then(
            |()| control::serve(&launch.places.socket, Arc::new(service)).doing("open the control socket"),
        );
    if let Err(failure) = started {
        take_away(&mounted, &inbox);
        vault.close()?;
        return Err(failure);
    }
    tracing::info!("serving vault '{}'", launch.vault);
    notify.ready(&format!("serving {}", launch.mount_point.display()));
    let asker = match ready(reporter.ready()) {
        true => attend(&mounted, &inbox),
        false => take_away(&mounted, &inbox),
    };
    notify.stopping("flushing");
    let closed = vault.close();
    // Whoever connects from here on hears that no daemon runs, which is about to be true.
    let _ = std::fs::remove_file(&launch.places.socket);
    match &closed {
        Ok(()) => {
            leftover::remember(&launch.places, reporter.pending());
            tracing::info!("the mount has ended in order");
        }
        Err(failure) => tracing::error!("closing: {}", failure.what),
    }
    Ok(End { asker, outcome: closed.map(|()| Box::new(reporter.status())) })
}

/// Who wanted the end, if it was somebody who waits for an answer.
type Asker = Option<Sender<Result<Farewell>>>;

/// Waits for a reason to end, and ends the mount.
fn attend(mounted: &Mounted, inbox: &Receiver<Event>) -> Asker {
    loop {
        match inbox.recv() {
            Ok(Event::Unmount(asker)) => match mounted.unmount(Unmount::WhenIdle) {
                Ok(()) => {
                    wait_for_kernel(inbox, None);
                    return Some(asker);
                }
                Err(error) => {
                    let failure = match error {
                        FuseError::Busy { path } => busy(&path),
                        other => wiring::fuse_failure(&other),
                    };
                    // Nobody listens any more: then nobody needs to hear that nothing happened.
                    let _ = asker.send(Err(failure));
                }
            },
            Ok(Event::Signal(signal)) => {
                tracing::info!("signal {signal}: unmounting");
                return take_away(mounted, inbox);
            }
            Ok(Event::Ended) | Err(_) => return None,
        }
    }
}

/// Unmounts whether or not somebody uses it.
fn take_away(mounted: &Mounted, inbox: &Receiver<Event>) -> Asker {
    match mounted.unmount(Unmount::WhenIdle) {
        Ok(()) => wait_for_kernel(inbox, None),
        Err(error) => {
            tracing::warn!("the mount is in use or does not go ({error}); it is detached");
            if let Err(error) = mounted.unmount(Unmount::Detach) {
                tracing::error!("detaching: {error}");
            }
            wait_for_kernel(inbox, Some(DETACHED_LIMIT));
        }
    }
    None
}

/// Until the kernel has sent its last request, or for a limited time.
fn wait_for_kernel(inbox: &Receiver<Event>, limit: Option<Duration>) {
    let start = Instant::now();
    loop {
        let event = match limit {
            None => inbox.recv().ok(),
            Some(limit) => inbox.recv_timeout(limit.saturating_sub(start.elapsed())).ok(),
        };
        match event {
            Some(Event::Ended) | None => return,
            // Everything else asks for what is already happening.
            Some(Event::Signal(_) | Event::Unmount(_)) => {}
        }
    }
}

fn say_farewell(end: End) -> Result<()> {
    let outcome = end.outcome.as_ref().map(|_| ()).map_err(Clone::clone);
    if let Some(asker) = end.asker {
        let (told, heard) = channel();
        if asker.send(end.outcome.map(|status| Farewell { status, told })).is_ok() {
            // Nothing is ever sent: the wait ends when the other side drops its end after it has told its peer.
            let _ = heard.recv_timeout(LAST_WORD_LIMIT);
        }
    }
    outcome
}

fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).doing("listen to signals")?;
    hand_signals_over();
    let watch = move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(watch).doing("start a thread")?;
    Ok(())
}

fn watch_session(mounted: Arc<Mounted>, events: Sender<Event>) -> Result<()> {
    let watch = move || {
        if let Err(error) = mounted.wait() {
            tracing::error!("the mount ended: {error}");
        }
        // The receiver may have stopped waiting.
        let _ = events.send(Event::Ended);
    };
    std::thread::Builder::new().name("session".to_owned()).spawn(watch).doing("start a thread")?;
    Ok(())
}
