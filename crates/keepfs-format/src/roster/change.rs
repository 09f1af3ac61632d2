//! What a roster entry can say, and its bytes.
//!
//! It owns the kinds of change. A kind of 128 or more may be skipped by a program that does not know it; an
//! unknown kind below that must stop it. It never decides whether a change is allowed: the view does.

use crate::codec::{Reader, Writer};
use crate::compress::Compression;
use crate::error::FormatError;
use crate::header::HEADER_LEN_MAX;
use crate::identity::{LABEL_LEN_MAX, UserId, VerifyingKey, check_label};
use crate::ids::{MACHINE_TAG_MAX, MachineId, MachineTag, NamespaceId};
use crate::wrap::{READER_PUBLIC_LEN, ReaderPublic, WRAP_OVERHEAD_LEN};

/// Most users of a vault: what one entry can wrap a key for.
pub const USERS_MAX: usize = 256;
/// Most namespaces of a vault.
pub const NAMESPACES_MAX: usize = 4096;
/// Longest wrapped key in bytes.
const WRAPPED_LEN_MAX: usize = WRAP_OVERHEAD_LEN + 512;
/// Longest body of a kind that this program does not know, in bytes.
const OTHER_LEN_MAX: usize = 64 << 10;
/// From here on a kind that is not known may be skipped.
const KIND_OPTIONAL_MIN: u8 = 128;
const WHAT: &str = "roster entry";

const KIND_ADD_USER: u8 = 1;
const KIND_ADD_MACHINE: u8 = 2;
const KIND_ADD_NAMESPACE: u8 = 3;
const KIND_NEW_EPOCH: u8 = 4;
const KIND_HEADER: u8 = 5;

/// What all machines must agree on about a namespace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NamespaceSettings {
    /// How blocks are compressed.
    pub compression: Compression,
}

/// The keys of an epoch, wrapped to one user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WrappedKey {
    /// The user who can open it.
    pub user: UserId,
    /// HPKE's output.
    pub bytes: Box<[u8]>,
}

/// One change of the roster.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A user joins. As the first entry of all, it is signed by the user it adds.
    AddUser {
        /// Who.
        user: UserId,
        /// What people call them.
        name: Box<str>,
        /// Verifies what they sign.
        signing: VerifyingKey,
        /// Wraps keys to them.
        reader: ReaderPublic,
    },
    /// The author brings a machine.
    AddMachine {
        /// Which.
        machine: MachineId,
        /// Its short name inside the vault.
        tag: MachineTag,
        /// What people call it.
        name: Box<str>,
        /// Verifies what it signs.
        signing: VerifyingKey,
        /// Wraps keys to it, if it has such a key.
        reader: Option<ReaderPublic>,
    },
    /// A new namespace, which has no key yet.
    AddNamespace {
        /// Its number.
        namespace: NamespaceId,
        /// Its name.
        name: Box<str>,
        /// What all machines must agree on.
        settings: NamespaceSettings,
    },
    /// A namespace gets new keys.
    NewEpoch {
        /// Which namespace.
        namespace: NamespaceId,
        /// Counts from 1.
        epoch: u32,
        /// The keys for every reader, sorted by user.
        keys: Vec<WrappedKey>,
    },
    /// The slots change. The entry holds the whole header, so that a lost or old one can be replaced.
    Header {
        /// Bytes of the header.
        bytes: Box<[u8]>,
    },
    /// Something that a newer program said and that may be skipped.
    Other {
        /// 128 or more.
        kind: u8,
        /// Its bytes.
        body: Box<[u8]>,
    },
}

