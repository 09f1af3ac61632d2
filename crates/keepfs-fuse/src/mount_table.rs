//! The kernel's table of mounts, as `/proc/self/mountinfo` shows it. Reading it touches no file system, so it
//! works where a mount point no longer answers.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// Where the table lies.
const TABLE: &str = "/proc/self/mountinfo";

/// One mount of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MountEntry {
    /// Device number, `major:minor`: also the name of its directory under `/sys/class/bdi`.
    pub(crate) device: String,
    /// Where it is mounted.
    pub(crate) path: PathBuf,
    /// Type of the file system, `fuse.keepfs` for ours.
    pub(crate) kind: String,
}

/// The mount that `path` itself is the root of, the uppermost if several lie on each other. `path` is absolute
/// and has no symbolic links in it.
pub(crate) fn mounted_on(path: &Path) -> io::Result<Option<MountEntry>> {
    let table = fs::read(TABLE)?;
    Ok(table.split(|byte| *byte == b'\n').filter_map(parse_line).rfind(|entry| entry.path == path))
}

/// One line: id, parent, device, root, path, options, optional fields, a dash, type, source, options.
fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = text(fields.nth(2)?);
    let path = PathBuf::from(OsString::from_vec(unescape(fields.nth(1)?)));
    fields.find(|field| *field == b"-")?;
    let kind = text(fields.next()?);
    Some(MountEntry { device, path, kind })
}

/// A field that is text by its nature.
fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(field).into_owned()
}

/// The table writes blanks, tabs, line ends and backslashes in paths as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                plain.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail;
            }
            _ => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_optional_fields_is_read() {
        let line = b"36 35 0:52 / /mnt/two\\040words\\134 rw,nosuid shared:1 master:2 - fuse.keepfs keepfs rw,user_id=0";
        let entry = parse_line(line).unwrap();
        assert_eq!(entry.device, "0:52");
        assert_eq!(entry.path, Path::new("/mnt/two words\\"));
        assert_eq!(entry.kind, "fuse.keepfs");
    }

    #[test]
    fn a_line_cut_short_is_passed_over() {
        let line = b"36 35 0:52 / /mnt rw - fuse.keepfs keepfs rw";
        for length in 0..line.len() - b"fuse.keepfs keepfs rw".len() {
            assert!(parse_line(&line[..length]).is_none_or(|entry| entry.kind.is_empty()));
        }
    }

    #[test]
    fn a_lone_backslash_stays_what_it_is() {
        assert_eq!(unescape(b"a\\"), b"a\\");
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
        assert_eq!(unescape(b"\\040\\011"), b" \t");
    }

    #[test]
    fn the_root_directory_is_in_this_machines_table() {
        assert!(mounted_on(Path::new("/")).unwrap().is_some());
        assert!(mounted_on(Path::new("/no such mount point")).unwrap().is_none());
    }
}
