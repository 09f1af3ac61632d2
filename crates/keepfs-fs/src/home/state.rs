//! This machine's state of a vault: three small files in a directory of its owner's.
//!
//! ```text
//! header    copy of the header, byte for byte as on the store; the only one that can be recognised
//! roster    the roster's entries, sealed; spares fetching them again, and is enough to mount without a store
//! machine   this machine's keys, and how much of the roster it has seen; sealed
//! ```
//!
//! It owns their bytes and that they change atomically. `machine` is the one that cannot be had again: where
//! it is, nothing is ever founded or joined over it. It is sealed under a key that every slot of the user
//! leads to, so a new password leaves it as it is.

use std::io;
use std::path::{Path, PathBuf};

use keepfs_format::codec::{Reader, Writer};
use keepfs_format::env::{self, Env};
use keepfs_format::error::FormatError;
use keepfs_format::header::HEADER_LEN_MAX;
use keepfs_format::identity::SigningKey;
use keepfs_format::ids::{MachineId, MachineTag};
use keepfs_format::roster::{ENTRY_LEN_MAX, EntryHash, ROSTER_LEN_MAX};
use keepfs_format::sealed;
use keepfs_format::secret::Secret;
use zeroize::Zeroizing;

use super::chain::Seen;
use super::site::Site;
use crate::disk::LocalDisk;
use crate::error::{FsError, Result};

const MACHINE: &str = "machine";
const HEADER: &str = "header";
const ROSTER: &str = "roster";
/// A file is written under its name and this, then renamed.
const FRESH_SUFFIX: &str = ".new";

const VERSION: u8 = 1;
const MACHINE_FILE_LEN_MAX: usize = 4096;
const ROSTER_PLAIN_LEN_MAX: usize = 32 << 20;
const ROSTER_FILE_LEN_MAX: usize = ROSTER_PLAIN_LEN_MAX + (4 << 20);

/// What the file `machine` holds.
pub(super) struct MachineState {
    pub(super) id: MachineId,
    pub(super) tag: MachineTag,
    pub(super) signing: SigningKey,
    pub(super) local_key: Secret<32>,
    pub(super) seen: Seen,
}

impl MachineState {
    /// A new machine that has seen this much.
    pub(super) fn draw(tag: MachineTag, seen: Seen, env: &dyn Env) -> Self {
        let mut id = [0; 16];
        env.fill(&mut id);
        // The marks of a random UUID.
        id[6] = id[6] & 0x0f | 0x40;
        id[8] = id[8] & 0x3f | 0x80;
        let (signing, local_key) = (SigningKey::draw(env), env::draw(env));
        Self { id: MachineId(id), tag, signing, local_key, seen }
    }

    fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full, so that growing leaves no unwiped copy behind.
        let mut writer = Writer::with_capacity(256);
        writer.u8(VERSION);
        writer.raw(&self.id.0);
        writer.u32(self.tag.0);
        writer.raw(self.signing.seed().expose());
        writer.raw(self.local_key.expose());
        writer.u64(self.seen.entry_count);
        writer.raw(&self.seen.tip.0);
        Zeroizing::new(writer.into_bytes())
    }

    fn decode(plain: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::new(plain, "machine state");
        let found = reader.u8()?;
        if found != VERSION {
            return Err(FormatError::WrongVersion { found, supported: VERSION });
        }
        let state = Self {
            id: MachineId(reader.array()?),
            tag: MachineTag(reader.u32()?),
            signing: SigningKey::from_seed(Secret::new(reader.array()?)),
            local_key: Secret::new(reader.array()?),
            seen: Seen { entry_count: reader.u64()?, tip: EntryHash(reader.array()?) },
        };
        reader.finish()?;
        Ok(state)
    }
}

/// The directory of one vault's state on this machine.
pub(super) struct StateDir<'a> {
    disk: &'a dyn LocalDisk,
    path: &'a Path,
}

impl<'a> StateDir<'a> {
    pub(super) fn of(site: &Site<'a>) -> Self {
        Self { disk: site.disk, path: site.state_dir }
    }

