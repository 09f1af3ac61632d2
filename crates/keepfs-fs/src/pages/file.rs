//! The page file: sealing and opening what lies at a place of it. Never decides when anything is written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use keepfs_format::env::{Env, draw};
use keepfs_format::local::{Noise, PAGE_NONCE_LEN, PAGE_OVERHEAD_LEN, PageSealer, SALT_LEN};
use parking_lot::Mutex;

use super::layout::{
    HEAD_LEN, HEAD_PLACE, PAGE_LEN, SEALED_LEN, SLOT_LEN, SLOT_PLACES, SLOT_PLAIN_LEN, page_offset,
    slot_offset,
};
use super::{DatabasePlace, PagesError, failed};
use crate::disk::{LocalFile, SECTOR_LEN};

/// Version of the layout that this code reads and writes; the first byte of the sealed check.
const VERSION: u8 = 1;

const CHECK_LEN: usize = SECTOR_LEN - SALT_LEN - PAGE_OVERHEAD_LEN;

/// Nonces are drawn so many at a time.
const NONCES: usize = 256;

/// A page as it lies in the file.
pub(super) type SealedPage = [u8; SEALED_LEN];

/// A page in the clear.
pub(super) type Page = [u8; PAGE_LEN];

/// Page 0 with what only its slots hold.
#[derive(Clone)]
pub(super) struct Header {
    /// The page.
    pub(super) page: Box<Page>,
    /// Grows with each version that was written.
    pub(super) version: u64,
    /// Whether the last session ended with a close after this.
    pub(super) closed: bool,
}

impl Header {
    fn encode(&self, out: &mut [u8; SLOT_PLAIN_LEN]) {
        out[..PAGE_LEN].copy_from_slice(&*self.page);
        out[PAGE_LEN..PAGE_LEN + 8].copy_from_slice(&self.version.to_le_bytes());
        out[PAGE_LEN + 8] = u8::from(self.closed);
    }

    fn decode(bytes: &[u8; SLOT_PLAIN_LEN]) -> Option<Self> {
        let (page, rest) = bytes.split_first_chunk::<PAGE_LEN>()?;
        let (version, rest) = rest.split_first_chunk::<8>()?;
        let closed = *rest.first()? == 1;
        Some(Self { page: Box::new(*page), version: u64::from_le_bytes(*version), closed })
    }
}

/// The file and its sealer.
pub(super) struct PageFile {
    pub(super) path: PathBuf,
    pub(super) file: Arc<dyn LocalFile>,
    sealer: PageSealer,
    env: Arc<dyn Env>,
    nonces: Mutex<Nonces>,
}

/// Random bytes drawn ahead: one call of the generator for many pages.
struct Nonces {
    bytes: [u8; NONCES * PAGE_NONCE_LEN],
    left: usize,
}

impl PageFile {
    /// Makes a file without pages, under a random id of its own.
    pub(super) fn create(place: &DatabasePlace, path: &Path) -> Result<Self, PagesError> {
        let file = place.disk.create(path).map_err(|source| failed(path, source))?;
        let mut head = [0; HEAD_LEN];
        Noise::new(&draw(&*place.env)).fill(&mut head);
        let (id, rest) =
            head.split_first_chunk_mut::<SALT_LEN>().expect("the head is longer than the file id");
        place.env.fill(id);
        let pages = Self::new(place, path, file, id);
        let mut check = [0; CHECK_LEN];
        check[0] = VERSION;
        pages.seal(HEAD_PLACE, &check, &mut rest[..CHECK_LEN + PAGE_OVERHEAD_LEN]);
        pages.file.write_at(0, &head).map_err(|source| failed(path, source))?;
        Ok(pages)
    }

