//! What a tree shows to whoever walks it: the measure by which two states are the same.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A path from the root; the root itself is empty, everything else begins with `/`.
pub type Path = Vec<u8>;

/// What an inode holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Body {
    /// The bytes of a file.
    File(Arc<Vec<u8>>),
    /// A directory.
    Directory,
    /// The target of a symbolic link.
    Symlink(Vec<u8>),
}

/// What stands under one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// What it holds.
    pub body: Body,
    /// Permission bits.
    pub mode: u16,
    /// Number of names.
    pub nlink: u32,
    /// Extended attributes.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first path, in order, that leads to the same inode.
    pub first: Path,
}

/// A whole tree, the root included.
pub type Shown = BTreeMap<Path, Item>;

/// A name below a directory.
pub(super) fn below(directory: &[u8], name: &[u8]) -> Path {
    [directory, b"/", name].concat()
}

/// How two trees differ, for people.
pub fn difference(found: &Shown, expected: &Shown) -> String {
    let mut told = String::new();
    for path in found.keys().chain(expected.keys().filter(|path| !found.contains_key(*path))) {
        let (is, should) = (found.get(path), expected.get(path));
        if is != should {
            let name = String::from_utf8_lossy(path);
            let _ = write!(told, " {name:.40}: is {}, should be {};", describe(is), describe(should));
        }
    }
    told
}

fn describe(item: Option<&Item>) -> String {
    let Some(item) = item else { return "nothing".to_owned() };
    let body = match &item.body {
        Body::File(bytes) => format!("{} bytes #{}", bytes.len(), short_hash(bytes)),
        Body::Directory => "a directory".to_owned(),
        Body::Symlink(target) => format!("a link to {}", String::from_utf8_lossy(target)),
    };
    format!("{body} (mode {:o}, {} names, {} attributes)", item.mode, item.nlink, item.xattrs.len())
}

/// A few letters that tell contents apart.
pub(super) fn short_hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..8].to_owned()
}
