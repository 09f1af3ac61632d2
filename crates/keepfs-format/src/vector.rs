//! Version vectors: how far somebody has seen each machine's log, hashes included.
//!
//! It owns their bytes and order. It never compares two of them for causality: the log does.

use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::{MACHINE_TAG_MAX, MachineTag};
use crate::signed::{ObjectHash, check_machine};

/// Most machines in one vector.
pub const VECTOR_LEN_MAX: usize = 16_384;

/// Bytes of an entry at least: tag, number, hash.
const ENTRY_LEN_MIN: usize = 1 + 1 + 32;

/// One machine's log, seen up to a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The machine.
    pub machine: MachineTag,
    /// Its newest segment that was seen, from 1.
    pub seq: u64,
    /// Hash of that segment's object.
    pub hash: ObjectHash,
}

/// Entries by machine, ascending, each once.
pub type VersionVector = Vec<Seen>;

/// Whether a vector keeps the rules of its form.
///
/// # Errors
/// [`FormatError::Invalid`] or [`FormatError::TooLong`] when it does not.
pub fn check_vector(vector: &[Seen]) -> Result<(), FormatError> {
    if vector.len() > VECTOR_LEN_MAX {
        let (actual, limit) = (vector.len() as u64, VECTOR_LEN_MAX as u64);
        return Err(FormatError::TooLong { what: "version vector", actual, limit });
    }
    if !vector.is_sorted_by(|a, b| a.machine < b.machine) {
        return Err(FormatError::Invalid { what: "a version vector ascends by machine" });
    }
    for seen in vector {
        check_machine(seen.machine)?;
        if seen.seq == 0 {
            return Err(FormatError::Invalid { what: "segments count from 1" });
        }
    }
    Ok(())
}

/// Appends a vector that [`check_vector`] accepts.
pub(crate) fn write_vector(writer: &mut Writer, vector: &[Seen]) {
    writer.varint(vector.len() as u64);
    let mut last = 0;
    for seen in vector {
        writer.varint(u64::from(seen.machine.0 - last));
        writer.varint(seen.seq);
        writer.raw(&seen.hash.0);
        last = seen.machine.0;
    }
}

/// Reads a vector.
pub(crate) fn read_vector(reader: &mut Reader<'_>) -> Result<VersionVector, FormatError> {
    let count = reader.count("version vector", VECTOR_LEN_MAX, ENTRY_LEN_MIN)?;
    let mut vector = Vec::with_capacity(count);
    let mut last = 0;
    for _ in 0..count {
        let step = reader.varint_max("tag of a machine", u64::from(MACHINE_TAG_MAX))? as u32;
        last += step;
        let seen =
            Seen { machine: MachineTag(last), seq: reader.varint()?, hash: ObjectHash(reader.array()?) };
        check_machine(seen.machine)?;
        vector.push(seen);
    }
    check_vector(&vector)?;
    Ok(vector)
}
