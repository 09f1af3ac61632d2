//! Opening a namespace: what is needed, and the order in which it comes up.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use keepfs_format::env::Env;
use keepfs_format::ids::Hlc;
use keepfs_format::keys::NamespaceKeys;
use keepfs_format::local::LocalKeys;
use keepfs_store::{BlobCache, Store};
use keepfs_vault::{ChunkSpace, SpaceOptions, StagingPlace};
use parking_lot::{Mutex, RwLock};

use crate::api::Handles;
use crate::core::Core;
use crate::damage::Damage;
use crate::database::Database;
use crate::disk::LocalDisk;
use crate::durable::recover::{self, Index, Replayed};
use crate::durable::{Committer, Cuts, Outbox, Work, load, others};
use crate::error::Result;
use crate::fs::Fs;
use crate::home::Unlocked;
use crate::options::Options;
use crate::space_watch::SpaceWatch;

/// Threads that publish.
const PUBLISH_THREADS: usize = 2;

/// What a namespace is opened from.
pub struct World {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Where packs grow when the store is not on this machine's disk, and objects of the store that were read.
    pub staging: Option<StagingPlace>,
    /// Sealed bytes of a store that is not local.
    pub cache: Option<Arc<dyn BlobCache>>,
    /// The local disk.
    pub disk: Arc<dyn LocalDisk>,
    /// Time and randomness.
    pub env: Arc<dyn Env>,
    /// The unlocked vault.
    pub unlocked: Unlocked,
}

/// The same, with the keys derived.
pub(crate) struct Parts {
    pub store: Arc<dyn Store>,
    pub staging: Option<StagingPlace>,
    pub disk: Arc<dyn LocalDisk>,
    pub env: Arc<dyn Env>,
    pub unlocked: Arc<Unlocked>,
    pub keys: Arc<NamespaceKeys>,
    pub local: Arc<LocalKeys>,
    pub options: Options,
}

impl Fs {
    /// Opens the namespace: database, journal, what a crash left, and the background threads. Nothing but
    /// the journal is read in full.
    ///
    /// # Errors
    /// [`crate::FsError::Damaged`] when local state does not fit together (nothing is changed then);
    /// errors of disk and store.
    pub fn start(world: World, options: Options) -> Result<Self> {
        let World { store, staging, cache, disk, env, unlocked } = world;
        let keys = Arc::new(unlocked.namespace_keys());
        let local = Arc::new(LocalKeys::derive(&unlocked.local_key));
        let unlocked = Arc::new(unlocked);
        let parts = Parts { store, staging, disk, env, unlocked, keys, local, options };
        let place = recover::database_place(&parts, &parts.options.state_dir);
        let (database, checked) = recover::open_database(&place)?;
        let mut is_new = false;
        let known = database.snapshot().progress()?;
        let (progress, covered, rebuilt) = match known {
            Some(mut progress) => {
                others::take_over(&parts, &database, &mut progress)?;
                (progress, Hlc::default(), false)
            }
            None => {
                let loaded = load::load(&parts, &database)?;
                is_new = !loaded.found;
                (loaded.progress, loaded.covered, loaded.found)
            }
        };
        let (mut replayed, journal) = recover::replay(&parts, &database, (progress, covered))?;
        replayed.report.unclean |= checked;
        replayed.report.rebuilt = rebuilt;
        let space = Arc::new(open_space(&parts, cache, &database, &replayed)?);
        match parts.options.read_only {
            true => recover::adopt_packs(&space, &mut replayed)?,
            false => recover::recover_packs(&space, &mut replayed)?,
        }
        let core = Arc::new(assemble(parts, database, journal, space, replayed));
        core.hear_of_jobs();
        if !core.options.read_only {
            core.settle_replayed()?;
            core.queue_segments()?;
            if core.options.background {
                core.space.publisher().start_threads(PUBLISH_THREADS)?;
            }
        }
        if !core.options.read_only && is_new {
            core.own_root()?;
        }
        if core.options.background {
            core.start()?;
        }
        Ok(Self { core })
    }
}

fn open_space(
    parts: &Parts,
    cache: Option<Arc<dyn BlobCache>>,
    database: &Arc<Database>,
    replayed: &Replayed,
) -> Result<ChunkSpace> {
    let options = SpaceOptions {
        staging: parts.staging.clone().unwrap_or(StagingPlace::InStore),
        cache,
        next_pack_counter: replayed.tree.progress.last_pack + 1,
        compression: parts.options.compression,
        block_cache_len_max: parts.options.block_cache_len_max,
        prefetch_threads: parts.options.prefetch_threads,
        ..SpaceOptions::new(
            parts.store.clone(),
            parts.keys.clone(),
            parts.env.clone(),
            parts.unlocked.machine.tag,
            Arc::new(Index(database.clone())),
        )
    };
    Ok(ChunkSpace::open(options)?)
}

fn assemble(
    parts: Parts,
    database: Arc<Database>,
    journal: crate::journal::Journal,
    space: Arc<ChunkSpace>,
    replayed: Replayed,
) -> Core {
    let Replayed { tree, contents, unsealed, report, .. } = replayed;
    let cuts = Cuts::default();
    *cuts.unsealed.lock() = unsealed;
    cuts.published.store(tree.progress.published_segment, std::sync::atomic::Ordering::Release);
    cuts.headed.store(tree.progress.headed_segment, std::sync::atomic::Ordering::Release);
    let outbox = Outbox::default();
    outbox.begin(tree.progress.published_segment, tree.progress.headed_segment);
    Core {
        machine: parts.unlocked.machine.tag,
        database_segment: AtomicU64::new(tree.progress.last_segment),
        options: parts.options,
        env: parts.env,
        store: parts.store,
        unlocked: parts.unlocked,
        keys: parts.keys,
        tree: Mutex::new(tree),
        contents,
        space,
        staging: parts.staging,
        database,
        journal,
        handles: Handles::default(),
        gate: RwLock::new(()),
        drain_gate: RwLock::new(()),
        journal_order: Mutex::new(()),
        unwritten: Mutex::default(),
        committer: Committer::default(),
        cuts,
        outbox,
        work: Work::default(),
        damage: Damage::default(),
        free_space: SpaceWatch::default(),
        recovered: report,
        poisoned: OnceLock::new(),
    }
}
