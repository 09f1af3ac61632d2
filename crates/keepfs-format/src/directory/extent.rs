//! Where a file's bytes are: extents, inline in its record or in leaves of their own.
//!
//! It owns their bytes and where a long list is split. It never reads content.

use super::list::{ObjectRef, RefBuilder, ends_run, read_ref, write_ref};
use super::{Put, TAG_EXTENT_LEAF};
use crate::chunk::CHUNK_LEN_MAX;
use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::ChunkId;
use crate::op::FILE_LEN_MAX;

/// Most extents in a file's own record.
pub const EXTENTS_INLINE_MAX: usize = 8;
/// Extents of a leaf on average.
const LEAF_EXTENTS_MEAN: u64 = 256;
/// Most extents of a leaf.
const LEAF_EXTENTS_MAX: usize = 1024;
/// Bytes of an extent at least: gap, length, form, id.
const EXTENT_LEN_MIN: usize = 1 + 1 + 1 + 32;

/// The extent shows its chunk whole.
const FORM_WHOLE: u8 = 0;
/// The extent shows a part: bytes before it and behind it follow.
const FORM_PART: u8 = 1;

/// A range of a file and where its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Extent {
    /// First byte in the file.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub len: u32,
    /// Bytes of the chunk's plaintext before the range.
    pub skip: u32,
    /// Plaintext length of the chunk in bytes.
    pub plain_len: u32,
    /// The chunk.
    pub chunk: ChunkId,
}

/// The content of a file. What no extent covers reads as zero.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// At most [`EXTENTS_INLINE_MAX`] extents, ascending and disjoint; none for a file of holes.
    Inline(Vec<Extent>),
    /// Leaves of extents, for [`decode_extents`].
    Listed(ObjectRef),
}

impl Default for Content {
    fn default() -> Self {
        Self::Inline(Vec::new())
    }
}

impl Content {
    /// The one extent of a file that is one whole chunk, which takes no bytes but the chunk's id.
    pub(super) fn whole(&self, size: u64) -> Option<&Extent> {
        match self {
            Self::Inline(extents) => match &extents[..] {
                [one] if u64::from(one.len) == size && one.offset == 0 && one.len == one.plain_len => {
                    Some(one)
                }
                _ => None,
            },
            Self::Listed(_) => None,
        }
    }
}

/// Makes the content of a file from its extents; stores leaves when there are many.
///
/// # Errors
/// [`FormatError::Invalid`] when the extents break a rule, and what `put` fails with.
pub fn write_content<E: From<FormatError>>(
    extents: &mut dyn Iterator<Item = Extent>,
    put: Put<'_, E>,
) -> Result<Content, E> {
    let mut pending: Vec<Extent> = (&mut *extents).take(EXTENTS_INLINE_MAX + 1).collect();
    if pending.len() <= EXTENTS_INLINE_MAX {
        check_extents(&pending, FILE_LEN_MAX)?;
        return Ok(Content::Inline(pending));
    }
    let mut leaves = RefBuilder::new();
    let mut leaf = Vec::new();
    let mut filled = 0;
    for extent in pending.drain(..).chain(extents) {
        if extent.offset < filled {
            return Err(FormatError::Invalid { what: "extents ascend and do not overlap" }.into());
        }
        filled = extent.offset.saturating_add(u64::from(extent.len));
        leaf.push(extent);
        if leaf.len() == LEAF_EXTENTS_MAX || ends_run(&extent.chunk, LEAF_EXTENTS_MEAN) {
            leaves.push(put_leaf(&leaf, put)?);
            leaf.clear();
        }
    }
    if !leaf.is_empty() {
        leaves.push(put_leaf(&leaf, put)?);
    }
    Ok(Content::Listed(leaves.finish(put)?))
}

fn put_leaf<E: From<FormatError>>(extents: &[Extent], put: Put<'_, E>) -> Result<ChunkId, E> {
    check_extents(extents, FILE_LEN_MAX)?;
    let mut writer = Writer::with_capacity(1 + 48 * extents.len());
    writer.u8(TAG_EXTENT_LEAF);
    write_extents(&mut writer, extents);
    put(writer.as_slice())
}