    /// Makes the directory, and sees to it that nothing is founded or joined over a machine's keys.
    ///
    /// # Errors
    /// [`FsError::StateExists`].
    pub(super) fn prepare(&self) -> Result<()> {
        create_dirs(self.disk, self.path)?;
        match self.disk.open(&self.path.join(MACHINE)) {
            Ok(_) => Err(FsError::StateExists { path: self.path.to_owned() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// The sealed machine file.
    ///
    /// # Errors
    /// [`FsError::NoState`] when there is none.
    pub(super) fn read_machine_file(&self) -> Result<Vec<u8>> {
        let missing = || FsError::NoState { path: self.path.to_owned() };
        self.read(MACHINE, MACHINE_FILE_LEN_MAX)?.ok_or_else(missing)
    }

    /// Opens the machine file.
    ///
    /// # Errors
    /// [`FsError::Damaged`] or [`FsError::NewerVersion`]; the file stays as it is.
    pub(super) fn open_machine(&self, file: &[u8], key: &Secret<32>) -> Result<MachineState> {
        let opened = sealed::open(key, MACHINE.as_bytes(), file, MACHINE_FILE_LEN_MAX, "machine state")
            .map(Zeroizing::new)
            .and_then(|plain| MachineState::decode(&plain));
        opened.map_err(|error| match error {
            FormatError::WrongVersion { found, supported } => {
                FsError::NewerVersion { what: "this machine's state", found, supported }
            }
            _ => FsError::Damaged {
                what: format!("{}, the state of this machine,", self.path.join(MACHINE).display()),
                advice: "move the state directory out of the way and attach this machine again with \
                         'keepfs join'; what was synchronised is on the store"
                    .into(),
            },
        })
    }

    /// The copy of the header, if there is one; whether it is one at all is for the caller to find out.
    pub(super) fn read_header(&self) -> Result<Option<Vec<u8>>> {
        self.read(HEADER, HEADER_LEN_MAX)
    }

    /// The kept roster entries; nothing if there are none, or none that are whole.
    pub(super) fn read_roster(&self, key: &Secret<32>) -> Result<Option<Vec<Vec<u8>>>> {
        let Some(file) = self.read(ROSTER, ROSTER_FILE_LEN_MAX)? else { return Ok(None) };
        let opened = sealed::open(key, ROSTER.as_bytes(), &file, ROSTER_PLAIN_LEN_MAX, "kept roster")
            .and_then(|plain| decode_entries(&plain));
        Ok(opened.ok())
    }

    pub(super) fn write_machine(&self, state: &MachineState, key: &Secret<32>, env: &dyn Env) -> Result<()> {
        self.stage_machine(state, key, env)?;
        self.place(MACHINE)
    }

    /// Writes the machine file under a name where nobody looks, so that a full disk is noticed before anything
    /// is said on the store.
    pub(super) fn stage_machine(&self, state: &MachineState, key: &Secret<32>, env: &dyn Env) -> Result<()> {
        self.stage(MACHINE, &sealed::seal(key, MACHINE.as_bytes(), env, &state.encode())?)
    }

    /// Gives the staged machine file its name.
    pub(super) fn place_machine(&self) -> Result<()> {
        self.place(MACHINE)
    }

    /// Removes a staged machine file that will not be needed.
    pub(super) fn discard_staged_machine(&self) {
        let _ = self.disk.remove(&self.fresh(MACHINE));
    }

    pub(super) fn write_header(&self, bytes: &[u8]) -> Result<()> {
        self.stage(HEADER, bytes)?;
        self.place(HEADER)
    }

    pub(super) fn write_roster(&self, entries: &[Vec<u8>], key: &Secret<32>, env: &dyn Env) -> Result<()> {
        let plain = encode_entries(entries);
        // Past this length the entries are fetched every time.
        if plain.len() > ROSTER_PLAIN_LEN_MAX {
            return Ok(());
        }
        self.stage(ROSTER, &sealed::seal(key, ROSTER.as_bytes(), env, &plain)?)?;
        self.place(ROSTER)
    }

    fn fresh(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{FRESH_SUFFIX}"))
    }

    fn stage(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let fresh = self.fresh(name);
        match self.disk.remove(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let file = self.disk.create(&fresh)?;
        file.write_at(0, bytes)?;
        file.sync_data()?;
        Ok(())
    }

    fn place(&self, name: &str) -> Result<()> {
        self.disk.rename(&self.fresh(name), &self.path.join(name))?;
        self.disk.sync_dir(self.path)?;
        Ok(())
    }

    fn read(&self, name: &str, len_max: usize) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let file = match self.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let len = file.length()?;
        // A longer file is none of ours; its first bytes are as damaged as all of them.
        let mut bytes = vec![0; len.min(len_max as u64) as usize];
        file.read_at(0, &mut bytes)?;
        Ok(Some(bytes))
    }
}

/// Makes a directory and those above it, durably.
fn create_dirs(disk: &dyn LocalDisk, path: &Path) -> io::Result<()> {
    let Some(parent) = path.parent() else { return Ok(()) };
    match disk.create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_dirs(disk, parent)?;
            disk.create_dir(path)?;
        }
        result => result?,
    }
    disk.sync_dir(parent)
}

fn encode_entries(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = Writer::new();
    writer.u8(VERSION);
    writer.varint(entries.len() as u64);
    for entry in entries {
        writer.bytes(entry);
    }
    writer.into_bytes()
}

fn decode_entries(plain: &[u8]) -> Result<Vec<Vec<u8>>, FormatError> {
    let mut reader = Reader::new(plain, "kept roster");
    let found = reader.u8()?;
    if found != VERSION {
        return Err(FormatError::WrongVersion { found, supported: VERSION });
    }
    let count = reader.count("number of roster entries", ROSTER_LEN_MAX as usize, 1)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(reader.bytes("roster entry", ENTRY_LEN_MAX)?.to_vec());
    }
    reader.finish()?;
    Ok(entries)
}
