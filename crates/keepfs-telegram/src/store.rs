//! The store itself: synchronous calls over what the rest of this crate does asynchronously.

use std::future::Future;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keepfs_store::{Capabilities, ObjectInfo, ObjectName, PutMode, Space, Store, StoreError};
use parking_lot::{Mutex, RwLock};
use tokio::runtime::Runtime;

use crate::attempt::{self, Attempt, Numbers};
use crate::error::TelegramError;
use crate::flow::PARTS_MAX;
use crate::index::Spot;
use crate::index_file;
use crate::listener;
use crate::place::Place;
use crate::pool::Pool;
use crate::reading;
use crate::settings::Settings;
use crate::shelf::Shelf;
use crate::source::Source;
use crate::upload::OBJECT_LEN_MAX;
use crate::volume::Volume;
use crate::volume_file;

/// Threads that drive the connections: encryption of parts is what they spend their time on.
const THREADS: usize = 2;

/// Directory of the records of uploads.
const UPLOADS: &str = "uploads";

type Result<T, E = StoreError> = std::result::Result<T, E>;

/// A Telegram account's saved messages, or a channel of it, as a store.
pub struct TelegramStore {
    shelf: Arc<Shelf>,
    /// Taken away when the store is dropped.
    runtime: Option<Runtime>,
    /// Whether somebody listens for what is pushed.
    listens: AtomicBool,
}

/// How a place is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OpenWish {
    /// Make the channel if there is none of that name.
    pub create: bool,
}

impl TelegramStore {
    /// Opens the place that `text` (what follows `telegram:`) names.
    ///
    /// Nobody is asked: whether the place is there, and whether this account may use it, shows at the first call,
    /// which also makes the channel if that is wished.
    ///
    /// # Errors
    /// `BadPlace`, `NotLoggedIn`, `SessionUnreadable`, `Local`.
    pub fn open(text: &str, wish: OpenWish, settings: Settings) -> Result<Self, TelegramError> {
        let place = Place::parse(text)?;
        let session = settings.load()?;
        let user = session.user;
        let directory = settings.directory.join(format!("{user}-{}", place.directory()));
        let runtime = runtime()?;
        let pool = Arc::new(Pool::new(settings, session));
        let volumes = match &place {
            Place::SavedMessages => vec![Volume::SAVED],
            _ => volume_file::load(&directory),
        };
        attempt::sweep(&directory.join(UPLOADS));
        let index = index_file::load(&directory.join("index"));
        let shelf = Arc::new(Shelf {
            pool,
            place,
            user,
            directory,
            volumes: RwLock::new(volumes),
            index: Mutex::new(index),
            refreshed: tokio::sync::Mutex::new(None),
            create: wish.create,
            found: AtomicBool::new(false),
            beginning: tokio::sync::Mutex::new(()),
        });
        Ok(TelegramStore { shelf, runtime: Some(runtime), listens: AtomicBool::new(false) })
    }

    fn wait<T>(&self, future: impl Future<Output = Result<T>>) -> Result<T> {
        match &self.runtime {
            Some(runtime) => {
                // Not before somebody uses the store: opening it asks nobody.
                if !self.listens.swap(true, Ordering::Relaxed) {
                    runtime.spawn(listener::listen(Arc::downgrade(&self.shelf)));
                }
                runtime.block_on(future)
            }
            None => Err(StoreError::io_never("the store is closed")),
        }
    }

    async fn put_source(&self, name: &ObjectName, source: &Source<'_>, mode: PutMode) -> Result<()> {
        let len = source.len();
        if len > OBJECT_LEN_MAX {
            return Err(StoreError::too_large(name, len, OBJECT_LEN_MAX));
        }
        let (shelf, uploads) = (&self.shelf, self.shelf.directory.join(UPLOADS));
        shelf.refresh().await?;
        let mut older = shelf.index.lock().spots(name);
        if mode == PutMode::Create && !older.is_empty() {
            return self.settle(name, source, &uploads);
        }
        let spot = match self.send(name, source, &uploads).await? {
            Some(spot) => spot,
            // The server has forgotten, or does not like, what was sent before: from the beginning.
            None => self.send(name, source, &uploads).await?.ok_or_else(|| {
                StoreError::io_soon(format!("{name}: what was kept of an upload is of no use"))
            })?,
        };
        // Where the next machine begins to look; the next put tries again if this fails.
        let _ = shelf.renew_anchor(&shelf.volume(spot.volume)?).await;
        // An upload that goes on may find its own message there.
        older.retain(|other| *other != spot);
        if !older.is_empty() {
            // The new message counts already. One that stays is deleted by the next put or delete of this name.
            let _ = shelf.delete(name, &older).await;
        }
        Ok(())
    }

