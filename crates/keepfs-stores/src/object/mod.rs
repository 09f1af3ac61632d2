//! Object stores: whatever OpenDAL speaks to, behind one adapter. Differences between services are data.
//!
//! Each service's module turns a URL and its secrets into an operator and a [`Service`]; nothing else here knows
//! which service it is.

#[cfg(feature = "azblob")]
pub(crate) mod azblob;
#[cfg(feature = "b2")]
pub(crate) mod b2;
#[cfg(feature = "drives")]
pub(crate) mod drives;
mod errors;
#[cfg(feature = "gcs")]
pub(crate) mod gcs;
#[cfg(feature = "s3")]
pub(crate) mod s3;
mod store;
mod transport;

use std::sync::Arc;

use keepfs_store::Store;
use opendal::{Builder, HttpTransporter, OperationContext, Operator};

use crate::open::{OpenError, Place};
use crate::remote::{CREATE_OPTION, Create, RemoteUrl};

/// Objects longer than this, in bytes, are sent in parts where the service has them: a full pack is, and goes faster
/// over a long line; anything smaller is one request.
const PARTS_FROM: u64 = 32 << 20;

/// Length of a part in bytes: a few of them fit into memory.
const PART_LEN: usize = 16 << 20;

/// What the adapter must know of a service.
#[derive(Clone, Debug)]
struct Service {
    /// One word for people.
    kind: &'static str,
    create: Create,
    /// Longest object, in bytes.
    object_len_max: u64,
    /// Long objects can be sent in parts.
    in_parts: bool,
    /// Requests worth having in flight.
    parallel: usize,
}

/// Parses the URL of an object store.
fn parse(place: &Place<'_>, known: &[&str]) -> Result<RemoteUrl, OpenError> {
    let known: Vec<&str> = known.iter().copied().chain([CREATE_OPTION]).collect();
    RemoteUrl::parse(place.rest, &known).map_err(|detail| place.bad(detail))
}

/// The first segment of the path, which must be there, and the rest of it as a root.
#[cfg(feature = "azblob")]
fn first_segment<'a>(
    place: &Place<'_>,
    url: &'a RemoteUrl,
    what: &str,
) -> Result<(&'a str, String), OpenError> {
    match url.segments.split_first() {
        Some((first, rest)) => Ok((first, rest.iter().fold("/".into(), |root, part| root + part + "/"))),
        None => Err(place.bad(format!("the URL lacks {what}"))),
    }
}

/// The service cannot even be asked without these.
#[cfg(any(feature = "b2", feature = "drives"))]
fn lacks(what: &str) -> OpenError {
    let detail = format!("{what} was not given; 'keepfs store login' takes it");
    OpenError::Store(keepfs_store::StoreError::Denied { detail })
}

/// Puts the adapter around a service.
fn build(
    place: &Place<'_>,
    url: &RemoteUrl,
    builder: impl Builder,
    mut service: Service,
) -> Result<Arc<dyn Store>, OpenError> {
    service.create = Create::of(url, service.create).map_err(|detail| place.bad(detail))?;
    let operator = Operator::new(builder).map_err(|error| place.bad(errors::sentence(&error)))?;
    let transport = HttpTransporter::new(transport::Transport(crate::remote::http::client()?));
    let context = OperationContext::default().with_http_transport(transport);
    Ok(Arc::new(store::ObjectStore::new(operator.with_context(context), service)))
}
