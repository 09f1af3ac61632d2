//! Telegram as a store of this machine: where its session is kept, how it is sealed, which settings hold.
//!
//! There is one login a machine, whatever vaults use it, and it is needed before any of them is unlocked. So its
//! seal hangs on a key of its own that lies beside it, readable by its owner alone: a session that is copied
//! without the key is of no use; whoever reads both is logged in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use keepfs_format::env::Env;
use keepfs_format::local::{LocalKeys, PAGE_NONCE_LEN, PAGE_OVERHEAD_LEN, SALT_LEN};
use keepfs_format::secret::Secret;
use keepfs_store::Store;
use keepfs_stores::{OpenError, Place, Scheme};
use keepfs_telegram::{AuthKey, Endpoint, Machine, OpenWish, Settings, TelegramError, TelegramStore};
use zeroize::Zeroizing;

use crate::environment::OperatingSystem;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::home::make_private_dir;
use crate::private_file::{read_private_file, write_private_file};

/// What stands before the colon of such a store.
const SCHEME: &str = "telegram";
/// Directory of the session and the indexes: no vault can be called so.
const DIRECTORY: &str = ".telegram";
/// Longest sealed session, in bytes.
const SESSION_LEN_MAX: u64 = 128 << 10;
/// The place of the one page of a session.
const PAGE: u64 = 0;

/// The installation that this process belongs to.
static STATE: OnceLock<PathBuf> = OnceLock::new();

/// Tells where this installation keeps its state; the first word counts.
pub(crate) fn belong_to(state_dir: &Path) {
    STATE.get_or_init(|| state_dir.to_owned());
}

/// What follows the scheme, if a URL has this one.
pub(crate) fn rest_of(url: &str) -> Option<&str> {
    let (scheme, rest) = url.split_once(':')?;
    scheme.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

/// The URL to keep.
pub(crate) fn normalize(url: &str, rest: &str) -> Result<String, OpenError> {
    let bad = |error: TelegramError| OpenError::BadUrl { url: url.to_owned(), detail: error.to_string() };
    keepfs_telegram::check_place(rest).map_err(bad)?;
    Ok(format!("{SCHEME}:{rest}"))
}

/// This kind of store, for the table of all. Its secrets are the session's: `keepfs auth` asks for them.
pub(crate) fn scheme() -> Scheme {
    Scheme { name: SCHEME, open: open_telegram, secrets: &[] }
}

fn open_telegram(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let state = STATE.get().ok_or_else(|| place.bad("this user has no home directory".to_owned()))?;
    let settings = telegram_settings(state).map_err(|failure| place.bad(failure.to_string()))?;
    let store = TelegramStore::open(place.rest, OpenWish { create: place.options.create }, settings);
    match store {
        Ok(store) => Ok(Arc::new(store)),
        Err(error @ TelegramError::BadPlace { .. }) => Err(place.bad(error.to_string())),
        Err(error) => Err(OpenError::Store(error.into())),
    }
}

/// Settings of this machine, and what tests say in the environment.
pub(crate) fn telegram_settings(state_dir: &Path) -> Result<Settings> {
    let directory = state_dir.join(DIRECTORY);
    let machine = Arc::new(SealedSession { directory: directory.clone() });
    let mut settings = Settings::new(machine, directory);
    if let Some(server) = text("KEEPFS_TELEGRAM_SERVER")? {
        settings.endpoint = Some(endpoint(&server)?);
    }
    if let Some(millis) = number("KEEPFS_TELEGRAM_DEADLINE_MS")? {
        let deadline = Duration::from_millis(millis);
        settings.deadlines.connect = deadline;
        settings.deadlines.request = deadline;
        settings.deadlines.part = deadline;
    }
    if let Some(messages) = number("KEEPFS_TELEGRAM_VOLUME_MESSAGES")? {
        settings.volume_len_max = i32::try_from(messages).unwrap_or(i32::MAX).clamp(1, 600_000);
    }
    Ok(settings)
}

fn text(variable: &str) -> Result<Option<String>> {
    match std::env::var(variable) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(Failure::usage(error.to_string()).at(variable)),
    }
}

fn number(variable: &str) -> Result<Option<u64>> {
    let Some(value) = text(variable)? else { return Ok(None) };
    let number = value.parse().map_err(|_| Failure::usage("this is no number").at(variable))?;
    Ok(Some(number))
}

/// The server of a test, and the key it shares.
fn endpoint(server: &str) -> Result<Endpoint> {
    const KEY: &str = "KEEPFS_TELEGRAM_KEY_FILE";
    let address =
        server.parse().map_err(|_| Failure::usage("write ADDRESS:PORT").at("KEEPFS_TELEGRAM_SERVER"))?;
    let path = text(KEY)?.ok_or_else(|| Failure::usage("a test server shares a key in a file").at(KEY))?;
    let bytes = read_private_file(Path::new(&path), SESSION_LEN_MAX)
        .map_err(|error| Failure::failed(error.to_string()).at(&path))?;
    let key = bytes.and_then(|bytes| AuthKey::new(&bytes));
    Ok(Endpoint::new(address, key.ok_or_else(|| Failure::usage("this is no key of 256 bytes").at(KEY))?))
}

