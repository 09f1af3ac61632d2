//! The canary scan: does any byte of a folder betray what was written into a vault?
//!
//! A canary is a value that was written into the file system (a name, a content, a size). It is looked for
//! in every dress it could wear: as it is, as its BLAKE3, SHA-256 and SHA-1, each raw, in hex, in base32
//! and in base64. File names are scanned like contents. Owns the search, never the judgement of what a
//! finding means: every one is a leak.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest;
use data_encoding::{BASE32_NOPAD, BASE64_NOPAD, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};

/// Shorter needles are found by chance in uniform bytes.
const NEEDLE_LEN_MIN: usize = 7;
/// Of a long content, this many bytes from its start are looked for: a leak would show them.
const NEEDLE_LEN_MAX: usize = 32;
/// Needles are found by their first bytes.
const PREFIX_LEN: usize = 4;
/// Below this length the byte distribution of a file says nothing.
const UNIFORM_LEN_MIN: usize = 65_536;
/// Chi-square of uniform bytes has mean 255 and deviation 22.6: this is eight deviations away.
const CHI_SQUARE_MAX: f64 = 255.0 + 8.0 * 22.6;

/// Something that must not be there, and is.
#[derive(Debug)]
pub struct Finding {
    /// The file that holds it, or whose name shows it.
    pub path: PathBuf,
    /// Byte offset in the file; `None` when it is in the name.
    pub offset: Option<usize>,
    /// Which canary, and in which dress.
    pub what: String,
}

/// What a scan saw.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Leaks, in the order they were met.
    pub findings: Vec<Finding>,
    /// Files whose bytes are not uniformly distributed, with their chi-square.
    pub skewed: Vec<(PathBuf, f64)>,
}

struct Needle {
    bytes: Vec<u8>,
    what: String,
}

/// The values to look for.
#[derive(Default)]
pub struct Canaries {
    needles: Vec<Needle>,
    by_prefix: HashMap<[u8; PREFIX_LEN], Vec<usize>>,
    lengths: HashMap<u64, String>,
}

impl Canaries {
    /// Nothing to look for yet.
    pub fn new() -> Self {
        Canaries::default()
    }

    /// How many byte strings are looked for.
    pub fn needle_count(&self) -> usize {
        self.needles.len()
    }

