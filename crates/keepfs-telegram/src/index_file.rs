//! The index as text: kept on this machine between runs, and on the store as an anchor for new machines.
//!
//! It names objects and messages, which whoever holds the store sees anyway, and no tickets. A text that does not
//! decode to its last line is no index.

use std::fmt::Write as _;
use std::path::Path;

use crate::error::{Result, TelegramError};
use crate::index::{Entry, Index, Mark, Spot};
use crate::label::Label;
use crate::volume::VolumeKey;

const FIRST_LINE: &str = "keepfs telegram index 1";
/// Longest text that is read, in bytes: two million objects.
pub(crate) const TEXT_LEN_MAX: u64 = 256 << 20;

/// Writes the index of the volumes that `choose` takes.
pub(crate) fn to_text(index: &Index, choose: impl Fn(VolumeKey) -> bool) -> String {
    let mut text = format!("{FIRST_LINE}\n");
    // Writing to a string does not fail.
    for (key, mark) in index.marks().iter().filter(|(key, _)| choose(**key)) {
        let Mark { pts, qts, date, top, anchor, scanned_to, complete } = mark;
        let complete = u8::from(*complete);
        let VolumeKey { number, channel } = key;
        let place = format!("{number} {channel}");
        let _ = writeln!(text, "volume {place} {pts} {qts} {date} {top} {anchor} {scanned_to} {complete}");
    }
    for channel in index.told() {
        let _ = writeln!(text, "told {channel}");
    }
    for (spot, entry) in index.entries().filter(|(spot, _)| choose(spot.volume)) {
        let VolumeKey { number, channel } = spot.volume;
        let (id, date, size) = (spot.id, entry.date_secs, entry.label.document_len());
        let _ = writeln!(text, "entry {number} {channel} {id} {date} {size} {}", entry.label.caption());
    }
    let sum = crc32fast::hash(text.as_bytes());
    let _ = writeln!(text, "end {sum:08x}");
    text
}

/// Reads what [`to_text`] wrote; nothing if it is damaged.
pub(crate) fn from_text(text: &str) -> Option<Index> {
    let (body, end) = text.strip_suffix('\n')?.rsplit_once('\n')?;
    let sum = end.strip_prefix("end ")?;
    if u32::from_str_radix(sum, 16).ok()? != crc32fast::hash(&text.as_bytes()[..body.len() + 1]) {
        return None;
    }
    let mut lines = body.lines();
    if lines.next()? != FIRST_LINE {
        return None;
    }
    let mut index = Index::default();
    for line in lines {
        read_line(&mut index, line)?;
    }
    index.changes = 0;
    Some(index)
}

fn read_line(index: &mut Index, line: &str) -> Option<()> {
    let (kind, rest) = line.split_once(' ')?;
    if kind == "told" {
        index.tell(rest.parse().ok()?);
        return Some(());
    }
    let mut words = rest.splitn(if kind == "entry" { 6 } else { 10 }, ' ');
    let key = VolumeKey { number: words.next()?.parse().ok()?, channel: words.next()?.parse().ok()? };
    match kind {
        "volume" => {
            let mut number = || words.next()?.parse::<i32>().ok();
            let mark = Mark {
                pts: number()?,
                qts: number()?,
                date: number()?,
                top: number()?,
                anchor: number()?,
                scanned_to: number()?,
                complete: number()? == 1,
            };
            index.set_mark(key, mark);
        }
        "entry" => {
            let id = words.next()?.parse().ok()?;
            let date_secs = words.next()?.parse().ok()?;
            let size = words.next()?.parse().ok()?;
            let caption = words.next()?;
            let label = Label::parse(caption.split(' ').nth(1)?, caption, size)?;
            index.insert_entry(Spot { volume: key, id }, Entry { label, date_secs, document: None });
        }
        _ => return None,
    }
    Some(())
}

/// Reads the kept index; an empty one if there is none or it is damaged, for it can be made again.
pub(crate) fn load(path: &Path) -> Index {
    let fits = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= TEXT_LEN_MAX);
    let text = fits.then(|| std::fs::read_to_string(path).ok()).flatten();
    text.and_then(|text| from_text(&text)).unwrap_or_default()
}

/// Keeps the index: all of the new one or all of the old one is there whatever happens.
pub(crate) fn save(path: &Path, index: &Index) -> Result<()> {
    let failed = |error: std::io::Error| TelegramError::local("keeping the index", &error);
    let text = to_text(index, |_| true);
    let beside = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&beside, text).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::{name, object, spot};

    fn index() -> Index {
        let mut index = Index::default();
        for (id, letter) in [(1, 'a'), (7, 'b')] {
            index.see(spot(1, id), &object(&name(letter), u64::from(id as u32) - 1));
        }
        let mark = Mark { pts: 5, qts: 6, date: 7, top: 9, anchor: 8, scanned_to: 2, complete: true };
        index.set_mark(spot(1, 0).volume, mark);
        index.tell(77);
        index
    }

    #[test]
    fn index_comes_back() {
        let original = index();
        let read = from_text(&to_text(&original, |_| true)).unwrap();
        assert_eq!((read.marks(), read.told()), (original.marks(), original.told()));
        let labels = |index: &Index| {
            index
                .entries()
                .map(|(spot, entry)| (spot, entry.label.clone(), entry.date_secs))
                .collect::<Vec<_>>()
        };
        assert_eq!(labels(&read), labels(&original));
    }

    #[test]
    fn damaged_index_is_none() {
        let text = to_text(&index(), |_| true);
        for at in (0..text.len()).step_by(7) {
            let mut bytes = text.clone().into_bytes();
            bytes[at] ^= 1;
            assert!(String::from_utf8(bytes).ok().and_then(|text| from_text(&text)).is_none(), "byte {at}");
            assert!(from_text(&text[..at]).is_none(), "cut at {at}");
        }
    }

    #[test]
    fn kept_index_is_replaced_as_a_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("index");
        assert_eq!(load(&path).entries().count(), 0);
        save(&path, &index()).unwrap();
        assert_eq!(load(&path).entries().count(), 2);
    }
}