/// Reads a leaf of extents.
///
/// # Errors
/// [`FormatError`] when the bytes are no such leaf.
pub fn decode_extents(bytes: &[u8]) -> Result<Vec<Extent>, FormatError> {
    let mut reader = Reader::new(bytes, "leaf of extents");
    let found = reader.u8()?;
    if found != TAG_EXTENT_LEAF {
        return Err(FormatError::BadTag { what: "leaf of extents", found: u64::from(found) });
    }
    let mut extents = Vec::with_capacity((reader.remaining() / EXTENT_LEN_MIN).min(LEAF_EXTENTS_MAX));
    let mut filled = 0;
    while !reader.is_empty() {
        extents.push(read_extent(&mut reader, &mut filled)?);
    }
    if extents.is_empty() || extents.len() > LEAF_EXTENTS_MAX {
        return Err(FormatError::Invalid { what: "length of a leaf of extents" });
    }
    check_extents(&extents, FILE_LEN_MAX)?;
    Ok(extents)
}

/// Appends the content of a file's record, where it is not one whole chunk.
pub(super) fn write_inline(writer: &mut Writer, content: &Content) -> Result<(), FormatError> {
    match content {
        Content::Inline(extents) => {
            writer.u8(extents.len() as u8);
            write_extents(writer, extents);
            Ok(())
        }
        Content::Listed(leaves) => {
            writer.u8(EXTENTS_INLINE_MAX as u8 + 1);
            write_ref(writer, leaves)
        }
    }
}

/// Reads the content of a file's record, where it is not one whole chunk.
pub(super) fn read_inline(reader: &mut Reader<'_>) -> Result<Content, FormatError> {
    let count = reader.u8()?;
    if usize::from(count) == EXTENTS_INLINE_MAX + 1 {
        return Ok(Content::Listed(read_ref(reader)?));
    }
    if usize::from(count) > EXTENTS_INLINE_MAX {
        return Err(FormatError::BadTag { what: "content", found: u64::from(count) });
    }
    let mut extents = Vec::with_capacity(usize::from(count));
    let mut filled = 0;
    for _ in 0..count {
        extents.push(read_extent(reader, &mut filled)?);
    }
    Ok(Content::Inline(extents))
}

/// Whether a file of this size may have this content.
pub(super) fn check_content(content: &Content, size: u64) -> Result<(), FormatError> {
    match content {
        Content::Inline(extents) if extents.len() > EXTENTS_INLINE_MAX => {
            Err(FormatError::Invalid { what: "number of extents in a record" })
        }
        Content::Inline(extents) => check_extents(extents, size),
        Content::Listed(leaves) if leaves.ids.is_empty() => {
            Err(FormatError::Invalid { what: "listed content has leaves" })
        }
        Content::Listed(_) => Ok(()),
    }
}

fn check_extents(extents: &[Extent], size: u64) -> Result<(), FormatError> {
    let rule = |holds, what| if holds { Ok(()) } else { Err(FormatError::Invalid { what }) };
    let mut filled = 0u64;
    for extent in extents {
        rule(extent.len > 0, "an extent has a length")?;
        rule(extent.offset >= filled, "extents ascend and do not overlap")?;
        filled = extent.offset.saturating_add(u64::from(extent.len));
        rule(filled <= size, "extents lie within the file")?;
        let end = u64::from(extent.skip) + u64::from(extent.len);
        rule(end <= u64::from(extent.plain_len), "an extent lies within its chunk")?;
        rule(extent.plain_len as usize <= CHUNK_LEN_MAX, "plain length of a chunk")?;
    }
    Ok(())
}

/// Appends extents that [`check_extents`] accepts.
fn write_extents(writer: &mut Writer, extents: &[Extent]) {
    let mut filled = 0;
    for Extent { offset, len, skip, plain_len, chunk } in extents {
        writer.varint(offset - filled);
        writer.varint(u64::from(*len));
        filled = offset + u64::from(*len);
        if len == plain_len {
            writer.u8(FORM_WHOLE);
        } else {
            writer.u8(FORM_PART);
            writer.varint(u64::from(*skip));
            writer.varint(u64::from(plain_len - skip - len));
        }
        writer.raw(&chunk.0);
    }
}

