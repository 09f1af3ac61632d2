//! Heads: the one mutable object of a machine in a namespace.
//!
//! It owns the bytes that say how far a log goes and what its author has seen. It cannot tell an old head
//! from a new one by itself: whoever reads heads remembers the highest generation it saw.

use crate::codec::check_time;
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::{Domain, SigningKey};
use crate::ids::{MachineTag, Time};
use crate::keys::{NamespaceKeys, Role};
use crate::signed::{KeyAt, Kind, ObjectHash, RosterPoint};
use crate::vector::{VECTOR_LEN_MAX, VersionVector, check_vector, read_vector, write_vector};

/// Longest object that is taken for a head.
pub const HEAD_OBJECT_LEN_MAX: usize = 2 << 20;

const KIND: Kind = Kind {
    role: Role::Head,
    domain: Domain { context: "keepfs/1 head", what: "head" },
    object_len_max: HEAD_OBJECT_LEN_MAX,
    // A full vector, with room for all else.
    plain_len_max: VECTOR_LEN_MAX * 48 + 4096,
};

/// A checkpoint, by its author's count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CheckpointRef {
    /// Its number, from 1.
    pub number: u64,
    /// Hash of its object.
    pub hash: ObjectHash,
}

/// A head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Head {
    /// Its author.
    pub machine: MachineTag,
    /// Rises with every head that this machine writes.
    pub generation: u64,
    /// The newest entry of the roster that its author knew.
    pub roster: RosterPoint,
    /// When it was written, by its author's clock: a sign of life.
    pub time: Time,
    /// Number of its author's newest segment; 0 when there is none yet.
    pub seq: u64,
    /// Hash of that segment; [`ObjectHash::NONE`] when there is none.
    pub segment: ObjectHash,
    /// All that its author has seen of other logs.
    pub seen: VersionVector,
    /// Its author's newest checkpoint.
    pub checkpoint: Option<CheckpointRef>,
}

impl Head {
    /// Signs and seals; returns the object and its hash. It belongs under [`NamespaceKeys::head_name`].
    ///
    /// # Errors
    /// [`FormatError::Invalid`] or [`FormatError::TooLong`] when a rule is broken.
    pub fn seal(
        &self,
        keys: &NamespaceKeys,
        signer: &SigningKey,
        env: &dyn Env,
    ) -> Result<(Vec<u8>, ObjectHash), FormatError> {
        self.check()?;
        let mut writer = KIND.begin(keys, self.machine, self.roster)?;
        writer.varint(self.generation);
        writer.time(self.time, Time::default());
        writer.varint(self.seq);
        writer.raw(&self.segment.0);
        write_vector(&mut writer, &self.seen);
        match &self.checkpoint {
            None => writer.varint(0),
            Some(CheckpointRef { number, hash }) => {
                writer.varint(*number);
                writer.raw(&hash.0);
            }
        }
        KIND.seal(keys, &keys.head_name(self.machine), writer, signer, env)
    }

    /// Opens and verifies: size, name and seal, form, vault and namespace and author, signature. Whether its
    /// generation is newer than what is known is for the caller to check.
    ///
    /// # Errors
    /// As [`crate::segment::Segment::open`].
    pub fn open(
        keys: &NamespaceKeys,
        machine: MachineTag,
        sealed: &[u8],
        key_at: KeyAt<'_>,
    ) -> Result<(Self, ObjectHash), FormatError> {
        let plain = KIND.unseal(keys, &keys.head_name(machine), sealed)?;
        let mut envelope = KIND.parse(&plain)?;
        let reader = &mut envelope.reader;
        let generation = reader.varint()?;
        let time = reader.time(Time::default())?;
        let seq = reader.varint()?;
        let segment = ObjectHash(reader.array()?);
        let seen = read_vector(reader)?;
        let checkpoint = match reader.varint()? {
            0 => None,
            number => Some(CheckpointRef { number, hash: ObjectHash(reader.array()?) }),
        };
        reader.clone().finish()?;
        let roster = envelope.roster;
        // The place is checked right below, so naming the machine that was asked for claims nothing.
        let head = Self { machine, generation, roster, time, seq, segment, seen, checkpoint };
        head.check()?;

        envelope.check_place(keys, machine)?;
        envelope.check_signature(&KIND, key_at)?;
        Ok((head, ObjectHash::of(sealed)))
    }

    fn check(&self) -> Result<(), FormatError> {
        check_time(self.time)?;
        check_vector(&self.seen)?;
        if self.generation == 0 {
            return Err(FormatError::Invalid { what: "generations count from 1" });
        }
        if (self.seq == 0) != (self.segment == ObjectHash::NONE) {
            return Err(FormatError::Invalid { what: "a segment has a number and a hash, or there is none" });
        }
        if self.checkpoint.is_some_and(|checkpoint| checkpoint.number == 0) {
            return Err(FormatError::Invalid { what: "checkpoints count from 1" });
        }
        Ok(())
    }
}
