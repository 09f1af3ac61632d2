//! Packs: many sealed chunks in one object, with a hidden table at the end.
//!
//! It owns the table's bytes and the limits of a pack. It never holds a pack's body: that grows in a staged
//! object, chunk after chunk, and this module makes what comes behind it.

use crate::chunk::check_lengths;
use crate::codec::{Reader, Writer};
use crate::env::Env;
use crate::error::FormatError;
use crate::ids::{ChunkId, Locator, PackId};
use crate::keys::{NamespaceKeys, Role};
use crate::op::PackedChunk;
use crate::sealed::padded_len;
use crate::trailer::{LENGTH_LEN, TAIL_LEN_MIN, Trailer};

/// Longest pack object, padding included.
pub const PACK_LEN_MAX: u64 = 48 << 20;
/// Most chunks in one pack.
pub const PACK_CHUNKS_MAX: usize = 65_536;
/// Bytes of a pack's end that hold the table of most packs: a good first read.
pub const PACK_TAIL_LEN: usize = 16_384;

const WHAT: &str = "pack table";
const CHUNK_ENTRY_LEN_MIN: usize = 32 + 1 + 1;
const CHUNK_ENTRY_LEN_MAX: usize = 32 + 4 + 4;
const TABLE_LEN_MAX: usize = 8 + PACK_CHUNKS_MAX * CHUNK_ENTRY_LEN_MAX;

/// What a pack holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PackTable {
    /// The chunks in the order in which they lie, without gaps, from the pack's first byte on.
    pub entries: Vec<PackedChunk>,
}

impl PackTable {
    /// Bytes that the chunks take together.
    pub fn body_len(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.sealed_len)).sum()
    }

    /// Where each chunk lies.
    pub fn locators(&self, pack: PackId) -> impl Iterator<Item = (ChunkId, Locator)> + '_ {
        let mut offset = 0u32;
        self.entries.iter().zip(0u32..).map(move |(entry, index)| {
            let PackedChunk { id, sealed_len, plain_len } = *entry;
            let locator = Locator { pack, index, offset, sealed_len, plain_len };
            // Both ways of making a table bound its sum by PACK_LEN_MAX; a caller's own may not.
            offset = offset.saturating_add(sealed_len);
            (id, locator)
        })
    }
}

/// Whether a pack with these many bytes of chunks, of these many chunks, still fits its limits.
pub fn fits(body_len: u64, chunk_count: usize) -> bool {
    chunk_count <= PACK_CHUNKS_MAX && padded_len(body_len + trailer_len_max(chunk_count)) <= PACK_LEN_MAX
}

fn trailer_len_max(chunk_count: usize) -> u64 {
    let table_len = 64 + (8 + chunk_count * CHUNK_ENTRY_LEN_MAX) as u64;
    // The table is padded by itself, and has a tag for each 64 KiB.
    padded_len(table_len + 16 * (table_len / 65_536 + 3)) + LENGTH_LEN as u64
}

/// Appends one chunk of a table: as tables and `PackAdd` operations have it.
pub(crate) fn write_chunk(writer: &mut Writer, chunk: &PackedChunk) {
    writer.raw(&chunk.id.0);
    writer.varint(u64::from(chunk.plain_len));
    // What compression saved: nothing, in one byte, for a chunk that is stored as it is.
    let saved = crate::chunk::sealed_len_max(chunk.plain_len).saturating_sub(chunk.sealed_len);
    writer.varint(u64::from(saved));
}

/// Reads one chunk of a table.
pub(crate) fn read_chunk(reader: &mut Reader<'_>) -> Result<PackedChunk, FormatError> {
    let id = ChunkId(reader.array()?);
    let plain_len = reader.varint_max("plain length of a chunk", crate::chunk::CHUNK_LEN_MAX as u64)? as u32;
    let stored_len = crate::chunk::sealed_len_max(plain_len);
    let saved = reader.varint_max("saved length of a chunk", u64::from(stored_len))? as u32;
    let sealed_len = stored_len - saved;
    check_lengths(plain_len, sealed_len)?;
    Ok(PackedChunk { id, sealed_len, plain_len })
}

