//! From a URL to a store. The one table of schemes is here; a program may add some of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepfs_store::{Store, StoreError};

use crate::file::{FileOptions, FileStore};
use crate::later::LaterStore;
use crate::os::make_directory_all;
use crate::secrets::{SecretField, Secrets};
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

/// A place that somebody named, on its way to whoever opens it.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// The URL as given.
    pub url: &'a str,
    /// What follows the scheme's colon.
    pub rest: &'a str,
    /// How it is to be opened.
    pub options: OpenOptions,
    /// What it needs to be let in, if somebody was told.
    pub secrets: &'a Secrets,
}

impl Place<'_> {
    /// The URL is not well formed; `detail` says why.
    pub fn bad(&self, detail: String) -> OpenError {
        OpenError::BadUrl { url: without_secrets(self.url), detail }
    }
}

/// A URL as it may be shown: without what stands where a password would, and without the options.
fn without_secrets(url: &str) -> String {
    let place = url.split_once('?').map_or(url, |(place, _)| place);
    match place.split_once("://").map(|(scheme, rest)| (scheme, rest.split_once('@'))) {
        Some((scheme, Some((user, rest)))) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}@{rest}")
        }
        _ => place.to_owned(),
    }
}

/// One kind of store: its scheme, who opens it, and what it needs to be told.
#[derive(Clone, Copy)]
pub struct Scheme {
    /// What stands before the colon, in lower case.
    pub name: &'static str,
    /// Makes a store of a URL. It asks the network nothing: a store that is away can be opened.
    pub open: fn(&Place<'_>) -> Result<Arc<dyn Store>, OpenError>,
    /// The secrets that a user may give it.
    pub secrets: &'static [SecretField],
}

/// Every scheme of this crate.
const BUILT_IN: &[Scheme] = &[
    Scheme { name: "file", open: open_file_url, secrets: &[] },
    #[cfg(feature = "s3")]
    Scheme { name: "s3", open: crate::object::s3::open, secrets: crate::object::s3::SECRETS },
    #[cfg(feature = "webdav")]
    Scheme { name: "webdav", open: crate::webdav::open, secrets: crate::webdav::SECRETS },
    #[cfg(feature = "webdav")]
    Scheme { name: "webdav+http", open: crate::webdav::open_plain, secrets: crate::webdav::SECRETS },
    #[cfg(feature = "sftp")]
    Scheme { name: "sftp", open: crate::sftp::open, secrets: &[] },
    #[cfg(feature = "gcs")]
    Scheme { name: "gcs", open: crate::object::gcs::open, secrets: crate::object::gcs::SECRETS },
    #[cfg(feature = "azblob")]
    Scheme { name: "azblob", open: crate::object::azblob::open, secrets: crate::object::azblob::SECRETS },
    #[cfg(feature = "b2")]
    Scheme { name: "b2", open: crate::object::b2::open, secrets: crate::object::b2::SECRETS },
    #[cfg(feature = "drives")]
    Scheme {
        name: "gdrive",
        open: crate::object::drives::open_gdrive,
        secrets: crate::object::drives::SECRETS,
    },
    #[cfg(feature = "drives")]
    Scheme {
        name: "onedrive",
        open: crate::object::drives::open_onedrive,
        secrets: crate::object::drives::SECRETS,
    },
    #[cfg(feature = "drives")]
    Scheme {
        name: "dropbox",
        open: crate::object::drives::open_dropbox,
        secrets: crate::object::drives::SECRETS,
    },
];

/// The kinds of store that a program knows.
#[derive(Clone)]
pub struct Schemes(Vec<Scheme>);

impl Schemes {
    /// Those of this crate.
    pub fn built_in() -> Self {
        Schemes(BUILT_IN.to_vec())
    }

    /// And one more.
    pub fn with(mut self, scheme: Scheme) -> Self {
        self.0.push(scheme);
        self
    }

    /// The names of all.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scheme| scheme.name).collect()
    }

    /// The scheme of a URL; `file` for a path.
    pub fn scheme(&self, url: &str) -> Result<&Scheme, OpenError> {
        let name = match split(url) {
            Location::Path(_) => "file",
            Location::Url { scheme, .. } => scheme,
        };
        let found = self.0.iter().find(|known| known.name.eq_ignore_ascii_case(name));
        found.ok_or_else(|| OpenError::UnknownScheme {
            scheme: name.to_owned(),
            known: self.names().iter().map(|name| format!("{name}://")).collect::<Vec<_>>().join(", "),
        })
    }

