//! `unmount`: flush, take the mount away, and return when the daemon has finished.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::args::{Global, Unmount};
use crate::config::ConfigFile;
use crate::control::{Client, Reply, Request, Status};
use crate::failure::{Failure, Result};
use crate::home::{Home, VaultPlaces};
use crate::host::{self, Condition, DaemonLock, MountTable};
use crate::progress::{Progress, print_json, sentence};

/// A daemon that has answered ends at once; longer means that the machine is in trouble.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Unmounts a path, whoever serves it.
pub(crate) fn unmount(global: &Global, wish: &Unmount) -> Result<()> {
    let home = Home::find(global.home.as_deref())?;
    let path = mount_point_of(&wish.path)?;
    // Asking the daemons comes first: a path below a dead mount must not be looked at in vain.
    if let Some((daemon, places)) = daemon_of(&home, &path)?
        && through_daemon(daemon, &places, wish)?
    {
        return Ok(());
    }
    match host::condition(&path)? {
        Condition::Stale => {
            host::heal(&path)?;
            say(wish, &format!("The daemon of {} had died; the mount is gone now.", path.display()));
            Ok(())
        }
        Condition::Mounted => {
            // Another home's or another user's daemon: the kernel tells it, and it flushes by itself.
            host::unmount(&path)?;
            say(
                wish,
                &format!(
                    "{} is unmounted; its daemon belongs to another home and ends by itself.",
                    path.display()
                ),
            );
            Ok(())
        }
        Condition::Missing => Err(Failure::failed("there is no such path").at(path.display())),
        Condition::Directory | Condition::NotDirectory => Err(Failure::failed("no vault is mounted there")
            .at(path.display())
            .advise("'keepfs status' shows the mounts")),
    }
}

/// The path as the mount table has it. Works for a mount that answers nothing: only its parent is looked at.
pub(crate) fn mount_point_of(path: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("this path cannot be used: {error}")).at(path.display()))?;
    if MountTable::read()?.is_mount_point(&absolute) {
        return Ok(absolute);
    }
    if let Ok(real) = absolute.canonicalize() {
        return Ok(real);
    }
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(absolute),
    }
}

/// The daemon of this home that serves the mount point.
fn daemon_of(home: &Home, path: &Path) -> Result<Option<(Client, VaultPlaces)>> {
    for name in ConfigFile::load(home)?.config.vaults.keys() {
        let places = home.vault(name);
        let Some(Some(holder)) = DaemonLock::holder(&places.lock) else { continue };
        if holder.mount_point.as_deref() != Some(path) {
            continue;
        }
        if let Some(daemon) = Client::connect(&places.socket)? {
            return Ok(Some((daemon, places)));
        }
    }
    Ok(None)
}

/// False if the daemon died meanwhile.
fn through_daemon(mut daemon: Client, places: &VaultPlaces, wish: &Unmount) -> Result<bool> {
    let progress = Progress::new(wish.json, "flushing:");
    let request = Request::Unmount { wait: wish.wait };
    let answer = daemon.ask(&request, &mut |pending| progress.pending(pending))?;
    daemon.wait_for_end();
    progress.finish();
    if !DaemonLock::wait_until_free(&places.lock, END_LIMIT) {
        return Err(Failure::failed("the daemon has unmounted but does not end").at(places.lock.display()));
    }
    match answer {
        Some(status) => conclude(status, wish).map(|()| true),
        None => Ok(false),
    }
}

fn conclude(status: Status, wish: &Unmount) -> Result<()> {
    let pending = status.pending.clone().unwrap_or_default();
    let name = status.vault.clone();
    if wish.json {
        print_json(&Reply::Done { status: Box::new(status) });
    } else if pending.is_nothing() {
        println!("Unmounted; everything is on the store.");
    } else {
        println!("Unmounted; {}.", sentence(&pending));
        println!("It is safe on this machine and goes there when vault '{name}' is mounted again.");
    }
    Ok(())
}

fn say(wish: &Unmount, text: &str) {
    if wish.json {
        print_json(&serde_json::json!({ "event": "done", "message": text }));
    } else {
        println!("{text}");
    }
}
