//! Identifiers: small copyable types, so that two numbers of different meaning never meet.

use std::fmt;

/// Number of low bits in an [`Ino`], [`LinkId`] or [`PackId`] that hold the machine's own counter.
pub const COUNTER_BITS: u32 = 40;

/// Highest machine tag: 22 bits, so that every number stays below 2^62 and the directory bit fits above.
pub const MACHINE_TAG_MAX: u32 = (1 << 22) - 1;

/// Bit that marks the inode number of a directory (62 bits of keyed hash below it).
pub const DIRECTORY_BIT: u64 = 1 << 62;

/// The vault: BLAKE3 of the genesis entry of its roster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct VaultId(pub [u8; 32]);

/// One installation: a random UUID, bound to a signing key by the roster.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct MachineId(pub [u8; 16]);

/// Short name of a machine inside a vault, unique in the roster, never zero, at most [`MACHINE_TAG_MAX`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct MachineTag(pub u32);

/// Short number of a namespace inside a vault; 0 is the roster, `main` is 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct NamespaceId(pub u32);

/// Inode number: the same on every machine.
///
/// The root is 1. A file is `machine tag << 40 | counter`. A directory is [`DIRECTORY_BIT`] and 62 bits of a
/// keyed hash of parent, name and generation, so that two machines that make the same directory apart make
/// the same directory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Ino(pub u64);

impl Ino {
    /// The root directory.
    pub const ROOT: Self = Self(1);
}

/// One directory entry, known by its creation: `machine tag << 40 | counter`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct LinkId(pub u64);

/// One pack: `machine tag << 40 | counter`; its object name is a keyed function of this.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct PackId(pub u64);

/// Keyed BLAKE3 of a chunk's plaintext.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId(pub [u8; 32]);

impl fmt::Debug for ChunkId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ChunkId({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// Where a chunk lies: all that a read needs besides the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Locator {
    /// The pack.
    pub pack: PackId,
    /// Position of the chunk in the pack's table.
    pub index: u32,
    /// First byte of the sealed chunk in the pack object.
    pub offset: u32,
    /// Sealed length in bytes.
    pub sealed_len: u32,
    /// Plaintext length in bytes.
    pub plain_len: u32,
}

/// Hybrid logical clock: 48 bits of milliseconds since the Unix epoch, 16 bits of counter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct Hlc(pub u64);

/// Total order among concurrent operations: clock first, then machine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Stamp {
    /// When.
    pub hlc: Hlc,
    /// Who.
    pub machine: MachineTag,
}

/// A point in time: seconds since the Unix epoch, may be negative, and nanoseconds below 10^9.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord, Default)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds within the second.
    pub nanos: u32,
}
