//! WebDAV (RFC 4918): `webdav://[user@]host[:port]/path` by HTTPS, `webdav+http://…` without.
//!
//! Spoken directly and not by way of OpenDAL, whose service asks for the properties of a file and of each of its
//! directories before it moves it, always overwrites, and so needs five requests for one put and has none that
//! creates. Here a put is two requests: to a temporary name, and a move that the server does in one step.

mod client;
mod netrc;
mod propfind;
mod store;

use std::sync::Arc;

use keepfs_store::Store;
use zeroize::Zeroizing;

use crate::open::{OpenError, Place};
use crate::remote::url::encode_segment;
use crate::remote::{CREATE_OPTION, Create, RemoteUrl};
use crate::secrets::SecretField;

/// Without them: the user of the URL, `WEBDAV_USERNAME` and `WEBDAV_PASSWORD` or `WEBDAV_TOKEN`, `~/.netrc`.
pub(crate) const SECRETS: &[SecretField] = &[
    SecretField { name: "username", prompt: "User name", optional: true, public: true },
    SecretField { name: "password", prompt: "Password", optional: true, public: false },
    SecretField {
        name: "token",
        prompt: "Bearer token (instead of a password)",
        optional: true,
        public: false,
    },
];

/// Who the client says it is.
enum Login {
    Nobody,
    Password { user: String, password: Zeroizing<String> },
    Token(Zeroizing<String>),
}

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    open_by(place, "https")
}

pub(crate) fn open_plain(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    open_by(place, "http")
}

fn open_by(place: &Place<'_>, protocol: &str) -> Result<Arc<dyn Store>, OpenError> {
    let url = RemoteUrl::parse(place.rest, &[CREATE_OPTION]).map_err(|detail| place.bad(detail))?;
    let host = url.require_host("a host").map_err(|detail| place.bad(detail))?;
    let port = url.port.map(|port| format!(":{port}")).unwrap_or_default();
    let encoded = url.segments.iter().map(|segment| encode_segment(segment));
    let path = encoded.fold(String::new(), |path, segment| path + "/" + &segment);
    let client = client::Client::new(format!("{protocol}://{host}{port}{path}"), login(place, &url))?;
    // RFC 4918 demands that `Overwrite: F` refuses; servers look first and move then.
    let create = Create::of(&url, Create::Checked).map_err(|detail| place.bad(detail))?;
    Ok(Arc::new(store::WebdavStore::new(client, create, place.options.create)))
}

fn login(place: &Place<'_>, url: &RemoteUrl) -> Login {
    if let Some(token) = place.secrets.get_or_env("token", &["WEBDAV_TOKEN"]) {
        return Login::Token(token);
    }
    let user = place.secrets.get("username").map(str::to_owned).or_else(|| url.user.clone());
    let user = user.or_else(|| std::env::var("WEBDAV_USERNAME").ok());
    if let Some(password) = place.secrets.get_or_env("password", &["WEBDAV_PASSWORD"])
        && let Some(user) = user
    {
        return Login::Password { user, password };
    }
    match netrc::find(&url.host, url.user.as_deref()) {
        Some((user, password)) => Login::Password { user, password },
        None => Login::Nobody,
    }
}
