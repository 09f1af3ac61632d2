//! Segments: immutable, signed, hash-chained pieces of one machine's log.
//!
//! It owns their bytes and the order in which one is verified. It never applies operations, and whether
//! vectors rise and dependencies are there is the log's to check.

use crate::codec::check_time;
use crate::env::Env;
use crate::error::FormatError;
use crate::identity::{Domain, SigningKey};
use crate::ids::{MachineTag, Time};
use crate::keys::{NamespaceKeys, Role};
use crate::op::OpGroup;
use crate::op_codec::decode_run;
use crate::signed::{KeyAt, Kind, ObjectHash, RosterPoint};
use crate::vector::{VersionVector, check_vector, read_vector, write_vector};

/// Longest object that is taken for a segment.
pub const SEGMENT_OBJECT_LEN_MAX: usize = 64 << 20;
/// Most bytes of operations in one segment.
pub const SEGMENT_GROUPS_LEN_MAX: usize = 32 << 20;
/// Room for all but the operations.
const SEGMENT_REST_LEN_MAX: usize = 1 << 20;

const KIND: Kind = Kind {
    role: Role::Segment,
    domain: Domain { context: "keepfs/1 segment", what: "segment" },
    object_len_max: SEGMENT_OBJECT_LEN_MAX,
    plain_len_max: SEGMENT_GROUPS_LEN_MAX + SEGMENT_REST_LEN_MAX,
};

const VECTOR_DELTA: u8 = 0;
const VECTOR_FULL: u8 = 1;

/// A segment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its author.
    pub machine: MachineTag,
    /// Its number in the author's log, from 1, without gaps.
    pub seq: u64,
    /// Hash of the author's segment before; [`ObjectHash::NONE`] for the first.
    pub previous: ObjectHash,
    /// The newest entry of the roster that its author knew.
    pub roster: RosterPoint,
    /// When it was sealed, by its author's clock.
    pub time: Time,
    /// What its author had seen of other logs: all of it, or what changed since its segment before.
    pub seen: VersionVector,
    /// Whether `seen` is all of it.
    pub seen_is_full: bool,
    /// Groups of operations, as [`crate::op_codec`] writes a run of them.
    pub groups: Vec<u8>,
}

/// Which segment is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SegmentPlace {
    /// Whose.
    pub machine: MachineTag,
    /// Its number.
    pub seq: u64,
    /// Hash of the one before, from that object or from a checkpoint; [`ObjectHash::NONE`] for the first.
    pub previous: ObjectHash,
}

impl Segment {
    /// Signs and seals; returns the object and its hash. It belongs under
    /// [`NamespaceKeys::segment_name`] of its author and number.
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
        writer.varint(self.seq);
        writer.raw(&self.previous.0);
        writer.time(self.time, Time::default());
        writer.u8(if self.seen_is_full { VECTOR_FULL } else { VECTOR_DELTA });
        write_vector(&mut writer, &self.seen);
        writer.raw(&self.groups);
        KIND.seal(keys, &keys.segment_name(self.machine, self.seq), writer, signer, env)
    }

    /// Opens and verifies, in this order: size, name and seal, form, vault and namespace and place, hash of
    /// the segment before, signature. The operations are not decoded yet: [`groups`](Self::groups) does it.
    ///
    /// # Errors
    /// [`FormatError::NotAuthentic`] when it is not the object of that name; [`FormatError::Mismatch`] when
    /// it is of another place or history; [`FormatError::BadSignature`] when `key_at` has no key for its
    /// author, or the signature is not by it.
    pub fn open(
        keys: &NamespaceKeys,
        place: &SegmentPlace,
        sealed: &[u8],
        key_at: KeyAt<'_>,
    ) -> Result<(Self, ObjectHash), FormatError> {
        let plain = KIND.unseal(keys, &keys.segment_name(place.machine, place.seq), sealed)?;
        let mut envelope = KIND.parse(&plain)?;
        let reader = &mut envelope.reader;
        let seq = reader.varint()?;
        let previous = ObjectHash(reader.array()?);
        let time = reader.time(Time::default())?;
        let seen_is_full = match reader.u8()? {
            VECTOR_DELTA => false,
            VECTOR_FULL => true,
            found => return Err(FormatError::BadTag { what: "version vector", found: u64::from(found) }),
        };
        let seen = read_vector(reader)?;
        let groups = reader.rest().to_vec();
        let roster = envelope.roster;
        // The place is checked right below, so naming the machine that was asked for claims nothing.
        let segment =
            Self { machine: place.machine, seq, previous, roster, time, seen, seen_is_full, groups };
        segment.check()?;

        envelope.check_place(keys, place.machine)?;
        if segment.seq != place.seq {
            return Err(FormatError::Mismatch { what: "number of the segment" });
        }
        if segment.previous != place.previous {
            return Err(FormatError::Mismatch { what: "hash of the segment before" });
        }
        envelope.check_signature(&KIND, key_at)?;
        Ok((segment, ObjectHash::of(sealed)))
    }

    /// Decodes the operations, all or none.
    ///
    /// # Errors
    /// As [`decode_run`].
    pub fn groups(&self) -> Result<Vec<OpGroup>, FormatError> {
        decode_run(&self.groups)
    }

    fn check(&self) -> Result<(), FormatError> {
        check_time(self.time)?;
        check_vector(&self.seen)?;
        if self.seq == 0 {
            return Err(FormatError::Invalid { what: "segments count from 1" });
        }
        if (self.seq == 1) != (self.previous == ObjectHash::NONE) {
            return Err(FormatError::Invalid { what: "only the first segment has none before it" });
        }
        if self.groups.len() > SEGMENT_GROUPS_LEN_MAX {
            let (actual, limit) = (self.groups.len() as u64, SEGMENT_GROUPS_LEN_MAX as u64);
            return Err(FormatError::TooLong { what: "operations of a segment", actual, limit });
        }
        Ok(())
    }
}