impl Change {
    fn kind(&self) -> u8 {
        match self {
            Self::AddUser { .. } => KIND_ADD_USER,
            Self::AddMachine { .. } => KIND_ADD_MACHINE,
            Self::AddNamespace { .. } => KIND_ADD_NAMESPACE,
            Self::NewEpoch { .. } => KIND_NEW_EPOCH,
            Self::Header { .. } => KIND_HEADER,
            Self::Other { kind, .. } => *kind,
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        match self {
            Self::AddUser { user, name, signing, reader } => {
                writer.raw(&user.0);
                writer.bytes(name.as_bytes());
                writer.raw(&signing.0);
                writer.raw(&reader.to_bytes()[..]);
            }
            Self::AddMachine { machine, tag, name, signing, reader } => {
                writer.raw(&machine.0);
                writer.u32(tag.0);
                writer.bytes(name.as_bytes());
                writer.raw(&signing.0);
                writer.u8(u8::from(reader.is_some()));
                if let Some(reader) = reader {
                    writer.raw(&reader.to_bytes()[..]);
                }
            }
            Self::AddNamespace { namespace, name, settings } => {
                writer.varint(u64::from(namespace.0));
                writer.bytes(name.as_bytes());
                settings.encode(writer);
            }
            Self::NewEpoch { namespace, epoch, keys } => {
                writer.varint(u64::from(namespace.0));
                writer.varint(u64::from(*epoch));
                writer.varint(keys.len() as u64);
                for key in keys {
                    writer.raw(&key.user.0);
                    writer.bytes(&key.bytes);
                }
            }
            Self::Header { bytes } => writer.bytes(bytes),
            Self::Other { body, .. } => writer.bytes(body),
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        match reader.u8()? {
            KIND_ADD_USER => Ok(Self::AddUser {
                user: UserId(reader.array()?),
                name: label(reader)?,
                signing: VerifyingKey(reader.array()?),
                reader: reader_public(reader)?,
            }),
            KIND_ADD_MACHINE => Ok(Self::AddMachine {
                machine: MachineId(reader.array()?),
                tag: machine_tag(reader.u32()?)?,
                name: label(reader)?,
                signing: VerifyingKey(reader.array()?),
                reader: optional_reader_public(reader)?,
            }),
            KIND_ADD_NAMESPACE => Ok(Self::AddNamespace {
                namespace: NamespaceId(reader.varint_u32("number of a namespace")?),
                name: label(reader)?,
                settings: NamespaceSettings::decode(reader)?,
            }),
            KIND_NEW_EPOCH => Ok(Self::NewEpoch {
                namespace: NamespaceId(reader.varint_u32("number of a namespace")?),
                epoch: reader.varint_u32("number of an epoch")?,
                keys: wrapped_keys(reader)?,
            }),
            KIND_HEADER => Ok(Self::Header { bytes: reader.bytes("header", HEADER_LEN_MAX)?.into() }),
            kind if kind >= KIND_OPTIONAL_MIN => {
                Ok(Self::Other { kind, body: reader.bytes(WHAT, OTHER_LEN_MAX)?.into() })
            }
            found => Err(FormatError::BadTag { what: "kind of a roster entry", found: u64::from(found) }),
        }
    }
}

impl NamespaceSettings {
    fn encode(self, writer: &mut Writer) {
        let (algorithm, level) = match self.compression {
            Compression::None => (0, 0),
            Compression::Zstd(level) => (1, level),
            Compression::Lz4 => (2, 0),
        };
        writer.u8(algorithm);
        writer.signed(i64::from(level));
    }

    fn decode(reader: &mut Reader<'_>) -> Result<Self, FormatError> {
        let algorithm = reader.u8()?;
        let level = reader.signed()?;
        let compression = match (algorithm, level) {
            (0, 0) => Compression::None,
            (1, -7..=19) => Compression::Zstd(level as i32),
            (2, 0) => Compression::Lz4,
            _ => return Err(FormatError::BadTag { what: "compression", found: u64::from(algorithm) }),
        };
        Ok(Self { compression })
    }
}

fn label(reader: &mut Reader<'_>) -> Result<Box<str>, FormatError> {
    let bytes = reader.bytes("name", LABEL_LEN_MAX)?;
    let label = str::from_utf8(bytes).map_err(|_| FormatError::Invalid { what: "a name is UTF-8" })?;
    check_label(label)?;
    Ok(label.into())
}

fn machine_tag(tag: u32) -> Result<MachineTag, FormatError> {
    if (1..=MACHINE_TAG_MAX).contains(&tag) {
        Ok(MachineTag(tag))
    } else {
        Err(FormatError::Invalid { what: "a machine's tag has 22 bits and is not zero" })
    }
}

fn reader_public(reader: &mut Reader<'_>) -> Result<ReaderPublic, FormatError> {
    ReaderPublic::from_bytes(&reader.array::<READER_PUBLIC_LEN>()?)
}

fn optional_reader_public(reader: &mut Reader<'_>) -> Result<Option<ReaderPublic>, FormatError> {
    match reader.u8()? {
        0 => Ok(None),
        1 => reader_public(reader).map(Some),
        _ => Err(FormatError::NotCanonical { what: WHAT }),
    }
}

fn wrapped_keys(reader: &mut Reader<'_>) -> Result<Vec<WrappedKey>, FormatError> {
    let count = reader.count("number of readers", USERS_MAX, 16 + WRAP_OVERHEAD_LEN)?;
    let mut keys: Vec<WrappedKey> = Vec::with_capacity(count);
    for _ in 0..count {
        let user = UserId(reader.array()?);
        if keys.last().is_some_and(|last| last.user >= user) {
            return Err(FormatError::NotCanonical { what: "order of readers" });
        }
        keys.push(WrappedKey { user, bytes: reader.bytes("wrapped key", WRAPPED_LEN_MAX)?.into() });
    }
    Ok(keys)
}
