//! `mount`: checks what can be checked before, gets the password, and starts the daemon or becomes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::unmount::mount_point_of;
use super::{Chosen, chosen};
use crate::args::{Global, Mount, UnlockWith};
use crate::config::MountOptions;
use crate::daemon::{self, Launch, Ready};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::home::make_private_dir;
use crate::host::{self, Condition, DaemonLock};
use crate::progress::Progress;
use crate::wiring;

/// How long a mount waits for the end of the daemon before it.
const ENDING_LIMIT: Duration = Duration::from_secs(30);

/// A mount as wished for, by flags or by fstab.
pub(crate) struct Wish {
    /// The vault.
    pub(crate) chosen: Chosen,
    /// As typed.
    pub(crate) path: PathBuf,
    /// Complete.
    pub(crate) options: MountOptions,
    /// What opens the vault.
    pub(crate) unlock: UnlockWith,
    /// Stay in the foreground.
    pub(crate) foreground: bool,
}

/// `keepfs mount`.
pub(crate) fn from_flags(global: &Global, flags: &Mount) -> Result<()> {
    let chosen = chosen(global)?;
    let mut options = MountOptions::of(&chosen.config);
    for list in &flags.options {
        options.apply_list(list)?;
    }
    options.allow_other |= flags.allow_other;
    options.read_only |= flags.read_only;
    options.durability = flags.durability.unwrap_or(options.durability);
    options.compression = flags.compression.unwrap_or(options.compression);
    options.cache_limit = flags.cache_limit.or(options.cache_limit);
    options.limit_upload = flags.limit_upload.or(options.limit_upload);
    options.limit_download = flags.limit_download.or(options.limit_download);
    mount(Wish {
        chosen,
        path: flags.path.clone(),
        options,
        unlock: flags.unlock.clone(),
        foreground: flags.foreground,
    })
}

/// Mounts; returns when the mount answers, or in the foreground when it has ended.
pub(crate) fn mount(wish: Wish) -> Result<()> {
    let mount_point = prepare(&wish)?;
    let configured = (wish.options.password_file.as_deref(), wish.options.password_command.as_deref());
    let prompt = format!("Password of vault '{}': ", wish.chosen.name);
    let secret = super::secret(&wish.unlock, configured, &prompt)?;
    let launch = Launch {
        vault: wish.chosen.name,
        store: wish.chosen.config.store,
        places: wish.chosen.places,
        mount_point,
        options: wish.options,
    };
    if wish.foreground {
        daemon::log_to_stderr()?;
        return daemon::run(&launch, &secret, |ready| {
            tell(&launch, &ready);
            true
        });
    }
    let moment = Progress::moment("mounting");
    let ready = daemon::start(&launch, &secret)?;
    drop(moment);
    tell(&launch, &ready);
    Ok(())
}

fn tell(launch: &Launch, ready: &Ready) {
    if let Some(recovered) = &ready.recovered {
        println!("{}", wiring::recovered_sentence(recovered));
    }
    for warning in &ready.warnings {
        eprintln!("keepfs: warning: {warning}");
    }
    println!("Vault '{}' is mounted on {}.", launch.vault, launch.mount_point.display());
}

/// Everything that can be refused before a password is asked for. Heals what a dead daemon left.
fn prepare(wish: &Wish) -> Result<PathBuf> {
    let mount_point = mount_point_of(&wish.path)?;
    let at = |failure: Failure| failure.at(mount_point.display());
    if host::condition(&mount_point)? == Condition::Stale {
        host::heal(&mount_point)?;
        eprintln!(
            "keepfs: the daemon that served {} had died; its mount was taken away",
            mount_point.display()
        );
    }
    make_private_dir(&wish.chosen.places.state)?;
    wait_for_holder(&wish.chosen.places.lock)?;
    match host::condition(&mount_point)? {
        Condition::Directory => {}
        Condition::Missing => {
            let failure = Failure::failed("the mount point does not exist");
            return Err(at(failure).advise(format!("make it: mkdir {}", mount_point.display())));
        }
        Condition::NotDirectory => return Err(at(Failure::failed("the mount point is not a directory"))),
        Condition::Mounted => {
            let failure = Failure::new(Exit::Locked, "a vault is mounted there already");
            return Err(at(failure).advise(format!("run 'keepfs unmount {}' first", mount_point.display())));
        }
        Condition::Stale => return Err(at(Failure::failed("the dead mount does not go away"))),
    }
    keep_apart(&mount_point, &wish.chosen)?;
    Ok(mount_point)
}

/// Refuses a vault that is mounted elsewhere. One whose daemon was killed or is flushing is free in a moment.
fn wait_for_holder(lock: &Path) -> Result<()> {
    let Some(holder) = DaemonLock::holder(lock) else { return Ok(()) };
    if let Some(point) = holder.as_ref().and_then(|holder| holder.mount_point.as_ref())
        && host::condition(point)? != Condition::Mounted
        && DaemonLock::wait_until_free(lock, ENDING_LIMIT)
    {
        return Ok(());
    }
    Err(host::held(holder, lock))
}

/// A daemon whose own files lie below its mount would wait for itself for ever.
fn keep_apart(mount_point: &Path, chosen: &Chosen) -> Result<()> {
    let mut own = vec![chosen.places.state.clone(), chosen.home.config_dir.clone()];
    own.extend(chosen.config.store.strip_prefix("file://").map(PathBuf::from));
    for path in own {
        let path = path.canonicalize().unwrap_or(path);
        if path.starts_with(mount_point) {
            return Err(Failure::usage(format!("{} lies below the mount point", path.display()))
                .at(mount_point.display())
                .advise("mount elsewhere: the vault's own files cannot be inside it"));
        }
    }
    Ok(())
}

impl Wish {
    /// In the background, with the password from the options or the environment.
    pub(crate) fn unattended(chosen: Chosen, path: PathBuf, options: MountOptions) -> Self {
        Self { chosen, path, options, unlock: UnlockWith::default(), foreground: false }
    }
}