    /// Opens a file that this key made.
    pub(super) fn open(place: &DatabasePlace, path: &Path) -> Result<Self, PagesError> {
        let file = place.disk.open(path).map_err(|source| failed(path, source))?;
        let wrong = || PagesError::WrongKey { path: path.to_owned() };
        let mut head = [0; SECTOR_LEN];
        file.read_at(0, &mut head).map_err(|source| match source.kind() {
            io::ErrorKind::UnexpectedEof => wrong(),
            _ => failed(path, source),
        })?;
        let (id, sealed) = head.split_first_chunk::<SALT_LEN>().expect("a sector is longer than the file id");
        let pages = Self::new(place, path, file, id);
        let mut check = [0; CHECK_LEN];
        match pages.sealer.open(HEAD_PLACE, sealed, &mut check) && check[0] == VERSION {
            true => Ok(pages),
            false => Err(wrong()),
        }
    }

    fn new(place: &DatabasePlace, path: &Path, file: Arc<dyn LocalFile>, id: &[u8; SALT_LEN]) -> Self {
        Self {
            path: path.to_owned(),
            file,
            sealer: place.keys.pages(id),
            env: place.env.clone(),
            nonces: Mutex::new(Nonces { bytes: [0; NONCES * PAGE_NONCE_LEN], left: 0 }),
        }
    }

    /// Seals for `place` under a fresh nonce.
    fn seal(&self, place: u64, plain: &[u8], sealed: &mut [u8]) {
        {
            let mut nonces = self.nonces.lock();
            if nonces.left == 0 {
                self.env.fill(&mut nonces.bytes);
                nonces.left = NONCES;
            }
            nonces.left -= 1;
            let start = nonces.left * PAGE_NONCE_LEN;
            sealed[..PAGE_NONCE_LEN].copy_from_slice(&nonces.bytes[start..start + PAGE_NONCE_LEN]);
        }
        self.sealer.seal(place, plain, sealed);
    }

    /// Seals a page.
    pub(super) fn seal_page(&self, page: u64, plain: &Page) -> SealedPage {
        let mut sealed = [0; SEALED_LEN];
        self.seal(page, plain, &mut sealed);
        sealed
    }

    /// Opens a page; false if it is not one that was written there.
    pub(super) fn open_page(&self, page: u64, sealed: &[u8], plain: &mut [u8]) -> bool {
        self.sealer.open(page, sealed, plain)
    }

    /// Reads pages from `first` on as they lie, as many as fit `out`.
    pub(super) fn read_sealed(&self, first: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_at(page_offset(first), out)
    }

    /// Writes sealed pages from `first` on.
    pub(super) fn write_sealed(&self, first: u64, sealed: &[u8]) -> io::Result<()> {
        self.file.write_at(page_offset(first), sealed)
    }

    /// Writes page 0 into one of its slots.
    pub(super) fn write_header(&self, slot: usize, header: &Header) -> io::Result<()> {
        let mut plain = [0; SLOT_PLAIN_LEN];
        header.encode(&mut plain);
        let mut sealed = [0; SLOT_LEN];
        self.seal(SLOT_PLACES[slot], &plain, &mut sealed);
        self.file.write_at(slot_offset(slot), &sealed)
    }

    /// Reads the newer of the two slots of page 0 and says which it is; nothing if neither opens. Makes it durable:
    /// a session that was killed may have left it to the kernel only, or to a sync that failed. For that the same
    /// bytes are written again, so that a power loss meanwhile changes nothing in it.
    pub(super) fn settle_header(&self) -> io::Result<Option<(usize, Header)>> {
        let mut newest: Option<(usize, Header)> = None;
        let mut newest_sealed = [0; SLOT_LEN];
        for (slot, place) in SLOT_PLACES.into_iter().enumerate() {
            let mut sealed = [0; SLOT_LEN];
            self.file.read_at(slot_offset(slot), &mut sealed)?;
            let mut plain = [0; SLOT_PLAIN_LEN];
            if !self.sealer.open(place, &sealed, &mut plain) {
                continue;
            }
            if let Some(header) = Header::decode(&plain)
                && newest.as_ref().is_none_or(|(_, newest)| newest.version < header.version)
            {
                newest = Some((slot, header));
                newest_sealed = sealed;
            }
        }
        if let Some((slot, _)) = &newest {
            self.file.write_at(slot_offset(*slot), &newest_sealed)?;
            self.file.sync_data()?;
        }
        Ok(newest)
    }
}