/// Smallest encoding of one chunk of a table.
pub(crate) const fn chunk_entry_len_min() -> usize {
    CHUNK_ENTRY_LEN_MIN
}

/// Makes what follows the chunks of a pack: padding, table and its length. The chunks are `table`'s, and
/// nothing else stands before them.
///
/// # Errors
/// [`FormatError::TooLong`] when the pack would break a limit, [`FormatError::Invalid`] when it is empty or
/// an entry cannot be a chunk.
pub fn seal_trailer(
    keys: &NamespaceKeys,
    pack: PackId,
    table: &PackTable,
    env: &dyn Env,
) -> Result<Vec<u8>, FormatError> {
    let count = table.entries.len();
    if !fits(table.body_len(), count) {
        return Err(FormatError::TooLong { what: "pack", actual: table.body_len(), limit: PACK_LEN_MAX });
    }
    if count == 0 {
        return Err(FormatError::Invalid { what: "a pack holds a chunk" });
    }
    let mut writer = Writer::with_capacity(8 + count * CHUNK_ENTRY_LEN_MAX);
    writer.varint(count as u64);
    for entry in &table.entries {
        check_lengths(entry.plain_len, entry.sealed_len)?;
        write_chunk(&mut writer, entry);
    }
    trailer_of(keys, pack).seal(table.body_len(), writer.as_slice(), env)
}

fn trailer_of(keys: &NamespaceKeys, pack: PackId) -> Trailer<'_> {
    Trailer { keys, role: Role::PackTable, name: keys.pack_name(pack) }
}

/// How many bytes of a pack's end [`open_trailer`] needs. `tail` is any end of it of at least
/// [`TAIL_LEN_MIN`] bytes; [`PACK_TAIL_LEN`] are enough for most packs at once.
///
/// # Errors
/// [`FormatError::NotAuthentic`] when this cannot be the end of that pack.
pub fn trailer_len(
    keys: &NamespaceKeys,
    pack: PackId,
    object_len: u64,
    tail: &[u8],
) -> Result<usize, FormatError> {
    debug_assert!(tail.len() >= TAIL_LEN_MIN || (tail.len() as u64) == object_len);
    trailer_of(keys, pack).len(object_len, tail)
}

