//! Google Cloud Storage: `gcs://bucket[/prefix]`.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::services::Gcs;

use super::{Service, build, parse};
use crate::open::{OpenError, Place};
use crate::remote::Create;
use crate::secrets::SecretField;

/// Without it: `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own file, and what a machine of that cloud offers.
pub(crate) const SECRETS: &[SecretField] = &[SecretField {
    name: "credential",
    prompt: "Service account's JSON key, in base64",
    optional: false,
    public: false,
}];

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let url = parse(place, &["endpoint"])?;
    let bad = |detail: String| place.bad(detail);
    url.refuse_user_and_port().map_err(bad)?;
    let mut builder =
        Gcs::default().bucket(url.require_host("a bucket").map_err(bad)?).root(&(url.path() + "/"));
    if let Some(endpoint) = url.option("endpoint") {
        builder = builder.endpoint(endpoint);
    }
    if let Some(credential) = place.secrets.get("credential") {
        builder = builder.credential(credential);
    }
    let service =
        Service { kind: "gcs", create: Create::Atomic, object_len_max: 5 << 40, in_parts: true, parallel: 8 };
    build(place, &url, builder, service)
}
