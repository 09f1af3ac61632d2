//! References to objects, and lists of them where there are many.
//!
//! It owns how many ids a reference may hold and where a list is split. A split depends on the ids alone,
//! so that a list of thousands in which one changes is stored again only around that one.

use super::{Put, TAG_LIST};
use crate::codec::{Reader, Writer};
use crate::error::FormatError;
use crate::ids::ChunkId;

/// Most ids in a reference; more go to list objects.
pub const REF_IDS_MAX: usize = 8;
/// Most levels of list objects below a reference.
pub const REF_DEPTH_MAX: u8 = 6;
/// Fewest ids of a list that is not the last: every level is at least this much shorter than the one below.
const LIST_IDS_MIN: usize = 8;
/// Ids of a list on average.
const LIST_IDS_MEAN: u64 = 512;
/// Most ids of a list.
const LIST_IDS_MAX: usize = 2048;
const ID_LEN: usize = 32;

/// A reference to all leaves of something, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObjectRef {
    /// Levels of lists between the ids here and the leaves: 0 when the ids are the leaves'.
    pub depth: u8,
    /// At most [`REF_IDS_MAX`] ids; none when there are no leaves.
    pub ids: Vec<ChunkId>,
}

impl ObjectRef {
    /// The ids of all leaves; `get` fetches a list object, at most `leaves_max` ids are collected.
    ///
    /// # Errors
    /// What `get` fails with, and [`FormatError`] for lists that are none.
    pub fn leaves<E: From<FormatError>>(
        &self,
        leaves_max: usize,
        get: &mut dyn FnMut(&ChunkId) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<ChunkId>, E> {
        let mut ids = self.ids.clone();
        for _ in 0..self.depth {
            let mut below = Vec::new();
            for id in &ids {
                below.append(&mut decode_list(&get(id)?)?);
                if below.len() > leaves_max {
                    let (actual, limit) = (below.len() as u64, leaves_max as u64);
                    return Err(FormatError::TooLong { what: "leaves of an object", actual, limit }.into());
                }
            }
            ids = below;
        }
        Ok(ids)
    }
}

/// Collects leaves into a reference, with lists between where there are many.
#[derive(Default)]
pub struct RefBuilder {
    ids: Vec<ChunkId>,
}

impl RefBuilder {
    /// No leaves yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next leaf.
    pub fn push(&mut self, leaf: ChunkId) {
        self.ids.push(leaf);
    }

    /// Stores the lists that are needed.
    ///
    /// # Errors
    /// What `put` fails with.
    pub fn finish<E: From<FormatError>>(self, put: Put<'_, E>) -> Result<ObjectRef, E> {
        let mut ids = self.ids;
        let mut depth = 0;
        while ids.len() > REF_IDS_MAX {
            if depth == REF_DEPTH_MAX {
                return Err(FormatError::Invalid { what: "number of leaves of an object" }.into());
            }
            let mut above = Vec::new();
            for list in split(&ids) {
                let mut writer = Writer::with_capacity(1 + ID_LEN * list.len());
                writer.u8(TAG_LIST);
                list.iter().for_each(|id| writer.raw(&id.0));
                above.push(put(writer.as_slice())?);
            }
            ids = above;
            depth += 1;
        }
        Ok(ObjectRef { depth, ids })
    }
}

/// Runs of ids, each ending with one whose own bits say so. Ids are keyed hashes: their bits are random.
fn split(ids: &[ChunkId]) -> impl Iterator<Item = &[ChunkId]> {
    let mut rest = ids;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let window = rest.len().min(LIST_IDS_MAX);
        let mut after_min = rest.iter().take(window).skip(LIST_IDS_MIN - 1);
        let cut = after_min.position(|id| ends_run(id, LIST_IDS_MEAN));
        let (list, others) = rest.split_at(cut.map_or(window, |at| at + LIST_IDS_MIN));
        rest = others;
        Some(list)
    })
}

/// Whether a run of ids, `mean` long on average, ends with this one.
pub(super) fn ends_run(id: &ChunkId, mean: u64) -> bool {
    let [a, b, c, d, e, f, g, h, ..] = id.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h]).is_multiple_of(mean)
}

