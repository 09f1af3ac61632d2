//! A vault from the door, for the commands: found, join, unlock, and who may enter.
//!
//! Every way in holds the vault's lock on this machine; the guard that does is part of what each of them takes.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use keepfs_fs::FsError;
use keepfs_fs::disk::OsDisk;
use keepfs_fs::home::{
    self, KdfParams, NewVault, Notice, RecoveryPhrase, Site, SlotKind, UnlockSecret, Unlocked,
};
use keepfs_store::{ObjectName, Store, StoreError};
use keepfs_stores::OpenOptions;
use serde::Serialize;
use zeroize::Zeroizing;

use super::failures::{fs_failure, store_failure};
use crate::environment::OperatingSystem;
use crate::failure::{Doing, Failure, Result};
use crate::home::{VaultPlaces, make_private_dir};
use crate::host::{DaemonLock, Holder};
use crate::password::Password;
use crate::size::Size;

/// The lock on one vault of this machine, and its store.
pub(crate) struct Guard {
    places: VaultPlaces,
    store: Option<Arc<dyn Store>>,
    _lock: DaemonLock,
}

/// What opens a vault.
pub(crate) enum Secret {
    /// A password.
    Password(Password),
    /// The recovery phrase.
    Phrase(RecoveryPhrase),
}

/// First byte of a secret on its way to the daemon.
const PASSWORD: u8 = b'p';
const PHRASE: u8 = b'w';

impl Secret {
    /// For the pipe to the daemon.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let words;
        let (kind, secret) = match self {
            Self::Password(password) => (PASSWORD, password.as_slice()),
            Self::Phrase(phrase) => {
                words = phrase.words();
                (PHRASE, words.as_bytes())
            }
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(secret.len() + 1));
        bytes.push(kind);
        bytes.extend_from_slice(secret);
        bytes
    }

    /// From the pipe to the daemon.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((&PASSWORD, password)) => Ok(Self::Password(Zeroizing::new(password.to_vec()))),
            Some((&PHRASE, words)) => {
                let words = std::str::from_utf8(words).doing("read the recovery phrase")?;
                Ok(Self::Phrase(RecoveryPhrase::parse(words).doing("read the recovery phrase")?))
            }
            _ => Err(Failure::failed("the daemon was not told what opens the vault")),
        }
    }

    fn as_unlock(&self) -> UnlockSecret<'_> {
        match self {
            Self::Password(password) => UnlockSecret::Password(password),
            Self::Phrase(phrase) => UnlockSecret::Phrase(phrase),
        }
    }
}

impl Guard {
    /// Takes the lock, saying who does.
    pub(crate) fn take(places: &VaultPlaces, holder: &Holder) -> Result<Self> {
        make_private_dir(&places.state)?;
        #[cfg(feature = "telegram")]
        if let Some(state_dir) = places.state.parent() {
            super::belong_to(state_dir);
        }
        let lock = DaemonLock::take(&places.lock, holder)?;
        Ok(Self { places: places.clone(), store: None, _lock: lock })
    }

    /// Opens the store, which must be there.
    pub(crate) fn with_store(mut self, url: &str, options: OpenOptions) -> Result<Self> {
        self.store = Some(super::open_store(url, options, &self.places.credentials)?.store);
        Ok(self)
    }

    /// With a store that is open already.
    pub(crate) fn with_opened(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    fn site(&self) -> Site<'_> {
        Site {
            store: self.store.as_deref(),
            disk: &OsDisk,
            state_dir: &self.places.state,
            env: &OperatingSystem,
        }
    }
}

/// Checks the memory that a guess shall cost; the default without a wish.
pub(crate) fn kdf_of(memory: Option<Size>) -> Result<KdfParams> {
    let Some(memory) = memory else { return Ok(KdfParams::DEFAULT) };
    let (floor, ceiling) = (KdfParams::FLOOR, KdfParams::CEILING);
    let kib = u32::try_from(memory.0 >> 10).unwrap_or(u32::MAX);
    KdfParams::new(kib, KdfParams::DEFAULT.passes(), KdfParams::DEFAULT.lanes()).map_err(|_| {
        let size = |params: KdfParams| Size(u64::from(params.memory_kib()) << 10);
        Failure::usage(format!("{memory} is not between {} and {}", size(floor), size(ceiling)))
            .at("--kdf-memory")
    })
}

/// Refuses a store that holds a vault, before anything is asked of the user.
pub(crate) fn check_vacant(url: &str, credentials: &Path) -> Result<()> {
    match super::open_store(url, OpenOptions::default(), credentials) {
        Ok(opened) if holds_vault(&*opened.store).unwrap_or(false) => {
            Err(fs_failure(&FsError::VaultExists).at(url))
        }
        // Whatever else is wrong with it shows when it is opened to be used.
        _ => Ok(()),
    }
}

/// Refuses a store that holds no vault, before anything is asked of the user.
pub(crate) fn check_vault(guard: &Guard) -> Result<()> {
    match &guard.store {
        Some(store) if !holds_vault(&**store)? => Err(fs_failure(&FsError::NoVault)),
        _ => Ok(()),
    }
}