/// Opens a pack's table from its end, at least [`trailer_len`] bytes of it.
///
/// # Errors
/// [`FormatError::NotAuthentic`] when it is another pack's or damaged, [`FormatError::Mismatch`] when the
/// object's length is not that of the pack.
pub fn open_trailer(
    keys: &NamespaceKeys,
    pack: PackId,
    object_len: u64,
    tail: &[u8],
) -> Result<PackTable, FormatError> {
    if object_len > PACK_LEN_MAX {
        return Err(FormatError::TooLong { what: "pack", actual: object_len, limit: PACK_LEN_MAX });
    }
    let trailer = trailer_of(keys, pack);
    let plain = trailer.open(object_len, tail, TABLE_LEN_MAX)?;
    let mut reader = Reader::new(&plain, WHAT);
    let count = reader.count("chunks of a pack", PACK_CHUNKS_MAX, CHUNK_ENTRY_LEN_MIN)?;
    if count == 0 {
        return Err(FormatError::Invalid { what: "a pack holds a chunk" });
    }
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(read_chunk(&mut reader)?);
    }
    reader.finish()?;
    let table = PackTable { entries };
    trailer.check_body(table.body_len(), object_len, tail)?;
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{CountingEnv, keys, random_bytes};

    const PACK: PackId = PackId(5 << 40 | 9);

    fn table(count: usize) -> PackTable {
        let ids = random_bytes(count as u64, count * 32);
        let entries = ids
            .chunks_exact(32)
            .zip(0u32..)
            .map(|(id, n)| {
                let plain_len = 1 + (n * 7919) % 600;
                let most = crate::chunk::sealed_len_max(plain_len);
                PackedChunk {
                    id: ChunkId(id.try_into().unwrap()),
                    sealed_len: most - n % 2 * (plain_len / 2),
                    plain_len,
                }
            })
            .collect();
        PackTable { entries }
    }

    fn object(table: &PackTable, env: &CountingEnv) -> Vec<u8> {
        let mut object = random_bytes(1, table.body_len() as usize);
        object.extend(seal_trailer(&keys(), PACK, table, env).unwrap());
        object
    }

    #[test]
    fn a_table_is_found_from_the_end_of_its_pack() {
        let keys = keys();
        for count in [1, 2, 100, 5000, 60_000] {
            let table = table(count);
            let object = object(&table, &CountingEnv::new(2));
            let len = object.len() as u64;
            assert_eq!(padded_len(len), len);
            let needed = trailer_len(&keys, PACK, len, &object[object.len() - TAIL_LEN_MIN..]).unwrap();
            let tail = &object[object.len() - needed..];
            assert_eq!(open_trailer(&keys, PACK, len, tail).unwrap(), table);
            assert_eq!(open_trailer(&keys, PACK, len, &object).unwrap(), table);
            assert!(open_trailer(&keys, PACK, len, &tail[1..]).is_err());
            assert!(fits(table.body_len(), count) && trailer_len_max(count) >= needed as u64);
            let last = table.locators(PACK).last().unwrap().1;
            assert_eq!(u64::from(last.offset + last.sealed_len), table.body_len());
        }
    }

    #[test]
    fn every_flipped_byte_of_a_tail_and_every_other_length_is_refused() {
        let keys = keys();
        let object = object(&table(3), &CountingEnv::new(2));
        let len = object.len() as u64;
        let start = object.len() - trailer_len(&keys, PACK, len, &object).unwrap();
        for at in start..object.len() {
            let mut bad = object.clone();
            bad[at] ^= 4;
            assert!(open_trailer(&keys, PACK, len, &bad).is_err(), "byte {at}");
        }
        for other in 1..2000 {
            if other != len {
                assert!(open_trailer(&keys, PACK, other, &object).is_err(), "length {other}");
            }
        }
        for end in 0..object.len() {
            assert!(open_trailer(&keys, PACK, end as u64, &object[..end]).is_err());
        }
        assert!(open_trailer(&keys, PackId(PACK.0 + 1), len, &object).is_err());
    }

    #[test]
    fn two_packs_of_one_content_share_no_byte_of_their_ends() {
        let table = table(1);
        let env = CountingEnv::new(3);
        let (one, two) = (object(&table, &env), object(&table, &env));
        let start = table.body_len() as usize;
        let equal = one[start..].iter().zip(&two[start..]).filter(|(a, b)| a == b).count();
        assert!(equal < one.len() / 64, "{equal} bytes are equal");
    }

    #[test]
    fn packs_over_their_limits_are_not_made() {
        let chunk = PackedChunk {
            id: ChunkId([0; 32]),
            sealed_len: crate::chunk::SEALED_LEN_MAX,
            plain_len: crate::chunk::CHUNK_LEN_MAX as u32,
        };
        let env = CountingEnv::new(1);
        let too_long = PackTable { entries: vec![chunk; 12] };
        assert!(matches!(seal_trailer(&keys(), PACK, &too_long, &env), Err(FormatError::TooLong { .. })));
        let most = PackTable { entries: vec![chunk; 11] };
        assert!(seal_trailer(&keys(), PACK, &most, &env).is_ok());
        assert!(seal_trailer(&keys(), PACK, &PackTable::default(), &env).is_err());
        let wrong = PackTable { entries: vec![PackedChunk { plain_len: 0, ..chunk }] };
        assert!(seal_trailer(&keys(), PACK, &wrong, &env).is_err());
        assert!(!fits(0, PACK_CHUNKS_MAX + 1));
    }
}
