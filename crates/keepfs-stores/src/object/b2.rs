//! Backblaze B2 by its own protocol: `b2://bucket[/prefix]?bucket_id=…`.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::services::B2;

use super::{PART_LEN, Service, build, lacks, parse};
use crate::open::{OpenError, Place};
use crate::remote::Create;
use crate::secrets::SecretField;

/// Without them: `B2_APPLICATION_KEY_ID` and `B2_APPLICATION_KEY`.
pub(crate) const SECRETS: &[SecretField] = &[
    SecretField { name: "application_key_id", prompt: "Application key id", optional: false, public: true },
    SecretField { name: "application_key", prompt: "Application key", optional: false, public: false },
];

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let url = parse(place, &["bucket_id"])?;
    let bad = |detail: String| place.bad(detail);
    url.refuse_user_and_port().map_err(bad)?;
    let bucket = url.require_host("a bucket").map_err(bad)?;
    let Some(bucket_id) = url.option("bucket_id") else {
        return Err(place
            .bad("the URL lacks bucket_id=, which stands beside the bucket's name in B2's console".into()));
    };
    let id = place.secrets.get_or_env("application_key_id", &["B2_APPLICATION_KEY_ID"]);
    let key = place.secrets.get_or_env("application_key", &["B2_APPLICATION_KEY"]);
    let (Some(id), Some(key)) = (id, key) else { return Err(lacks("an application key")) };
    let builder = B2::default().bucket(bucket).bucket_id(bucket_id).root(&(url.path() + "/"));
    let builder = builder.application_key_id(&id).application_key(&key);
    let service = Service {
        kind: "b2",
        // B2 keeps every version that is put and knows no condition.
        create: Create::Looking,
        object_len_max: 10_000 * PART_LEN as u64,
        in_parts: true,
        parallel: 8,
    };
    build(place, &url, builder, service)
}
