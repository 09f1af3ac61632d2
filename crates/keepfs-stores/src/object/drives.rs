//! Drives made for people: `gdrive:///folder`, `onedrive:///folder`, `dropbox:///folder`.
//!
//! They are slow, count every request, and create nothing by condition.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::Builder;
use opendal::services::{Dropbox, Gdrive, Onedrive};

use super::{Service, build, lacks, parse};
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

/// Makes the setter calls that the three builders share. An access token is used as it is; a refresh token makes
/// new ones, for which the application must say who it is.
macro_rules! builder {
    ($drive:expr, $place:expr, $prefix:literal) => {{
        let (url, root) = located($place)?;
        let builder = $drive.root(&root);
        let secret = |name: &str, variable: &str| $place.secrets.get_or_env(name, &[variable]);
        let access = secret("access_token", concat!($prefix, "_ACCESS_TOKEN"));
        let refresh = secret("refresh_token", concat!($prefix, "_REFRESH_TOKEN"));
        let builder = match (refresh, access) {
            (Some(refresh), _) => {
                let id = secret("client_id", concat!($prefix, "_CLIENT_ID"));
                let Some(id) = id else { return Err(lacks("a client id")) };
                let builder = builder.refresh_token(&refresh).client_id(&id);
                match secret("client_secret", concat!($prefix, "_CLIENT_SECRET")) {
                    Some(secret) => builder.client_secret(&secret),
                    None => builder,
                }
            }
            (None, Some(access)) => builder.access_token(&access),
            (None, None) => return Err(lacks("a refresh token or an access token")),
        };
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
