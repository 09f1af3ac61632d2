//! Opening a namespace: the database, then the journal through the same fold that every change goes through.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use keepfs_format::ids::{Hlc, Ino, Locator, Stamp, Time};
use keepfs_format::op::{AttrChange, Inode, Kind, Op};
use keepfs_log::apply_group;
use keepfs_vault::{ChunkIndex, ChunkSpace, VaultError};

use super::batch::{Batch, RawWrite, each_group};
use crate::content::Contents;
use crate::core::Core;
use crate::database::{Changes, Database, Progress};
use crate::error::{FsError, Result};
use crate::journal::{Journal, JournalError, JournalPlace, Position};
use crate::open::Parts;
use crate::pages::{self, DatabasePlace, PagesError};
use crate::tree::{Fold, OpLog, Tree};

/// How far head generations jump at an open: more heads than one session writes between two checkpoints of
/// the database, so that none is used twice after a crash.
const HEAD_GENERATION_JUMP: u64 = 1 << 20;

/// What an open found and did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// The last session did not end by a close.
    pub unclean: bool,
    /// Operations that were in the journal and not yet in the database.
    pub operations: u64,
    /// Bytes of files that were in the journal and not yet in chunks.
    pub raw_len: u64,
    /// The last journal entry was cut off by the crash; nothing of it had been acknowledged.
    pub torn_tail: bool,
    /// Packs that a crash left unfinished and that are whole now.
    pub packs_finished: u64,
    /// The local database was rebuilt from the store.
    pub rebuilt: bool,
}

/// The dedup index: what the database says.
pub(crate) struct Index(pub Arc<Database>);

impl ChunkIndex for Index {
    fn lookup(&self, id: &keepfs_format::ids::ChunkId) -> Result<Option<Locator>, VaultError> {
        self.0.snapshot().chunk(id).map_err(|error| VaultError::Index { what: error.to_string() })
    }
}

/// The root of a tree that nothing was ever written to: the same for every machine.
pub(crate) fn first_root(owner: u32) -> Inode {
    let stamp = Stamp { hlc: Hlc(0), machine: keepfs_format::ids::MachineTag(1) };
    let time = Time::default();
    Inode {
        ino: Ino::ROOT,
        kind: Kind::Directory,
        mode: 0o755,
        uid: owner,
        gid: owner,
        rdev: 0,
        nlink: 2,
        size: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        parent: Ino::ROOT,
        attr_stamp: stamp,
        content_stamp: stamp,
        xattrs: Vec::new(),
        target: Box::default(),
    }
}

/// Opens the database. One that is damaged is put aside: everything in it is on the store or in the journal.
pub(crate) fn open_database(place: &DatabasePlace) -> Result<(Arc<Database>, bool)> {
    let (inner, report) = match pages::open_database(place) {
        // The key is this machine's own and has opened its state: what it does not open is damaged.
        Err(PagesError::Damaged { .. } | PagesError::WrongKey { .. }) => {
            tracing::warn!("the local database is damaged; it is rebuilt from the store");
            pages::remove_database(&*place.disk, &place.path)?;
            pages::open_database(place)?
        }
        other => other?,
    };
    Ok((Arc::new(Database::new(inner)?), report.checked))
}

/// Writes the first row: an empty tree.
pub(crate) fn begin_tree(database: &Database, root: Inode) -> Result<Progress> {
    let mut changes = Changes::default();
    changes.inode(Ino::ROOT, Some((&root, 0)));
    changes.stale(Ino::ROOT);
    database.write_unfinished(&mut changes)?;
    Ok(Progress { inodes: 1, ..Progress::default() })
}

/// What the replay builds up before there is a core.
pub(crate) struct Replayed {
    /// Operations up to this logical time are in the tree already: it was rebuilt from the store.
    covered: Hlc,
    pub tree: Tree,
    pub contents: Contents,
    pub unsealed: Vec<Vec<u8>>,
    pub report: RecoveryReport,
}

impl Replayed {
    fn batch(&mut self, bytes: &[u8]) -> Result<()> {
        let mut batch = Batch::read(bytes)?;
        let machine = self.tree.machine();
        for blob in [batch.packs, batch.operations] {
            let mut log = OpLog::default();
            each_group::<FsError>(blob, |group| {
                if group.hlc <= self.covered {
                    return Ok(());
                }
                apply_group(&mut Fold { tree: &mut self.tree, contents: &self.contents }, machine, &group)?;
                for (ino, open) in self.tree.take_dropped() {
                    self.contents.unlink(ino, open);
                }
                self.report.operations += group.ops.len() as u64;
                self.tree.heed(machine, &group);
                log.record(&group)
            })?;
            if log.len() > 0 {
                self.unsealed.push(log.take());
            }
        }
        if batch.hlc <= self.covered {
            return Ok(());
        }
        while let Some(write) = batch.next_write()? {
            self.write(&write)?;
        }
        Ok(())
    }

    fn write(&mut self, write: &RawWrite<'_>) -> Result<()> {
        let exists = match self.tree.inode(write.ino) {
            Ok((inode, _)) => inode.kind == Kind::File && !self.tree.is_gone(write.ino),
            Err(FsError::NotFound) => false,
            Err(error) => return Err(error),
        };
        if !exists {
            return Ok(());
        }
        self.report.raw_len += write.data.len() as u64;
        let file = self.contents.file(write.ino, write.size);
        let mut state = file.lock();
        let held = state.dirty.len();
        // The journal keeps these bytes until a cut has brought them into chunks.
        state.dirty.write(write.offset, write.data, false);
        state.size = write.size;
        self.contents.account(held, state.dirty.len(), 0, 0);
        self.contents.mark_dirty(write.ino);
        let allocated = state.allocated(write.ino, &self.contents.database)?;
        self.tree.set_allocated(write.ino, allocated)?;
        let (inode, _) = self.tree.inode_mut(write.ino)?;
        (inode.size, inode.mtime, inode.ctime) = (write.size, write.mtime, write.ctime);
        Ok(())
    }
}

