//! From a URL to a store. The one table of schemes is here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepfs_store::{Store, StoreError};

use crate::file::{FileOptions, FileStore};
use crate::os::make_directory_all;
use crate::url::{Location, file_url, parse_file_url, split};

/// How a store is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenOptions {
    /// Make the store if it is not there. Without it, nothing is made where no store is.
    pub create: bool,
}

/// Why a URL did not lead to a store. Each variant says what the caller should do.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No store has this scheme. Show the known ones.
    #[error("no store is called {scheme}: (known: {known}; a path that looks like a URL starts with ./)")]
    UnknownScheme {
        /// What came before the colon.
        scheme: String,
        /// The schemes there are, for people.
        known: String,
    },
    /// The URL is not well formed. Show what is wrong with it.
    #[error("{url} is not a store: {detail}")]
    BadUrl {
        /// The URL as given.
        url: String,
        /// What is wrong, for people.
        detail: String,
    },
    /// There is no store there. Check the path (is the disk mounted?), or create it.
    #[error("there is no store in {}", path.display())]
    NotThere {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A store was to be created in a directory that holds something else. Choose another.
    #[error("{} is not empty and holds no store; choose an empty or a new directory", path.display())]
    Occupied {
        /// The directory.
        path: PathBuf,
    },
    /// The store is known but cannot be used now; see its own error.
    #[error(transparent)]
    Store(#[from] StoreError),
}

type Opener = fn(url: &str, rest: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError>;

/// Every scheme, and who opens it.
const SCHEMES: &[(&str, Opener)] = &[("file", open_file_url)];

/// The schemes that [`open`] knows.
pub fn known_schemes() -> Vec<&'static str> {
    SCHEMES.iter().map(|(scheme, _)| *scheme).collect()
}

/// Opens the store at a URL, or at a path of this machine.
///
/// `file:///absolute/path` is a directory; bytes that URLs reserve are written `%xx`. A plain path, absolute
/// or relative to the current directory, is taken as it is. `file:///path?staging=local` treats the directory
/// as a remote store: objects are staged and cached on this machine and put whole. It is meant for network
/// mounts and slow removable disks; `?staging=store` is the default.
pub fn open(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    match split(url) {
        Location::Path(path) => open_directory(path, FileOptions::default(), options),
        Location::Url { scheme, rest } => opener(scheme)?(url, rest, options),
    }
}

/// The same store as a URL that does not depend on the current directory, for keeping. Nothing is opened.
pub fn normalize_url(url: &str) -> Result<String, OpenError> {
    match split(url) {
        Location::Path(path) => {
            let bad =
                |error: std::io::Error| OpenError::BadUrl { url: url.into(), detail: error.to_string() };
            Ok(file_url(&std::path::absolute(path).map_err(bad)?))
        }
        Location::Url { scheme, rest } => {
            opener(scheme)?;
            if scheme.eq_ignore_ascii_case("file") {
                file_location(url, rest)?;
            }
            Ok(format!("{}:{rest}", scheme.to_ascii_lowercase()))
        }
    }
}

fn opener(scheme: &str) -> Result<Opener, OpenError> {
    let found = SCHEMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(scheme));
    found.map(|(_, opener)| *opener).ok_or_else(|| OpenError::UnknownScheme {
        scheme: scheme.to_owned(),
        known: known_schemes().iter().map(|scheme| format!("{scheme}://")).collect::<Vec<_>>().join(", "),
    })
}

fn open_file_url(url: &str, rest: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    let (path, file_options) = file_location(url, rest)?;
    open_directory(&path, file_options, options)
}

/// Path and options of a `file:` URL.
fn file_location(url: &str, rest: &str) -> Result<(PathBuf, FileOptions), OpenError> {
    let bad = |detail: String| OpenError::BadUrl { url: url.to_owned(), detail };
    let parsed = parse_file_url(rest).map_err(bad)?;
    let mut file_options = FileOptions::default();
    for (key, value) in parsed.options {
        file_options.in_place = match (key.as_str(), value.as_str()) {
            ("staging", "local") => false,
            ("staging", "store") => true,
            _ => return Err(bad(format!("{key}={value} is no option of a file store (staging=local is)"))),
        };
    }
    Ok((parsed.path, file_options))
}

fn open_directory(
    path: &Path,
    file_options: FileOptions,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    let is_store = ["o", "vault"].iter().any(|entry| path.join(entry).exists());
    if !is_store {
        if !options.create {
            return Err(OpenError::NotThere { path: path.to_owned() });
        }
        if !is_vacant(path) {
            return Err(OpenError::Occupied { path: path.to_owned() });
        }
        make_directory_all(path).map_err(|error| {
            let doing = format!("making the directory {}", path.display());
            crate::os::store_error(None, &doing, crate::os::errno_of(&error))
        })?;
    }
    Ok(Arc::new(FileStore::open(path, file_options)?))
}

/// Whether a new store may move in: nothing there, or nothing but what systems leave on an empty disk and
/// the beginnings of a store.
fn is_vacant(path: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(path) else { return !path.exists() };
    entries.flatten().all(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with('.') || matches!(&*name, "lost+found" | "h" | "tmp" | "stage")
    })
}