    /// Looks for `value` and everything that is computed from it alone.
    pub fn add(&mut self, label: &str, value: &[u8]) {
        // A value in base64 depends on where in its three-byte groups it begins.
        for shift in 0..3 {
            let head = &value[shift.min(value.len())..];
            let head = &head[..head.len().min(NEEDLE_LEN_MAX) / 3 * 3];
            self.needle(&format!("{label} in base64"), BASE64_NOPAD.encode(head).as_bytes());
            self.needle(&format!("{label} in url-safe base64"), BASE64URL_NOPAD.encode(head).as_bytes());
        }
        self.dressed(label, &value[..value.len().min(NEEDLE_LEN_MAX)]);
        let middle = value.len() / 2;
        if value.len() >= 4 * NEEDLE_LEN_MAX {
            self.needle(&format!("{label}, from its middle"), &value[middle..middle + NEEDLE_LEN_MAX]);
        }
        self.dressed(&format!("BLAKE3 of {label}"), blake3::hash(value).as_bytes());
        self.dressed(&format!("SHA-256 of {label}"), digest::digest(&digest::SHA256, value).as_ref());
        self.dressed(
            &format!("SHA-1 of {label}"),
            digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, value).as_ref(),
        );
    }

    /// Looks for a file length: as a number in either byte order, as a varint, in decimal, and as the length
    /// of a stored file.
    pub fn add_length(&mut self, label: &str, length: u64) {
        let mut varint = Vec::new();
        let mut rest = length;
        while rest >= 0x80 {
            varint.push((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        varint.push(rest as u8);
        self.needle(&format!("{label} as a varint"), &varint);
        self.needle(&format!("{label}, little endian"), &length.to_le_bytes());
        self.needle(&format!("{label}, big endian"), &length.to_be_bytes());
        self.needle(&format!("{label} in decimal"), length.to_string().as_bytes());
        self.lengths.insert(length, label.to_owned());
    }

    fn dressed(&mut self, label: &str, value: &[u8]) {
        self.needle(label, value);
        self.needle(&format!("{label} in hex"), HEXLOWER.encode(value).as_bytes());
        self.needle(&format!("{label} in upper hex"), HEXUPPER.encode(value).as_bytes());
        let base32 = BASE32_NOPAD.encode(value);
        // The last characters depend on what follows; object names may also hold only the first ones.
        let kept = base32.len().min(NEEDLE_LEN_MAX / 2).min(value.len() * 8 / 5);
        self.needle(&format!("{label} in base32"), &base32.as_bytes()[..kept]);
        self.needle(&format!("{label} in lower base32"), base32[..kept].to_lowercase().as_bytes());
        self.needle(
            &format!("{label} in base64"),
            BASE64_NOPAD.encode(&value[..value.len() / 3 * 3]).as_bytes(),
        );
    }

    fn needle(&mut self, what: &str, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(2 * NEEDLE_LEN_MAX)];
        if bytes.len() < NEEDLE_LEN_MIN {
            return;
        }
        let mut prefix = [0; PREFIX_LEN];
        prefix.copy_from_slice(&bytes[..PREFIX_LEN]);
        self.by_prefix.entry(prefix).or_default().push(self.needles.len());
        self.needles.push(Needle { bytes: bytes.to_vec(), what: what.to_owned() });
    }

    /// Scans every file below `folder`, names included. `judge_uniform` says which files must look like noise.
    pub fn scan(
        &self,
        folder: &Path,
        judge_uniform: &dyn Fn(&Path) -> bool,
        report: &mut ScanReport,
    ) -> io::Result<()> {
        let mut folders = vec![folder.to_owned()];
        while let Some(next) = folders.pop() {
            for entry in fs::read_dir(&next)? {
                let path = entry?.path();
                self.search(path.file_name().map_or(&[][..], OsStrExt::as_bytes), &path, None, report);
                let kind = match fs::symlink_metadata(&path) {
                    Ok(metadata) => metadata.file_type(),
                    // A live daemon removes files while they are listed.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                };
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_symlink() {
                    let target = fs::read_link(&path)?;
                    self.search(target.as_os_str().as_bytes(), &path, None, report);
                } else if !kind.is_socket() && !kind.is_fifo() {
                    self.scan_file(&path, judge_uniform(&path), report)?;
                }
            }
        }
        Ok(())
    }

    fn scan_file(&self, path: &Path, must_be_uniform: bool, report: &mut ScanReport) -> io::Result<()> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        report.files += 1;
        report.bytes += bytes.len() as u64;
        if let Some(label) = self.lengths.get(&(bytes.len() as u64)) {
            let what = format!("{label} is the length of this file");
            report.findings.push(Finding { path: path.to_owned(), offset: None, what });
        }
        if must_be_uniform && bytes.len() >= UNIFORM_LEN_MIN {
            let skew = chi_square(&bytes);
            if skew > CHI_SQUARE_MAX {
                report.skewed.push((path.to_owned(), skew));
            }
        }
        self.search(&bytes, path, Some(0), report);
        Ok(())
    }

    fn search(&self, bytes: &[u8], path: &Path, start: Option<usize>, report: &mut ScanReport) {
        if bytes.len() < NEEDLE_LEN_MIN {
            return;
        }
        // One bit for each pair of first bytes keeps the table out of the way of nearly every position.
        let mut pairs = vec![false; 1 << 16];
        for prefix in self.by_prefix.keys() {
            pairs[usize::from(u16::from_le_bytes([prefix[0], prefix[1]]))] = true;
        }
        for (at, window) in bytes.windows(PREFIX_LEN).enumerate() {
            if !pairs[usize::from(u16::from_le_bytes([window[0], window[1]]))] {
                continue;
            }
            let Some(candidates) = self.by_prefix.get(window) else { continue };
            for needle in candidates.iter().map(|index| &self.needles[*index]) {
                if bytes[at..].starts_with(&needle.bytes) {
                    let offset = start.map(|start| start + at);
                    report.findings.push(Finding {
                        path: path.to_owned(),
                        offset,
                        what: needle.what.clone(),
                    });
                }
            }
        }
    }
}

fn chi_square(bytes: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let expected = bytes.len() as f64 / 256.0;
    counts.iter().map(|count| (*count as f64 - expected).powi(2) / expected).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaks(canaries: &Canaries, bytes: &[u8]) -> usize {
        let mut report = ScanReport::default();
        canaries.search(bytes, Path::new("x"), Some(0), &mut report);
        report.findings.len()
    }

    #[test]
    fn every_dress_of_a_canary_is_recognised() {
        let mut canaries = Canaries::new();
        let value = b"the-name-of-a-secret-file.txt";
        canaries.add("name", value);
        let hash = blake3::hash(value);
        let sha = digest::digest(&digest::SHA256, value);
        let shown: [Vec<u8>; 7] = [
            value.to_vec(),
            HEXLOWER.encode(value).into_bytes(),
            hash.as_bytes().to_vec(),
            hash.to_hex().as_bytes().to_vec(),
            BASE32_NOPAD.encode(hash.as_bytes()).to_lowercase().into_bytes(),
            sha.as_ref().to_vec(),
            BASE64_NOPAD.encode(sha.as_ref()).into_bytes(),
        ];
        for dress in shown {
            let surrounded = [b"\x00\x01".as_slice(), &dress, b"\xff\xfe"].concat();
            assert!(leaks(&canaries, &surrounded) > 0, "{}", String::from_utf8_lossy(&dress));
        }
        for shift in 0..3 {
            let text = [&b"abc"[..shift], value].concat();
            assert!(leaks(&canaries, BASE64_NOPAD.encode(&text).as_bytes()) > 0, "base64 at {shift}");
        }
    }

    #[test]
    fn lengths_are_recognised_as_numbers() {
        let mut canaries = Canaries::new();
        canaries.add_length("size", 0x1234_5678_9abc);
        assert!(leaks(&canaries, &0x1234_5678_9abc_u64.to_le_bytes()) > 0);
        assert!(leaks(&canaries, b"size=20015998343868;") > 0);
        assert_eq!(leaks(&canaries, b"size=20015998343869;"), 0);
    }

    #[test]
    fn text_is_not_uniform_and_noise_is() {
        let text = vec![b'a'; UNIFORM_LEN_MIN];
        assert!(chi_square(&text) > CHI_SQUARE_MAX);
        let mut noise = vec![0; UNIFORM_LEN_MIN];
        blake3::Hasher::new().finalize_xof().fill(&mut noise);
        assert!(chi_square(&noise) < CHI_SQUARE_MAX);
    }
}
