//! The four times of an inode in few bytes: most of them are equal to another one.
//!
//! It owns one encoding for every combination.

use crate::codec::{Reader, Writer, check_time};
use crate::error::FormatError;
use crate::ids::Time;
use crate::op::Inode;

/// Lowest bit: ctime differs from mtime.
const CTIME_OTHER: u8 = 1;
/// Two bits from here say which time btime equals.
const BTIME_SHIFT: u8 = 1;
/// Two bits from here say which time atime equals.
const ATIME_SHIFT: u8 = 3;
const CHOICE_MASK: u8 = 3;
/// A choice that equals none: the distance from the first candidate follows.
const CHOICE_OTHER: u8 = 3;
const ALL_BITS: u8 = 0b1_1111;

/// The first candidate that `time` equals.
fn choose(time: Time, candidates: &[Time]) -> u8 {
    candidates.iter().position(|candidate| *candidate == time).map_or(CHOICE_OTHER, |at| at as u8)
}

/// Appends the times; mtime by its distance from the last record's.
pub(super) fn write_times(writer: &mut Writer, inode: &Inode, last_mtime: Time) {
    let Inode { atime, mtime, ctime, btime, .. } = *inode;
    let btime_choice = choose(btime, &[ctime, mtime]);
    let atime_choice = choose(atime, &[mtime, ctime, btime]);
    let ctime_bit = if ctime == mtime { 0 } else { CTIME_OTHER };
    writer.u8(ctime_bit | btime_choice << BTIME_SHIFT | atime_choice << ATIME_SHIFT);
    writer.time(mtime, last_mtime);
    if ctime != mtime {
        writer.time(ctime, mtime);
    }
    if btime_choice == CHOICE_OTHER {
        writer.time(btime, ctime);
    }
    if atime_choice == CHOICE_OTHER {
        writer.time(atime, mtime);
    }
}

/// The times of an inode.
pub(super) struct Times {
    pub(super) atime: Time,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) btime: Time,
}

/// Reads the times.
pub(super) fn read_times(reader: &mut Reader<'_>, last_mtime: Time) -> Result<Times, FormatError> {
    let flags = reader.u8()?;
    if flags & !ALL_BITS != 0 {
        return Err(FormatError::BadTag { what: "times", found: u64::from(flags) });
    }
    let not_canonical = || FormatError::NotCanonical { what: "times" };
    let mtime = reader.time(last_mtime)?;
    let ctime = if flags & CTIME_OTHER == 0 { mtime } else { reader.time(mtime)? };
    let mut read_choice = |shift: u8, candidates: &[Time], base: Time| {
        let choice = flags >> shift & CHOICE_MASK;
        let time = match candidates.get(usize::from(choice)) {
            Some(time) => *time,
            None if choice == CHOICE_OTHER => reader.time(base)?,
            None => return Err(not_canonical()),
        };
        if choose(time, candidates) == choice { Ok(time) } else { Err(not_canonical()) }
    };
    let btime = read_choice(BTIME_SHIFT, &[ctime, mtime], ctime)?;
    let atime = read_choice(ATIME_SHIFT, &[mtime, ctime, btime], mtime)?;
    if (flags & CTIME_OTHER == 0) != (ctime == mtime) {
        return Err(not_canonical());
    }
    Ok(Times { atime, mtime, ctime, btime })
}

/// Whether all four are times.
pub(super) fn check_times(inode: &Inode) -> Result<(), FormatError> {
    [inode.atime, inode.mtime, inode.ctime, inode.btime].into_iter().try_for_each(check_time)
}