fn journal_place(parts: &Parts) -> JournalPlace {
    JournalPlace {
        disk: parts.disk.clone(),
        dir: parts.options.state_dir.join("journal"),
        keys: parts.local.clone(),
        env: parts.env.clone(),
        options: parts.options.journal,
    }
}

/// Whether the journal holds changes beyond a position.
pub(crate) fn journal_goes_on(parts: &Parts, from: Position) -> Result<bool> {
    let (_, found) = Journal::open(journal_place(parts), from, &mut |_, _| Ok(()))?;
    Ok(found.records > 0)
}

/// Replays what the journal has beyond the database.
pub(crate) fn replay(
    parts: &Parts,
    database: &Arc<Database>,
    (progress, covered): (Progress, Hlc),
) -> Result<(Replayed, Journal)> {
    let from = Position(progress.applied);
    let tree = Tree::new(database, parts.keys.clone(), parts.unlocked.machine.tag, progress);
    let contents = Contents::new(database.clone());
    let replayed = RefCell::new(Replayed {
        covered,
        tree,
        contents,
        unsealed: Vec::new(),
        report: RecoveryReport::default(),
    });
    let (journal, found) = Journal::open(journal_place(parts), from, &mut |_, bytes| {
        replayed.borrow_mut().batch(bytes).map_err(|error| JournalError::Replay(Box::new(error)))
    })?;
    if found.created && from != Position::OLDEST && covered == Hlc::default() {
        return Err(FsError::Damaged {
            what: "the journal in the state directory (its files are gone)".into(),
            advice: "put them back, or move the state directory away and join again from the store".into(),
        });
    }
    let mut replayed = replayed.into_inner();
    replayed.report.torn_tail = found.torn_tail;
    replayed.report.unclean = found.records > 0 || found.torn_tail;
    replayed.tree.progress.head_generation += HEAD_GENERATION_JUMP;
    replayed.tree.set_packs_hlc_aside();
    Ok((replayed, journal))
}

/// How far behind the last pack of the journal one may have been begun: more are never open at a time.
const PACKS_BEGUN_MAX: u64 = 1024;

/// The same for a mount that may not write: what the log names can be read where it lies. What cannot be opened
/// is told of, and all else can be read.
pub(crate) fn adopt_packs(space: &ChunkSpace, replayed: &mut Replayed) -> Result<()> {
    let next = replayed.tree.progress.last_pack + 1;
    let staged = space.staged_packs(1..next + PACKS_BEGUN_MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "whether a crash left packs is not known");
        Vec::new()
    });
    for pack in staged {
        let table = replayed.tree.packs().table_of(pack)?;
        if table.is_empty() {
            continue;
        }
        if let Err(error) = space.adopt_pack(pack, table) {
            tracing::error!(pack = pack.0, %error, "a pack that a crash left cannot be read");
        }
    }
    Ok(())
}

/// Packs that a crash left in staging: what the log names is finished and published, the rest discarded.
pub(crate) fn recover_packs(space: &ChunkSpace, replayed: &mut Replayed) -> Result<()> {
    let next = replayed.tree.progress.last_pack + 1;
    // A pack that no journal entry names may have been begun.
    for pack in space.staged_packs(1..next + PACKS_BEGUN_MAX)? {
        let table = replayed.tree.packs().table_of(pack)?;
        if table.is_empty() {
            space.discard_pack(pack)?;
            continue;
        }
        let recovered = space.finish_pack(pack, table)?;
        replayed.report.packs_finished += u64::from(!recovered.published);
        if !recovered.damaged.is_empty() {
            tracing::error!(
                pack = pack.0,
                chunks = recovered.damaged.len(),
                "chunks that were synced did not survive; reads of them will fail"
            );
        }
    }
    Ok(())
}

/// The directory below the state directory that holds this namespace's database.
pub(crate) fn database_place(parts: &Parts, state_dir: &Path) -> DatabasePlace {
    DatabasePlace {
        disk: parts.disk.clone(),
        path: state_dir.join("tree.db"),
        keys: parts.local.clone(),
        env: parts.env.clone(),
        cache_len: parts.options.database_cache_len,
    }
}

impl Core {
    /// After an unclean stop: brings everything that was replayed into database and segments at once.
    pub(crate) fn settle_replayed(&self) -> Result<()> {
        if self.options.read_only || !(self.recovered.unclean || self.recovered.rebuilt) {
            return Ok(());
        }
        self.work.noted();
        match self.cut().and_then(|()| self.publish()) {
            // What was replayed is as safe as it was; it goes to the store when that takes something again.
            Err(error) if error.is_of_store() => {
                tracing::warn!(%error, "what was recovered stays in the journal");
                Ok(())
            }
            outcome => outcome,
        }
    }
}

impl Core {
    /// The first operation of a new tree: its root belongs to whoever made it.
    pub(crate) fn own_root(&self) -> Result<()> {
        let (uid, gid) = self.options.owner;
        let now = self.env.now();
        let time = Some(now);
        let change =
            AttrChange { mode: Some(0o755), uid: Some(uid), gid: Some(gid), atime: time, mtime: time };
        let mut tree = self.tree.lock();
        self.perform(&mut tree, now, vec![Op::SetAttr { ino: Ino::ROOT, change }])?;
        drop(tree);
        self.work.noted();
        self.commit()
    }
}