/// Reads a list object.
///
/// # Errors
/// [`FormatError`] when the bytes are no list.
pub fn decode_list(bytes: &[u8]) -> Result<Vec<ChunkId>, FormatError> {
    let mut reader = Reader::new(bytes, "list of ids");
    let found = reader.u8()?;
    if found != TAG_LIST {
        return Err(FormatError::BadTag { what: "list of ids", found: u64::from(found) });
    }
    let count = reader.remaining() / ID_LEN;
    if count == 0 || count > LIST_IDS_MAX {
        return Err(FormatError::Invalid { what: "length of a list of ids" });
    }
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(ChunkId(reader.array()?));
    }
    reader.finish()?;
    Ok(ids)
}

/// Appends a reference: depth and number of ids in one number, then the ids.
pub(crate) fn write_ref(writer: &mut Writer, reference: &ObjectRef) -> Result<(), FormatError> {
    check_ref(reference)?;
    writer.varint((usize::from(reference.depth) * (REF_IDS_MAX + 1) + reference.ids.len()) as u64);
    reference.ids.iter().for_each(|id| writer.raw(&id.0));
    Ok(())
}

/// Reads a reference.
pub(crate) fn read_ref(reader: &mut Reader<'_>) -> Result<ObjectRef, FormatError> {
    let most = (usize::from(REF_DEPTH_MAX) + 1) * (REF_IDS_MAX + 1) - 1;
    let code = reader.varint_max("form of a reference", most as u64)? as usize;
    let (depth, count) = (code / (REF_IDS_MAX + 1), code % (REF_IDS_MAX + 1));
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        ids.push(ChunkId(reader.array()?));
    }
    let reference = ObjectRef { depth: depth as u8, ids };
    check_ref(&reference)?;
    Ok(reference)
}

fn check_ref(reference: &ObjectRef) -> Result<(), FormatError> {
    let ObjectRef { depth, ids } = reference;
    if ids.len() > REF_IDS_MAX || *depth > REF_DEPTH_MAX || (ids.is_empty() && *depth > 0) {
        return Err(FormatError::Invalid { what: "form of a reference" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::testing::random_bytes;

    fn ids(count: usize) -> Vec<ChunkId> {
        random_bytes(5, 32 * count).chunks_exact(32).map(|id| ChunkId(id.try_into().unwrap())).collect()
    }

    fn build(ids: &[ChunkId], stored: &mut HashMap<ChunkId, Vec<u8>>) -> ObjectRef {
        let mut builder = RefBuilder::new();
        ids.iter().for_each(|id| builder.push(*id));
        builder
            .finish::<FormatError>(&mut |bytes| {
                let id = ChunkId(*blake3::hash(bytes).as_bytes());
                stored.insert(id, bytes.to_vec());
                Ok(id)
            })
            .unwrap()
    }

    #[test]
    fn any_number_of_leaves_comes_back() {
        for count in [0, 1, 8, 9, 100, 10_000, 100_000] {
            let mut stored = HashMap::new();
            let ids = ids(count);
            let reference = build(&ids, &mut stored);
            assert_eq!(reference.depth == 0, count <= REF_IDS_MAX);
            let mut writer = Writer::new();
            write_ref(&mut writer, &reference).unwrap();
            let mut reader = Reader::new(writer.as_slice(), "test");
            assert_eq!(read_ref(&mut reader).unwrap(), reference);
            reader.finish().unwrap();
            let mut get = |id: &ChunkId| Ok::<_, FormatError>(stored[id].clone());
            assert_eq!(reference.leaves(count, &mut get).unwrap(), ids);
            if reference.depth > 0 {
                assert!(reference.leaves(count - 1, &mut get).is_err());
            }
        }
    }

    #[test]
    fn one_leaf_more_changes_one_list_a_level() {
        let mut stored = HashMap::new();
        let mut ids = ids(100_000);
        build(&ids, &mut stored);
        let before = stored.len();
        ids.insert(50_000, ChunkId([1; 32]));
        build(&ids, &mut stored);
        assert!(stored.len() - before <= 4, "{} new lists", stored.len() - before);
    }

    #[test]
    fn lists_and_references_of_a_wrong_form_are_refused() {
        assert!(decode_list(&[]).is_err());
        assert!(decode_list(&[TAG_LIST]).is_err());
        assert!(decode_list(&[&[TAG_LIST][..], &[0; 33]].concat()).is_err());
        assert!(decode_list(&[&[9][..], &[0; 32]].concat()).is_err());
        assert!(decode_list(&vec![TAG_LIST; 1 + 32 * (LIST_IDS_MAX + 1)]).is_err());
        for code in [9, 63, 64] {
            let bytes = [&[code][..], &[0; 600]].concat();
            assert!(read_ref(&mut Reader::new(&bytes, "test")).is_err(), "{code}");
        }
    }
}