/// What a person should do about it.
pub(crate) fn telegram_failure(error: &TelegramError) -> Failure {
    let failure = Failure::failed(error.to_string());
    match error {
        TelegramError::NotLoggedIn
        | TelegramError::SessionEnded { .. }
        | TelegramError::SessionDuplicated
        | TelegramError::SessionUnreadable { .. } => {
            failure.advise("log in with 'keepfs auth --phone NUMBER'")
        }
        TelegramError::SessionLost => failure
            .advise("try again on another network; if it stays so, run 'keepfs auth --logout' and log in"),
        TelegramError::WrongCode | TelegramError::CodeExpired => failure.advise("run the command again"),
        TelegramError::WrongPassword => Failure::new(Exit::WrongPassword, error.to_string()),
        TelegramError::Wait { .. } => failure.advise("do not try again before: each attempt makes it longer"),
        TelegramError::ApiRefused { .. } => {
            failure.advise("copy both from https://my.telegram.org, of an application of your own")
        }
        TelegramError::Broken { .. } => failure.advise("check the connection and try again"),
        _ => failure,
    }
}

/// The session of this machine in two files.
struct SealedSession {
    directory: PathBuf,
}

impl SealedSession {
    fn session(&self) -> PathBuf {
        self.directory.join("session")
    }

    fn keys(&self, make: bool) -> io::Result<Option<LocalKeys>> {
        let path = self.directory.join("key");
        let mut root = Zeroizing::new([0; 32]);
        match read_private_file(&path, SESSION_LEN_MAX)? {
            Some(bytes) if bytes.len() == root.len() => root.copy_from_slice(&bytes),
            Some(_) => return Err(io::Error::other("the key of the session has a wrong length")),
            None if make => {
                OperatingSystem.fill(&mut *root);
                write_private_file(&path, &*root)?;
            }
            None => return Ok(None),
        }
        Ok(Some(LocalKeys::derive(&Secret::new(*root))))
    }

    fn load(&self) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        let Some(sealed) = read_private_file(&self.session(), SESSION_LEN_MAX)? else { return Ok(None) };
        let damaged = || io::Error::other("it was not sealed on this machine, or is damaged");
        let keys = self.keys(false)?.ok_or_else(damaged)?;
        let (file_id, page) = sealed.split_first_chunk::<SALT_LEN>().ok_or_else(damaged)?;
        let len = page.len().checked_sub(PAGE_OVERHEAD_LEN).ok_or_else(damaged)?;
        let mut plain = Zeroizing::new(vec![0; len]);
        match keys.pages(file_id).open(PAGE, page, &mut plain) {
            true => Ok(Some(plain)),
            false => Err(damaged()),
        }
    }

    fn save(&self, plain: &[u8]) -> io::Result<()> {
        make_private_dir(&self.directory).map_err(|failure| io::Error::other(failure.to_string()))?;
        let keys = self.keys(true)?.ok_or_else(|| io::Error::other("there is no key"))?;
        let mut sealed = vec![0; SALT_LEN + PAGE_OVERHEAD_LEN + plain.len()];
        let (file_id, page) =
            sealed.split_first_chunk_mut::<SALT_LEN>().expect("the buffer is longer than the salt");
        OperatingSystem.fill(file_id);
        OperatingSystem.fill(&mut page[..PAGE_NONCE_LEN]);
        keys.pages(file_id).seal(PAGE, plain, page);
        write_private_file(&self.session(), &sealed)
    }
}

impl Machine for SealedSession {
    fn load_session(&self) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
        self.load().map_err(|error| error.to_string())
    }

    fn save_session(&self, bytes: &[u8]) -> Result<(), String> {
        self.save(bytes).map_err(|error| format!("keeping the session: {error}"))
    }

    fn remove_session(&self) -> Result<(), String> {
        match fs::remove_file(self.session()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(format!("removing the session: {error}"))
            }
            _ => Ok(()),
        }
    }

    fn fill_random(&self, out: &mut [u8]) {
        OperatingSystem.fill(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn session(directory: &Path) -> SealedSession {
        SealedSession { directory: directory.join("telegram") }
    }

    #[test]
    fn session_is_sealed_and_only_its_owners() {
        let directory = tempfile::tempdir().unwrap();
        let session = session(directory.path());
        assert!(session.load().unwrap().is_none());
        session.save(b"a session of some length").unwrap();
        assert_eq!(**session.load().unwrap().unwrap(), *b"a session of some length");
        let sealed = fs::read(session.session()).unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"session"));
        for file in ["key", "session"] {
            let mode = fs::metadata(session.directory.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        session.remove_session().unwrap();
        session.remove_session().unwrap();
        assert!(session.load().unwrap().is_none());
    }

    #[test]
    fn session_of_another_machine_or_damaged_does_not_open() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (ours, theirs) = (session(one.path()), session(two.path()));
        ours.save(b"ours").unwrap();
        theirs.save(b"theirs").unwrap();
        fs::copy(theirs.session(), ours.session()).unwrap();
        assert!(ours.load().is_err());
        ours.save(b"ours").unwrap();
        let sealed = fs::read(ours.session()).unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            fs::write(ours.session(), &damaged).unwrap();
            assert!(ours.load().is_err(), "byte {at}");
            fs::write(ours.session(), &sealed[..at]).unwrap();
            assert!(ours.load().is_err(), "cut at {at}");
        }
    }
}
