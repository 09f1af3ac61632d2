//! What a message of ours says about its object: file name and caption.
//!
//! Both hold the opaque name; the caption adds length and checksum, for Telegram holds no empty file and tells
//! no checksum. The truth about an object is inside it, sealed; a label is a hint that lets an index be built.

use keepfs_store::ObjectName;

/// First word of a caption; another version of the label has another.
const CAPTION_TAG: &str = "k1";
/// Longest caption that is looked at, in bytes.
const CAPTION_LEN_MAX: usize = 256;

/// The label of one object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Label {
    /// Its name.
    pub(crate) name: ObjectName,
    /// Its length in bytes.
    pub(crate) len: u64,
    /// CRC-32 (IEEE 802.3) of its bytes. It finds accidents, not attacks.
    pub(crate) crc: u32,
}

impl Label {
    /// The name of the document.
    pub(crate) fn file_name(&self) -> String {
        file_name(&self.name)
    }

    /// The text under the document.
    pub(crate) fn caption(&self) -> String {
        format!("{CAPTION_TAG} {} {} {:08x}", self.file_name(), self.len, self.crc)
    }

    /// What the document of such an object is long: an empty object is one zero byte.
    pub(crate) fn document_len(&self) -> u64 {
        self.len.max(1)
    }

    /// Reads a message's file name, caption and size; nothing unless all of them agree.
    pub(crate) fn parse(file: &str, caption: &str, size: u64) -> Option<Self> {
        if caption.len() > CAPTION_LEN_MAX {
            return None;
        }
        let mut words = caption.split(' ');
        let fields = [words.next()?, words.next()?, words.next()?, words.next()?];
        let [CAPTION_TAG, name, len, crc] = fields else { return None };
        if words.next().is_some() || name != file || crc.len() != 8 {
            return None;
        }
        let label = Label {
            name: object_name(file)?,
            len: len.parse().ok()?,
            crc: u32::from_str_radix(crc, 16).ok()?,
        };
        (label.document_len() == size && label.caption() == caption).then_some(label)
    }
}

/// The name without slashes, which Telegram's clients would cut: `o-…`, `h-…`, `vault`, `vault.bak`.
pub(crate) fn file_name(name: &ObjectName) -> String {
    match (name.is_immutable(), name.id()) {
        (true, Some(id)) => format!("o-{id}"),
        (false, Some(id)) => format!("h-{id}"),
        (_, None) => name.as_str().to_owned(),
    }
}

fn object_name(file: &str) -> Option<ObjectName> {
    match file.split_once('-') {
        Some(("o", id)) => ObjectName::immutable(id).ok(),
        Some(("h", id)) => ObjectName::head(id).ok(),
        _ => ObjectName::new(file).ok().filter(|name| name.id().is_none()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "abcdefghijklmnopqrstuvwxyz";

    fn labels() -> Vec<Label> {
        let names = [
            ObjectName::vault(),
            ObjectName::vault_backup(),
            ObjectName::head(ID).unwrap(),
            ObjectName::immutable(ID).unwrap(),
        ];
        names.into_iter().zip(0..).map(|(name, len)| Label { name, len, crc: 0xab }).collect()
    }

    #[test]
    fn every_label_comes_back() {
        for label in labels() {
            let parsed = Label::parse(&label.file_name(), &label.caption(), label.document_len());
            assert_eq!(parsed, Some(label));
        }
    }

    #[test]
    fn what_does_not_agree_is_not_ours() {
        for label in labels() {
            let (file, caption, len) = (label.file_name(), label.caption(), label.document_len());
            assert_eq!(Label::parse(&file, &caption, len + 1), None);
            assert_eq!(Label::parse("o-other", &caption, len), None);
            assert_eq!(Label::parse(&file, &format!("{caption} more"), len), None);
            assert_eq!(Label::parse(&file, &caption.to_uppercase(), len), None);
            assert_eq!(Label::parse(&file, "", len), None);
        }
        assert_eq!(Label::parse("h/x", "k1 h/x 1 00000000", 1), None);
    }
}
