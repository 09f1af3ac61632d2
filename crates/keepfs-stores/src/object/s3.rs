//! S3 and what speaks its language: `s3://bucket[/prefix]?endpoint=…&region=…`.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::services::S3;

use super::{PART_LEN, Service, build, parse};
use crate::open::{OpenError, Place};
use crate::remote::Create;
use crate::secrets::SecretField;

/// What `keepfs store login` asks for. Without it: the environment (`AWS_ACCESS_KEY_ID`, …), the files of
/// `~/.aws`, and what the machine's own cloud offers.
pub(crate) const SECRETS: &[SecretField] = &[
    SecretField { name: "access_key_id", prompt: "Access key id", optional: false, public: true },
    SecretField { name: "secret_access_key", prompt: "Secret access key", optional: false, public: false },
    SecretField { name: "session_token", prompt: "Session token", optional: true, public: false },
];

/// Where requests are signed for if nobody says a region and the endpoint is one's own.
const REGION_DEFAULT: &str = "us-east-1";

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let url = parse(place, &["endpoint", "region", "profile", "style"])?;
    let bad = |detail: String| place.bad(detail);
    url.refuse_user_and_port().map_err(bad)?;
    let mut builder =
        S3::default().bucket(url.require_host("a bucket").map_err(bad)?).root(&(url.path() + "/"));
    if let Some(endpoint) = url.option("endpoint") {
        builder = builder.endpoint(endpoint);
    }
    let set = |variable: &str| std::env::var_os(variable).is_some();
    match url.option("region") {
        Some(region) => builder = builder.region(region),
        None if set("AWS_REGION") || set("AWS_DEFAULT_REGION") => {}
        None => builder = builder.region(REGION_DEFAULT),
    }
    if let Some(profile) = url.option("profile") {
        builder = builder.profile(profile);
    }
    match url.option("style") {
        None | Some("path") => {}
        Some("virtual") => builder = builder.enable_virtual_host_style(),
        Some(other) => return Err(place.bad(format!("style={other} is unknown (path and virtual are)"))),
    }
    if !place.secrets.is_empty() {
        let secret = |name| place.secrets.get(name).unwrap_or_default();
        builder =
            builder.access_key_id(secret("access_key_id")).secret_access_key(secret("secret_access_key"));
        if let Some(token) = place.secrets.get("session_token") {
            builder = builder.session_token(token);
        }
    }
    let service = Service {
        kind: "s3",
        create: Create::Atomic,
        // Parts, and at most 10,000 of them (S3 user guide, "Multipart upload limits").
        object_len_max: 10_000 * PART_LEN as u64,
        in_parts: true,
        parallel: 8,
    };
    build(place, &url, builder, service)
}
