//! Drives made for people: `gdrive:///folder`, `onedrive:///folder`, `dropbox:///folder`.
//!
//! They are slow, count every request, and create nothing by condition.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::Builder;
use opendal::services::{Dropbox, Gdrive, Onedrive};

use super::{Service, build, parse};
use crate::open::{OpenError, Place};
use crate::remote::{Create, RemoteUrl};
use crate::secrets::SecretField;

/// All that a new access token can be made from; an access token alone lasts an hour or so.
pub(crate) const SECRETS: &[SecretField] = &[
    SecretField { name: "client_id", prompt: "Client id", optional: true, public: true },
    SecretField { name: "client_secret", prompt: "Client secret", optional: true, public: false },
    SecretField { name: "refresh_token", prompt: "Refresh token", optional: true, public: false },
    SecretField { name: "access_token", prompt: "Access token", optional: true, public: false },
];

/// Longest object: each drive takes at least this much in one request or session.
const OBJECT_LEN_MAX: u64 = 140 << 20;

/// Makes the setter calls that the three builders share.
macro_rules! builder {
    ($drive:expr, $place:expr, $prefix:literal) => {{
        let (url, root) = located($place)?;
        let mut builder = $drive.root(&root);
        let secret = |name: &str, variable: &str| $place.secrets.get_or_env(name, &[variable]);
        if let Some(id) = secret("client_id", concat!($prefix, "_CLIENT_ID")) {
            builder = builder.client_id(&id);
        }
        if let Some(secret) = secret("client_secret", concat!($prefix, "_CLIENT_SECRET")) {
            builder = builder.client_secret(&secret);
        }
        if let Some(token) = secret("refresh_token", concat!($prefix, "_REFRESH_TOKEN")) {
            builder = builder.refresh_token(&token);
        }
        if let Some(token) = secret("access_token", concat!($prefix, "_ACCESS_TOKEN")) {
            builder = builder.access_token(&token);
        }
        (url, builder)
    }};
}

pub(crate) fn open_gdrive(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let (url, builder) = builder!(Gdrive::default(), place, "GDRIVE");
    finish(place, &url, builder, "gdrive")
}

pub(crate) fn open_onedrive(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let (url, builder) = builder!(Onedrive::default(), place, "ONEDRIVE");
    finish(place, &url, builder, "onedrive")
}

pub(crate) fn open_dropbox(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let (url, builder) = builder!(Dropbox::default(), place, "DROPBOX");
    finish(place, &url, builder, "dropbox")
}

fn located(place: &Place<'_>) -> Result<(RemoteUrl, String), OpenError> {
    let url = parse(place, &[])?;
    url.refuse_user_and_port().map_err(|detail| place.bad(detail))?;
    if !url.host.is_empty() {
        return Err(place.bad("three slashes and a folder: a drive has no host".into()));
    }
    let root = url.path() + "/";
    Ok((url, root))
}

fn finish(
    place: &Place<'_>,
    url: &RemoteUrl,
    builder: impl Builder,
    kind: &'static str,
) -> Result<Arc<dyn Store>, OpenError> {
    let service = Service {
        kind,
        create: Create::Looking,
        object_len_max: OBJECT_LEN_MAX,
        in_parts: false,
        parallel: 2,
    };
    build(place, url, builder, service)
}