    /// Sends an object, going on with an attempt that was kept; nothing if the server refuses to go on with it.
    async fn send(
        &self,
        name: &ObjectName,
        source: &Source<'_>,
        uploads: &Path,
    ) -> Result<Option<Spot>, TelegramError> {
        let settings = &self.shelf.pool.settings;
        let numbers = || Numbers { file_id: settings.random_id(), random_id: settings.random_id() };
        let len = source.len();
        let mut attempt = match source.parts() {
            // One part is sent again faster than its record is kept.
            1 => Attempt::fleeting(numbers(), len),
            _ => Attempt::resume_or_begin(uploads, name, numbers(), len)?,
        };
        if !attempt.fits(source)? {
            attempt.end();
            attempt = Attempt::resume_or_begin(uploads, name, numbers(), len)?;
        }
        let is_resumed = attempt.is_resumed;
        match self.shelf.upload(name, source, &mut attempt).await {
            Ok(spot) => {
                attempt.end();
                Ok(Some(spot))
            }
            Err(error @ TelegramError::Refused { .. }) => {
                // Whatever the server has against this attempt, it would have it again.
                attempt.end();
                if is_resumed { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    /// There is an object of this name: ours, if this machine was sending exactly it when it was stopped.
    fn settle(&self, name: &ObjectName, source: &Source<'_>, uploads: &Path) -> Result<()> {
        let Some(attempt) = Attempt::kept(uploads, name) else { return Err(StoreError::exists(name)) };
        let mut crc = crc32fast::Hasher::new();
        for part in 0..source.parts() {
            crc.update(&source.part(part)?);
        }
        let crc = crc.finalize();
        let newest = self.shelf.newest(name);
        let is_ours = newest.is_some_and(|(_, entry)| {
            attempt.sending && entry.label.len == source.len() && entry.label.crc == crc
        });
        attempt::forget(uploads, name);
        if is_ours { Ok(()) } else { Err(StoreError::exists(name)) }
    }
}

impl Drop for TelegramStore {
    fn drop(&mut self) {
        // An index that is not kept is made again.
        let _ = self.shelf.keep_index(true);
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The threads of one store or login.
pub(crate) fn runtime() -> Result<Runtime, TelegramError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("telegram")
        .enable_io()
        .enable_time()
        .build()
        .map_err(|error| TelegramError::local("starting threads", &error))
}

impl Store for TelegramStore {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            kind: "telegram",
            local: false,
            create_is_atomic: false,
            object_len_max: OBJECT_LEN_MAX,
            parallel: PARTS_MAX,
        }
    }

    fn get(&self, name: &ObjectName, limit: u64) -> Result<Vec<u8>> {
        let mut plan = |len: u64| {
            let too_large = || StoreError::too_large(name, len, limit);
            if len > limit {
                return Err(too_large());
            }
            Ok((0, usize::try_from(len).map_err(|_| too_large())?))
        };
        self.wait(async {
            for _ in 0..2 {
                let reading = reading::read(&self.shelf, name, &mut plan).await?;
                let is_empty = reading.bytes.is_empty();
                let crc = crc32fast::hash(if is_empty { &[0] } else { &reading.bytes });
                if crc == reading.entry.label.crc {
                    return Ok(reading.bytes);
                }
            }
            Err(StoreError::io_soon(format!("{name} does not come as it was sent")))
        })
    }

    fn get_range(&self, name: &ObjectName, offset: u64, out: &mut [u8]) -> Result<()> {
        let wanted = out.len();
        let mut plan = |len: u64| match offset.checked_add(wanted as u64) {
            Some(end) if end <= len => Ok((offset, wanted)),
            _ => Err(StoreError::short(name, offset, wanted as u64)),
        };
        let reading = self.wait(reading::read(&self.shelf, name, &mut plan))?;
        out.copy_from_slice(&reading.bytes);
        Ok(())
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<()> {
        self.wait(self.put_source(name, &Source::Bytes(bytes), mode))
    }

    fn put_file(&self, name: &ObjectName, path: &Path, mode: PutMode) -> Result<()> {
        let source = Source::open(path)?;
        self.wait(self.put_source(name, &source, mode))
    }

    fn len(&self, name: &ObjectName) -> Result<u64> {
        self.wait(reading::len(&self.shelf, name))
    }

    fn delete(&self, name: &ObjectName) -> Result<()> {
        self.wait(async {
            self.shelf.refresh().await?;
            let spots = self.shelf.index.lock().spots(name);
            self.shelf.delete(name, &spots).await?;
            attempt::forget(&self.shelf.directory.join(UPLOADS), name);
            Ok(())
        })
    }

    fn list(&self, prefix: &str, each: &mut dyn FnMut(ObjectInfo) -> ControlFlow<()>) -> Result<()> {
        self.wait(async { Ok(self.shelf.refresh().await?) })?;
        let listed: Vec<ObjectInfo> = {
            let index = self.shelf.index.lock();
            let info = |entry: &crate::index::Entry| ObjectInfo {
                name: entry.label.name.clone(),
                len: entry.label.len,
                modified_secs: Some(entry.date_secs),
            };
            index.under(prefix).map(info).collect()
        };
        let _ = listed.into_iter().try_for_each(each);
        Ok(())
    }

    fn space(&self) -> Result<Option<Space>> {
        Ok(None)
    }
}
