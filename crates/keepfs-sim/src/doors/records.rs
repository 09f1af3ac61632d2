//! Doors of what is decoded without a key, or after its seal was opened: numbers, names, header and slots, operations, leaves.

use keepfs_format::FormatError;
use keepfs_format::codec::{Reader, Writer};
use keepfs_format::directory::{
    DirectoryReader, DirectoryWriter, InodeReader, InodeWriter, Put, RefBuilder, decode_extents, decode_list,
    write_content,
};
use keepfs_format::header::Header;
use keepfs_format::ids::{ChunkId, Ino, Time};
use keepfs_format::op_codec::{DeltaState, decode_run, encode_group};
use keepfs_format::phrase::RecoveryPhrase;
use keepfs_format::slot::Slot;
use keepfs_store::ObjectName;

use super::workshop::KEYS;

/// The directory whose leaves are read.
pub(super) const DIRECTORY: Ino = Ino(1 << 62 | 4711);
/// Extents that a record holds itself.
const EXTENTS_INLINE_MAX: usize = 8;
/// Ids that a reference holds itself.
const REF_IDS_MAX: usize = 8;

/// Numbers of every sort, one behind the other.
pub(super) fn numbers(bytes: &[u8]) -> bool {
    let base = Time { secs: 100, nanos: 500_000_000 };
    let mut reader = Reader::new(bytes, "numbers");
    let mut writer = Writer::new();
    let mut read = || -> Result<(), FormatError> {
        let len = bytes.len();
        while !reader.is_empty() {
            let sort = reader.u8()?;
            writer.u8(sort);
            match sort % 4 {
                0 => writer.varint(reader.varint()?),
                1 => writer.time(reader.time(base)?, base),
                2 => writer.bytes(reader.bytes("bytes", len)?),
                _ => writer.u64(reader.u64()?),
            }
        }
        Ok(())
    };
    let is_whole = read().is_ok();
    assert!(!is_whole || writer.as_slice() == bytes, "numbers have one encoding");
    is_whole
}

/// A name of an object.
pub(super) fn object_name(bytes: &[u8]) -> bool {
    let Some(name) = std::str::from_utf8(bytes).ok().and_then(|text| ObjectName::new(text).ok()) else {
        return false;
    };
    assert_eq!(name.as_str().as_bytes(), bytes);
    true
}

/// The words of a recovery phrase.
pub(super) fn phrase(bytes: &[u8]) -> bool {
    let Some(phrase) = std::str::from_utf8(bytes).ok().and_then(|text| RecoveryPhrase::parse(text).ok())
    else {
        return false;
    };
    let words = phrase.words();
    let again = RecoveryPhrase::parse(&words).map(|phrase| phrase.words());
    assert!(again.is_ok_and(|again| *again == *words), "words of a phrase are a phrase");
    true
}

/// A header: as it is, and with the checksum that belongs to it.
pub(super) fn header(bytes: &[u8]) -> bool {
    if let Ok(header) = Header::decode(bytes)
        && header.is_intact()
    {
        assert_eq!(header.encode(), bytes, "a header has one encoding");
        return true;
    }
    let checksum = blake3::derive_key("keepfs/1 header checksum", bytes);
    let whole = [bytes, &checksum].concat();
    let Ok(header) = Header::decode(&whole) else { return false };
    assert!(header.is_intact());
    assert_eq!(header.encode(), whole, "a header has one encoding");
    true
}

/// A slot.
pub(super) fn slot(bytes: &[u8]) -> bool {
    let Ok(slot) = Slot::decode(bytes) else { return false };
    assert_eq!(slot.encode(), bytes, "a slot has one encoding");
    true
}

/// A run of operations.
pub(super) fn operations(bytes: &[u8]) -> bool {
    let Ok(groups) = decode_run(bytes) else { return false };
    let (mut writer, mut state) = (Writer::new(), DeltaState::new());
    for group in &groups {
        let encoded = encode_group(&mut writer, group, &mut state);
        assert!(encoded.is_ok(), "what was read can be written: {encoded:?}");
    }
    assert_eq!(writer.as_slice(), bytes, "operations have one encoding");
    true
}

/// The leaves that come of writing what was read; chunks have no names here.
fn written<T: std::fmt::Debug>(
    write: impl FnOnce(Put<'_, FormatError>) -> Result<T, FormatError>,
) -> Vec<Vec<u8>> {
    let mut leaves = Vec::new();
    let done = write(&mut |bytes| {
        leaves.push(bytes.to_vec());
        Ok(ChunkId([0; 32]))
    });
    assert!(done.is_ok(), "what was read can be written: {done:?}");
    leaves
}

/// Our writers split leaves where keys say, so bytes are compared only where they make one.
fn check_single(leaves: &[Vec<u8>], bytes: &[u8], what: &str) {
    if let [leaf] = leaves {
        assert_eq!(leaf, bytes, "{what}");
    }
}

/// A leaf of a directory.
pub(super) fn directory_leaf(bytes: &[u8]) -> bool {
    let mut entries = Vec::new();
    if DirectoryReader::new(DIRECTORY).leaf(bytes, &mut |entry| entries.push(entry)).is_err() {
        return false;
    }
    let leaves = written(|put| {
        let mut writer = DirectoryWriter::new(&KEYS, DIRECTORY);
        entries.iter().try_for_each(|entry| writer.push(entry, put))?;
        writer.finish(put)
    });
    check_single(&leaves, bytes, "a leaf of a directory has one encoding");
    true
}

/// A leaf of the table of inodes with several names.
pub(super) fn inode_leaf(bytes: &[u8]) -> bool {
    let mut records = Vec::new();
    if InodeReader::new().leaf(bytes, &mut |record| records.push(record)).is_err() {
        return false;
    }
    let leaves = written(|put| {
        let mut writer = InodeWriter::new(&KEYS);
        records.iter().try_for_each(|record| writer.push(record, put))?;
        writer.finish(put)
    });
    check_single(&leaves, bytes, "a leaf of inodes has one encoding");
    true
}

/// A leaf of extents.
pub(super) fn extents(bytes: &[u8]) -> bool {
    let Ok(extents) = decode_extents(bytes) else { return false };
    let is_leaf = extents.len() > EXTENTS_INLINE_MAX;
    let leaves = written(|put| write_content(&mut extents.into_iter(), put));
    if is_leaf {
        check_single(&leaves, bytes, "a leaf of extents has one encoding");
    }
    true
}

/// A list of ids.
pub(super) fn list(bytes: &[u8]) -> bool {
    let Ok(ids) = decode_list(bytes) else { return false };
    if ids.len() > REF_IDS_MAX {
        let mut builder = RefBuilder::new();
        ids.into_iter().for_each(|id| builder.push(id));
        let lists = written(|put| builder.finish(put));
        check_single(&lists, bytes, "a list has one encoding");
    }
    true
}