fn read_extent(reader: &mut Reader<'_>, filled: &mut u64) -> Result<Extent, FormatError> {
    let beyond = || FormatError::Invalid { what: "extents lie within the file" };
    let offset = filled.checked_add(reader.varint()?).ok_or_else(beyond)?;
    let len = reader.varint_max("length of an extent", CHUNK_LEN_MAX as u64)? as u32;
    *filled = offset.checked_add(u64::from(len)).ok_or_else(beyond)?;
    let (skip, behind) = match reader.u8()? {
        FORM_WHOLE => (0, 0),
        FORM_PART => {
            let skip = reader.varint_max("bytes before an extent", CHUNK_LEN_MAX as u64)? as u32;
            let behind = reader.varint_max("bytes behind an extent", CHUNK_LEN_MAX as u64)? as u32;
            if skip == 0 && behind == 0 {
                return Err(FormatError::NotCanonical { what: "form of an extent" });
            }
            (skip, behind)
        }
        found => return Err(FormatError::BadTag { what: "form of an extent", found: u64::from(found) }),
    };
    Ok(Extent { offset, len, skip, plain_len: skip + len + behind, chunk: ChunkId(reader.array()?) })
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::random_bytes;

    fn extents(count: usize) -> Vec<Extent> {
        random_bytes(5, 32 * count)
            .chunks_exact(32)
            .zip(0u64..)
            .map(|(id, n)| Extent {
                offset: n << 20,
                len: 1 << 20,
                skip: (n % 2) as u32 * 10,
                plain_len: (1 << 20) + (n % 2) as u32 * 30,
                chunk: ChunkId(id.try_into().unwrap()),
            })
            .collect()
    }

    fn store(extents: &[Extent], stored: &mut HashMap<ChunkId, Vec<u8>>) -> Content {
        write_content::<FormatError>(&mut extents.iter().copied(), &mut |bytes| {
            let id = ChunkId(*blake3::hash(bytes).as_bytes());
            stored.insert(id, bytes.to_vec());
            Ok(id)
        })
        .unwrap()
    }

    #[test]
    fn extents_come_back_inline_and_listed() {
        for count in [0, 1, 8, 9, 1000, 20_000] {
            let extents = extents(count);
            let mut stored = HashMap::new();
            let content = store(&extents, &mut stored);
            let back = match &content {
                Content::Inline(back) => back.clone(),
                Content::Listed(leaves) => {
                    let mut get = |id: &ChunkId| Ok::<_, FormatError>(stored[id].clone());
                    let leaves = leaves.leaves(count, &mut get).unwrap();
                    leaves.iter().flat_map(|id| decode_extents(&stored[id]).unwrap()).collect()
                }
            };
            assert_eq!(back, extents);
            assert_eq!(matches!(content, Content::Inline(_)), count <= EXTENTS_INLINE_MAX);
            let mut writer = Writer::new();
            write_inline(&mut writer, &content).unwrap();
            assert_eq!(read_inline(&mut Reader::new(writer.as_slice(), "test")).unwrap(), content);
        }
    }

    #[test]
    fn one_changed_extent_of_many_stores_little_again() {
        let mut stored = HashMap::new();
        let mut extents = extents(100_000);
        store(&extents, &mut stored);
        let before = stored.len();
        extents[50_000].chunk = ChunkId([3; 32]);
        store(&extents, &mut stored);
        assert!(stored.len() - before <= 4, "{} new objects", stored.len() - before);
    }

    #[test]
    fn extents_that_break_a_rule_are_refused() {
        let good = Extent { offset: 5, len: 5, skip: 1, plain_len: 6, chunk: ChunkId([1; 32]) };
        check_extents(&[good], 10).unwrap();
        for bad in [
            Extent { len: 0, ..good },
            Extent { len: 6, ..good },
            Extent { offset: 6, ..good },
            Extent { skip: 2, ..good },
            Extent { offset: u64::MAX, ..good },
            Extent { plain_len: CHUNK_LEN_MAX as u32 + 1, ..good },
        ] {
            assert!(check_extents(&[bad], 10).is_err(), "{bad:?}");
        }
        assert!(check_extents(&[good, good], 100).is_err());
    }
}