    /// Opens the store at a URL, or at a path of this machine; see [`open`].
    pub fn open(
        &self,
        url: &str,
        options: OpenOptions,
        secrets: &Secrets,
    ) -> Result<Arc<dyn Store>, OpenError> {
        match split(url) {
            Location::Path(path) => open_directory(path, FileOptions::default(), options),
            Location::Url { rest, .. } => (self.scheme(url)?.open)(&Place { url, rest, options, secrets }),
        }
    }

    /// The same for a vault that this machine knows: a directory that is used as a remote store
    /// (`?staging=local`) need not be there yet. It is looked for at every call.
    pub fn open_known(&self, url: &str, secrets: &Secrets) -> Result<Arc<dyn Store>, OpenError> {
        let options = OpenOptions::default();
        match (self.open(url, options, secrets), split(url)) {
            (Err(OpenError::NotThere { path }), Location::Url { rest, .. }) => {
                let place = Place { url, rest, options, secrets };
                match file_location(&place)? {
                    (_, FileOptions { in_place: true }) => Err(OpenError::NotThere { path }),
                    _ => Ok(Arc::new(LaterStore::new(&path))),
                }
            }
            (opened, _) => opened,
        }
    }

    /// The same store as a URL that does not depend on the current directory, for keeping. Nothing is opened
    /// but for the URL to be checked.
    pub fn normalize(&self, url: &str) -> Result<String, OpenError> {
        match split(url) {
            Location::Path(path) => {
                let bad =
                    |error: std::io::Error| OpenError::BadUrl { url: url.into(), detail: error.to_string() };
                Ok(file_url(&std::path::absolute(path).map_err(bad)?))
            }
            Location::Url { scheme, rest } => {
                let known = self.scheme(url)?;
                let place = Place { url, rest, options: OpenOptions::default(), secrets: &Secrets::none() };
                match known.name {
                    "file" => file_location(&place).map(drop)?,
                    // What the store lacks beside the URL is no fault of the URL.
                    _ => match (known.open)(&place) {
                        Ok(_) | Err(OpenError::Store(_)) => {}
                        Err(error) => return Err(error),
                    },
                }
                Ok(format!("{}:{rest}", scheme.to_ascii_lowercase()))
            }
        }
    }
}

/// The schemes that [`open`] knows.
pub fn known_schemes() -> Vec<&'static str> {
    Schemes::built_in().names()
}

/// Opens the store at a URL, or at a path of this machine.
///
/// `file:///absolute/path` is a directory; bytes that URLs reserve are written `%xx`. A plain path, absolute
/// or relative to the current directory, is taken as it is. `file:///path?staging=local` treats the directory
/// as a remote store: objects are staged and cached on this machine and put whole. It is meant for network
/// mounts and slow removable disks; `?staging=store` is the default. The other schemes are in the table of this
/// module; each is described with the module that opens it.
pub fn open(url: &str, options: OpenOptions) -> Result<Arc<dyn Store>, OpenError> {
    Schemes::built_in().open(url, options, &Secrets::none())
}

/// [`Schemes::normalize`] with the schemes of this crate.
pub fn normalize_url(url: &str) -> Result<String, OpenError> {
    Schemes::built_in().normalize(url)
}

fn open_file_url(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let (path, file_options) = file_location(place)?;
    open_directory(&path, file_options, place.options)
}

/// Path and options of a `file:` URL.
fn file_location(place: &Place<'_>) -> Result<(PathBuf, FileOptions), OpenError> {
    let parsed = parse_file_url(place.rest).map_err(|detail| place.bad(detail))?;
    let mut file_options = FileOptions::default();
    for (key, value) in parsed.options {
        file_options.in_place = match (key.as_str(), value.as_str()) {
            ("staging", "local") => false,
            ("staging", "store") => true,
            _ => {
                let detail = format!("{key}={value} is no option of a file store (staging=local is)");
                return Err(place.bad(detail));
            }
        };
    }
    Ok((parsed.path, file_options))
}

fn open_directory(
    path: &Path,
    file_options: FileOptions,
    options: OpenOptions,
) -> Result<Arc<dyn Store>, OpenError> {
    if !is_store(path) {
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

/// Whether a directory holds a store.
pub(crate) fn is_store(path: &Path) -> bool {
    ["o", "vault"].iter().any(|entry| path.join(entry).exists())
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
