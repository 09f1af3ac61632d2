//! Azure Blob Storage: `azblob://account/container[/prefix]`.

use std::sync::Arc;

use keepfs_store::Store;
use opendal::services::Azblob;

use super::{PART_LEN, Service, build, first_segment, parse};
use crate::open::{OpenError, Place};
use crate::remote::Create;
use crate::secrets::SecretField;

/// One of the two. Without them: `AZURE_STORAGE_KEY` or `AZURE_STORAGE_SAS_TOKEN`.
pub(crate) const SECRETS: &[SecretField] = &[
    SecretField { name: "account_key", prompt: "Account key", optional: true, public: false },
    SecretField { name: "sas_token", prompt: "Shared access signature", optional: true, public: false },
];

pub(crate) fn open(place: &Place<'_>) -> Result<Arc<dyn Store>, OpenError> {
    let url = parse(place, &["endpoint"])?;
    let bad = |detail: String| place.bad(detail);
    url.refuse_user_and_port().map_err(bad)?;
    let account = url.require_host("an account").map_err(bad)?;
    let (container, root) = first_segment(place, &url, "a container")?;
    let endpoint = url.option("endpoint").map(str::to_owned);
    let endpoint = endpoint.unwrap_or_else(|| format!("https://{account}.blob.core.windows.net"));
    let mut builder =
        Azblob::default().account_name(account).container(container).root(&root).endpoint(&endpoint);
    if let Some(key) =
        place.secrets.get_or_env("account_key", &["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"])
    {
        builder = builder.account_key(&key);
    }
    if let Some(token) = place.secrets.get_or_env("sas_token", &["AZURE_STORAGE_SAS_TOKEN"]) {
        builder = builder.sas_token(&token);
    }
    let service = Service {
        kind: "azblob",
        create: Create::Atomic,
        // 50,000 blocks (Azure documentation, "Scalability targets for Blob storage").
        object_len_max: 50_000 * PART_LEN as u64,
        in_parts: true,
        parallel: 8,
    };
    build(place, &url, builder, service)
}
