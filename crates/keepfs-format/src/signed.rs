//! What segments, heads and checkpoints have in common: an envelope that says whose they are, and a
//! signature over all of it.
//!
//! It owns the order of the checks. It never decides whether a machine may write: it asks for the key that
//! the roster has for it.

use crate::codec::{Reader, Writer};
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::{Domain, SIGNATURE_LEN, SigningKey, VerifyingKey};
use crate::ids::{MACHINE_TAG_MAX, MachineTag, VaultId};
use crate::keys::{NamespaceKeys, Role};
use crate::roster::EntryHash;

/// Version of segments, heads and checkpoints.
pub const LOG_VERSION: u8 = 1;

/// BLAKE3 of a sealed object, as it lies on the store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct ObjectHash(pub [u8; 32]);

impl ObjectHash {
    /// What the first segment of a log has for a predecessor.
    pub const NONE: Self = Self([0; 32]);

    /// The hash of an object's bytes.
    pub fn of(sealed: &[u8]) -> Self {
        Self(*blake3::hash(sealed).as_bytes())
    }
}

/// A place in the roster: whoever signs names the newest entry it knew.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RosterPoint {
    /// Position of the entry.
    pub position: u64,
    /// Its hash.
    pub hash: EntryHash,
}

/// Finds the key of a machine at a place in the roster; `None` when it has none in force there.
pub type KeyAt<'a> = &'a dyn Fn(MachineTag, RosterPoint) -> Option<VerifyingKey>;

/// One kind of signed object.
pub(crate) struct Kind {
    pub(crate) role: Role,
    pub(crate) domain: Domain,
    pub(crate) object_len_max: usize,
    pub(crate) plain_len_max: usize,
}

impl Kind {
    /// Starts the body of an object by `machine`.
    pub(crate) fn begin(
        &self,
        keys: &NamespaceKeys,
        machine: MachineTag,
        roster: RosterPoint,
    ) -> Result<Writer, FormatError> {
        check_machine(machine)?;
        let mut writer = Writer::with_capacity(256);
        writer.u8(LOG_VERSION);
        writer.raw(&keys.vault().0);
        writer.u32(keys.namespace().0);
        writer.varint(u64::from(machine.0));
        writer.varint(roster.position);
        writer.raw(&roster.hash.0);
        Ok(writer)
    }

    /// Signs and seals a body.
    pub(crate) fn seal(
        &self,
        keys: &NamespaceKeys,
        name: &str,
        mut body: Writer,
        signer: &SigningKey,
        env: &dyn Env,
    ) -> Result<(Vec<u8>, ObjectHash), FormatError> {
        let signature = signer.sign(self.domain, body.as_slice());
        body.raw(&signature);
        if body.len() > self.plain_len_max {
            let (actual, limit) = (body.len() as u64, self.plain_len_max as u64);
            return Err(FormatError::TooLong { what: self.domain.what, actual, limit });
        }
        let sealed = keys.seal_object(self.role, name, env, body.as_slice())?;
        let hash = ObjectHash::of(&sealed);
        Ok((sealed, hash))
    }

    /// Opens the seal: size first, then that the object is the one that lies under this name.
    pub(crate) fn unseal(
        &self,
        keys: &NamespaceKeys,
        name: &str,
        sealed: &[u8],
    ) -> Result<Vec<u8>, FormatError> {
        if sealed.len() > self.object_len_max {
            let (actual, limit) = (sealed.len() as u64, self.object_len_max as u64);
            return Err(FormatError::TooLong { what: self.domain.what, actual, limit });
        }
        keys.open_object(self.role, name, sealed, self.plain_len_max)
    }

    /// Splits the signature off and reads the envelope. Nothing is believed yet.
    pub(crate) fn parse<'a>(&self, plain: &'a [u8]) -> Result<Envelope<'a>, FormatError> {
        let what = self.domain.what;
        let (body, signature) =
            plain.split_last_chunk::<SIGNATURE_LEN>().ok_or(FormatError::Truncated { what })?;
        let mut reader = Reader::new(body, what);
        let version = reader.u8()?;
        if version != LOG_VERSION {
            return Err(FormatError::WrongVersion { found: version, supported: LOG_VERSION });
        }
        Ok(Envelope {
            vault: VaultId(reader.array()?),
            namespace: reader.u32()?,
            machine: read_machine(&mut reader)?,
            roster: RosterPoint { position: reader.varint()?, hash: EntryHash(reader.array()?) },
            reader,
            body,
            signature,
        })
    }
}

/// An object that is parsed but not yet believed.
pub(crate) struct Envelope<'a> {
    vault: VaultId,
    namespace: u32,
    pub(crate) machine: MachineTag,
    pub(crate) roster: RosterPoint,
    pub(crate) reader: Reader<'a>,
    body: &'a [u8],
    signature: &'a [u8; SIGNATURE_LEN],
}

impl Envelope<'_> {
    /// Whether it is of this vault and namespace, and by this machine.
    pub(crate) fn check_place(&self, keys: &NamespaceKeys, machine: MachineTag) -> Result<(), FormatError> {
        let mismatch = |what| Err(FormatError::Mismatch { what });
        if self.vault != keys.vault() {
            return mismatch("vault");
        }
        if self.namespace != keys.namespace().0 {
            return mismatch("namespace");
        }
        if self.machine != machine { mismatch("machine") } else { Ok(()) }
    }

    /// Whether its author signed it with the key the roster had for it.
    pub(crate) fn check_signature(&self, kind: &Kind, key_at: KeyAt<'_>) -> Result<(), FormatError> {
        let what = kind.domain.what;
        let key = key_at(self.machine, self.roster).ok_or(FormatError::BadSignature { what })?;
        key.verify(kind.domain, self.body, self.signature)
    }
}

/// Whether this can be a machine's tag.
///
/// # Errors
/// [`FormatError::Invalid`] when it cannot.
pub(crate) fn check_machine(machine: MachineTag) -> Result<(), FormatError> {
    if machine.0 == 0 || machine.0 > MACHINE_TAG_MAX {
        return Err(FormatError::Invalid { what: "tag of a machine" });
    }
    Ok(())
}

/// Reads a machine's tag.
pub(crate) fn read_machine(reader: &mut Reader<'_>) -> Result<MachineTag, FormatError> {
    let machine = MachineTag(reader.varint_max("tag of a machine", u64::from(MACHINE_TAG_MAX))? as u32);
    check_machine(machine)?;
    Ok(machine)
}