fn holds_vault(store: &dyn Store) -> Result<bool> {
    for name in [ObjectName::vault(), ObjectName::vault_backup()] {
        // A read and no question for the length: to that one some services answer without a reason.
        match store.get_range(&name, 0, &mut [0]) {
            Ok(()) => return Ok(true),
            Err(StoreError::NotFound { .. }) => {}
            Err(error) => return Err(store_failure(&error)),
        }
    }
    // A bucket that is not there shows in a listing, if it has not shown yet.
    store.list("vault", &mut |_| ControlFlow::Break(())).map_err(|error| store_failure(&error))?;
    Ok(false)
}

/// Founds a vault.
pub(crate) fn found(
    guard: &Guard,
    password: &Password,
    kdf: KdfParams,
) -> Result<(RecoveryPhrase, Vec<Notice>)> {
    let new = NewVault {
        password,
        kdf,
        user_name: &user_name(),
        machine_name: &machine_name(),
        compression: keepfs_format::compress::Compression::Zstd(1),
    };
    let (phrase, unlocked) = home::init(&guard.site(), &new).map_err(|error| fs_failure(&error))?;
    Ok((phrase, unlocked.notices))
}

/// Attaches this machine to a vault.
pub(crate) fn join(guard: &Guard, secret: &Secret) -> Result<Vec<Notice>> {
    let joined = home::join(&guard.site(), secret.as_unlock(), &machine_name());
    Ok(joined.map_err(|error| fs_failure(&error))?.notices)
}

/// Opens a vault that this machine belongs to.
pub(crate) fn unlock(guard: &Guard, secret: &Secret) -> Result<Unlocked> {
    home::unlock(&guard.site(), secret.as_unlock()).map_err(|error| fs_failure(&error))
}

/// One way to unlock a vault.
#[derive(Serialize)]
pub(crate) struct Slot {
    /// Its name, in hexadecimal.
    pub(crate) id: String,
    /// What opens it, in one word.
    pub(crate) kind: &'static str,
    /// Bytes of memory that a guess costs, of passwords.
    pub(crate) kdf_memory: Option<u64>,
    /// Unix seconds.
    pub(crate) created: i64,
    /// Whether it was used just now.
    pub(crate) in_use: bool,
}

/// The ways to unlock a vault.
pub(crate) fn slots(unlocked: &Unlocked) -> Result<Vec<Slot>> {
    let slots = home::list_slots(unlocked).map_err(|error| fs_failure(&error))?;
    let slots = slots.into_iter().map(|slot| Slot {
        id: slot.id.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        kind: match slot.kind {
            SlotKind::Password(_) => "password",
            SlotKind::Phrase => "phrase",
        },
        kdf_memory: match slot.kind {
            SlotKind::Password(kdf) => Some(u64::from(kdf.memory_kib()) << 10),
            SlotKind::Phrase => None,
        },
        created: slot.created.secs,
        in_use: slot.in_use,
    });
    Ok(slots.collect())
}

/// Replaces the password that the vault was unlocked with.
pub(crate) fn change_password(
    guard: &Guard,
    unlocked: &mut Unlocked,
    password: &Password,
    kdf: KdfParams,
) -> Result<Vec<Notice>> {
    home::change_password(&guard.site(), unlocked, password, kdf).map_err(|error| fs_failure(&error))
}

/// Replaces the recovery phrase.
pub(crate) fn new_phrase(guard: &Guard, unlocked: &mut Unlocked) -> Result<(RecoveryPhrase, Vec<Notice>)> {
    home::new_phrase(&guard.site(), unlocked).map_err(|error| fs_failure(&error))
}

/// What people call this machine. It stands, sealed, in the roster.
fn machine_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "machine".to_owned() } else { name.to_owned() }
}

/// What people call this user. It stands, sealed, in the roster.
fn user_name() -> String {
    std::env::var("USER").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "owner".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_survive_the_pipe() {
        let phrase = RecoveryPhrase::draw(&OperatingSystem);
        let words = phrase.words();
        match Secret::from_bytes(&Secret::Phrase(phrase).to_bytes()).unwrap() {
            Secret::Phrase(received) => assert_eq!(*received.words(), *words),
            Secret::Password(_) => panic!("a phrase became a password"),
        }
        match Secret::from_bytes(&Secret::Password(Zeroizing::new(b"p\xff".to_vec())).to_bytes()).unwrap() {
            Secret::Password(received) => assert_eq!(*received, *b"p\xff"),
            Secret::Phrase(_) => panic!("a password became a phrase"),
        }
        assert!(Secret::from_bytes(b"").is_err() && Secret::from_bytes(b"wone two").is_err());
    }

    #[test]
    fn cost_of_a_guess_has_bounds() {
        assert_eq!(kdf_of(None).unwrap(), KdfParams::DEFAULT);
        assert_eq!(kdf_of(Some(Size(64 << 20))).unwrap(), KdfParams::FLOOR);
        for size in [0, 63 << 20, 5 << 30, u64::MAX] {
            assert!(kdf_of(Some(Size(size))).is_err());
        }
    }
}
