//! A store as this program uses it: whatever stands between a vault and a place that is not on this machine.

use std::path::Path;
use std::sync::Arc;

use keepfs_store::{ByteRates, LimitStore, MeterStore, RetryPolicy, RetryStore, Store, ThrottleStore};
use keepfs_stores::{OpenError, OpenOptions, Schemes, SystemTiming};

use super::failures::open_failure;
use crate::credentials;
use crate::failure::{Failure, Result};

/// A store and the counts of what went to it.
pub(crate) struct OpenedStore {
    /// For use.
    pub(crate) store: Arc<dyn Store>,
    /// What was asked of a store that is not local.
    pub(crate) meter: Option<Arc<MeterStore>>,
}

/// The kinds of store that this program knows.
pub(crate) fn schemes() -> Schemes {
    let schemes = Schemes::built_in();
    #[cfg(feature = "telegram")]
    let schemes = schemes.with(super::telegram::scheme());
    schemes
}

/// The same store as a URL that does not depend on the current directory, for keeping.
pub(crate) fn normalize_url(url: &str) -> Result<String, OpenError> {
    #[cfg(feature = "telegram")]
    if let Some(rest) = super::telegram::rest_of(url) {
        return super::telegram::normalize(url, rest);
    }
    schemes().normalize(url)
}

/// Opens the store at a URL. Calls to one that is not local are counted, limited in number, and tried again as
/// their errors say.
///
/// `credentials` is the file with what it must be told, if the environment does not say it.
pub(crate) fn open_store(url: &str, options: OpenOptions, credentials: &Path) -> Result<OpenedStore> {
    Ok(equip(open_bare(url, options, credentials)?, ByteRates::default()))
}

/// Opens the store of a vault that this machine knows, within so many bytes a second. A remote one may be away.
pub(crate) fn open_known_store(url: &str, credentials: &Path, rates: ByteRates) -> Result<OpenedStore> {
    let secrets = credentials::load(credentials, url)?;
    let store = schemes().open_known(url, &secrets);
    Ok(equip(store.map_err(|error| failed_to_open(&error, url))?, rates))
}

/// The store itself, with nothing around it.
pub(crate) fn open_bare(url: &str, options: OpenOptions, credentials: &Path) -> Result<Arc<dyn Store>> {
    let secrets = credentials::load(credentials, url)?;
    schemes().open(url, options, &secrets).map_err(|error| failed_to_open(&error, url))
}

/// Says where, unless the URL was refused: then it may hold a secret, and the error says enough.
fn failed_to_open(error: &OpenError, url: &str) -> Failure {
    let failure = open_failure(error);
    if matches!(error, OpenError::BadUrl { .. }) { failure } else { failure.at(url) }
}

/// Attempts are counted, waits between them hold nobody else up.
fn equip(store: Arc<dyn Store>, rates: ByteRates) -> OpenedStore {
    let capabilities = store.capabilities();
    if capabilities.local {
        return OpenedStore { store, meter: None };
    }
    let meter = Arc::new(MeterStore::new(store));
    let limited = LimitStore::new(meter.clone(), capabilities.parallel);
    let timing = Arc::new(SystemTiming::new());
    let throttled = ThrottleStore::new(Arc::new(limited), rates, timing.clone());
    let retried = RetryStore::new(Arc::new(throttled), RetryPolicy::default(), timing);
    OpenedStore { store: Arc::new(retried), meter: Some(meter) }
}
