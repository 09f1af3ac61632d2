//! An unlocked vault that files come out of: staging, cache, file system and mount put together.

use std::sync::Arc;

use keepfs_format::compress;
use keepfs_fs::disk::OsDisk;
use keepfs_fs::{Fs, Options, World};
use keepfs_fuse::Mounted;
use keepfs_store::{BlobCache, ByteRates, MeterStore, Store};
use keepfs_stores::{DiskCache, LocalStaging, OpenOptions};
use keepfs_vault::StagingPlace;

use super::failures::{fs_failure, fuse_failure, store_failure};
use super::remote::{open_known_store, open_store};
use super::vault::{Guard, Secret, unlock};
use crate::config::{Compression, Durability};
use crate::control::{Pending, Traffic};
use crate::daemon::Launch;
use crate::environment::OperatingSystem;
use crate::failure::Result;
use crate::home::VaultPlaces;
use crate::host::Holder;
use crate::size::Size;

/// Most bytes of the cache when nobody says otherwise.
const CACHE_LIMIT_DEFAULT: Size = Size(10 << 30);

/// A vault that is open on this machine.
pub(crate) struct OpenVault {
    /// Its files.
    pub(crate) fs: Arc<Fs>,
    /// Sealed copies of remote objects; none where the store is local.
    pub(crate) cache: Option<Arc<dyn BlobCache>>,
    /// What its owner should know: sentences.
    pub(crate) notices: Vec<String>,
    /// Counts what a remote store is asked.
    meter: Option<Arc<MeterStore>>,
    /// Given back last.
    _guard: Guard,
}

impl OpenVault {
    /// Locks, unlocks and opens the vault; recovers what a crash left.
    pub(crate) fn open(launch: &Launch, secret: &Secret) -> Result<Self> {
        let rates = ByteRates {
            upload: launch.options.limit_upload.map(|size| size.0),
            download: launch.options.limit_download.map(|size| size.0),
        };
        let guard = Guard::take(&launch.places, &Holder::daemon(&launch.mount_point))?;
        let opened = open_known_store(&launch.store, &launch.places.credentials, rates)?;
        let (store, meter) = (opened.store, opened.meter);
        let guard = guard.with_opened(Arc::clone(&store));
        let unlocked = unlock(&guard, secret)?;
        let notices = unlocked.notices.iter().map(ToString::to_string).collect();
        let cache = cache_of(&*store, &launch.places, launch.options.cache_limit)?;
        let staging = match &cache {
            None => None,
            Some(cache) => {
                let directory = launch.places.state.join("staging");
                let staging = LocalStaging::with_cache(&directory, Arc::clone(&store), Arc::clone(cache));
                Some(StagingPlace::Separate(Arc::new(staging.map_err(|error| store_failure(&error))?)))
            }
        };
        let world = World {
            store,
            staging,
            cache: cache.clone(),
            disk: Arc::new(OsDisk),
            env: Arc::new(OperatingSystem),
            unlocked,
        };
        let fs = Fs::start(world, options_of(launch)).map_err(|error| fs_failure(&error))?;
        Ok(Self { fs: Arc::new(fs), cache, notices, meter, _guard: guard })
    }

    /// What went to and came from a remote store.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        let counters = self.meter.as_ref()?.counters();
        let (all, sent, received) = (counters.total(), counters.written(), counters.read());
        Some(Traffic {
            requests: all.calls,
            errors: all.errors,
            sent_bytes: sent.bytes,
            received_bytes: received.bytes,
        })
    }

    /// Mounts it; the mount answers when this returns.
    pub(crate) fn mount(&self, launch: &Launch) -> Result<Mounted> {
        let options = keepfs_fuse::MountOptions {
            allow_other: launch.options.allow_other,
            read_only: launch.options.read_only,
            no_exec: launch.options.no_exec,
            fs_name: launch.vault.clone(),
            ..keepfs_fuse::MountOptions::default()
        };
        keepfs_fuse::mount(Arc::clone(&self.fs), &launch.mount_point, &options)
            .map_err(|error| fuse_failure(&error))
    }

    /// Everything on the store.
    pub(crate) fn sync_store(&self, progress: &mut dyn FnMut(&Pending)) -> Result<()> {
        self.fs.sync_store(&mut |pending| progress(&pending_of(pending))).map_err(|error| fs_failure(&error))
    }

    /// Everything durable here and, as far as the store takes it, there.
    pub(crate) fn close(&self) -> Result<()> {
        self.fs.close().map_err(|error| fs_failure(&error))
    }
}

/// The cache of a vault that is not open; the caller holds its lock. None where the store is local.
pub(crate) fn open_cache(
    url: &str,
    places: &VaultPlaces,
    limit: Option<Size>,
) -> Result<Option<Arc<dyn BlobCache>>> {
    cache_of(&*open_store(url, OpenOptions::default(), &places.credentials)?.store, places, limit)
}

fn cache_of(
    store: &dyn Store,
    places: &VaultPlaces,
    limit: Option<Size>,
) -> Result<Option<Arc<dyn BlobCache>>> {
    if store.capabilities().local {
        return Ok(None);
    }
    let limit = limit.unwrap_or(CACHE_LIMIT_DEFAULT);
    let cache =
        DiskCache::open(&places.state.join("cache"), limit.0).map_err(|error| store_failure(&error))?;
    Ok(Some(Arc::new(cache)))
}

fn options_of(launch: &Launch) -> Options {
    let mut options = Options::new(launch.places.state.clone());
    options.read_only = launch.options.read_only;
    options.durability = match launch.options.durability {
        Durability::Local => keepfs_fs::Durability::Local,
        Durability::Remote => keepfs_fs::Durability::Remote,
    };
    options.compression = match launch.options.compression {
        Compression::Zstd => compress::Compression::Zstd(1),
        Compression::Lz4 => compress::Compression::Lz4,
        Compression::None => compress::Compression::None,
    };
    options.owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    options
}

/// The queue's numbers as the commands show them.
fn pending_of(pending: &keepfs_fs::SyncProgress) -> Pending {
    super::pending(
        (pending.bytes, pending.objects as u64),
        pending.oldest,
        pending.last_error.clone(),
        pending.retry_at,
    )
}
