//! Store URLs: which scheme, which path, which options. Pure text; nothing is looked up.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What a caller wrote, taken apart.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Location<'a> {
    /// A path of this machine, as it is: nothing in it is decoded.
    Path(&'a Path),
    /// `scheme:rest`.
    Url { scheme: &'a str, rest: &'a str },
}

/// Tells a URL from a path. A URL starts with a scheme of at least two characters and a colon; a path that
/// looks like one is written with `./` in front.
pub(crate) fn split(location: &str) -> Location<'_> {
    if let Some((scheme, rest)) = location.split_once(':')
        && scheme.len() >= 2
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    {
        return Location::Url { scheme, rest };
    }
    Location::Path(Path::new(location))
}

/// The parts of a `file:` URL.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct FileUrl {
    /// Absolute, decoded.
    pub(crate) path: PathBuf,
    /// `key=value` pairs of the query, decoded.
    pub(crate) options: Vec<(String, String)>,
}

/// Reads what follows `file:`. The error is a phrase for people.
pub(crate) fn parse_file_url(rest: &str) -> Result<FileUrl, String> {
    if rest.contains('#') {
        return Err("write %23 for # in a URL".into());
    }
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match path.strip_prefix("//") {
        Some(after) => match after.strip_prefix("localhost/") {
            Some(_) => &after["localhost".len()..],
            None => after,
        },
        None => path,
    };
    if !path.starts_with('/') {
        return Err("a file URL has three slashes and an absolute path: file:///home/me/vault".into());
    }
    let path = PathBuf::from(OsString::from_vec(decode(path)?));
    Ok(FileUrl { path, options: query_pairs(query)? })
}

/// The `key=value` pairs of a query, decoded.
pub(crate) fn query_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    let text = |part| String::from_utf8(decode(part)?).map_err(|_| format!("{part} does not decode to text"));
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((text(key)?, text(value)?))
        })
        .collect()
}

/// The `file:` URL of an absolute path.
pub(crate) fn file_url(path: &Path) -> String {
    let mut url = String::from("file://");
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                url.push(char::from(*byte));
            }
            _ => url.push_str(&format!("%{byte:02X}")),
        }
    }
    url
}

pub(crate) fn decode(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        let byte = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                    (Some(high), Some(low)) => (high * 16 + low) as u8,
                    _ => return Err(format!("{text} has a % without two digits after it; write %25 for %")),
                }
            }
            (b'%', _) => return Err(format!("{text} has a % without two digits after it; write %25 for %")),
            _ => *first,
        };
        if byte == 0 {
            return Err("a path cannot contain a zero byte".into());
        }
        bytes.push(byte);
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(rest: &str) -> PathBuf {
        parse_file_url(rest).unwrap().path
    }

    #[test]
    fn file_urls_decode() {
        assert_eq!(path("///a/b"), Path::new("/a/b"));
        assert_eq!(path("/a/b"), Path::new("/a/b"));
        assert_eq!(path("//localhost/a"), Path::new("/a"));
        assert_eq!(path("///a%20b%25"), Path::new("/a b%"));
        assert_eq!(path("///%ff").as_os_str().as_bytes(), b"/\xff");
        let url = parse_file_url("///a?staging=local&x=%26").unwrap();
        assert_eq!(url.options, [("staging".into(), "local".into()), ("x".into(), "&".into())]);
    }

    #[test]
    fn bad_file_urls_say_why() {
        for rest in ["", "//", "//host/share", "a/b", "///a#b", "///a%", "///a%4", "///a%zz", "///a%00b"] {
            assert!(parse_file_url(rest).is_err(), "{rest}");
        }
    }

    #[test]
    fn every_path_survives_its_url() {
        let every_byte: Vec<u8> = std::iter::once(b'/').chain(1..=255).collect();
        let original = PathBuf::from(OsString::from_vec(every_byte));
        let url = file_url(&original);
        assert_eq!(split(&url), Location::Url { scheme: "file", rest: &url[5..] });
        assert_eq!(path(&url[5..]), original);
    }

    #[test]
    fn paths_and_urls_are_told_apart() {
        for plain in ["/a/b", "a", "./s3:x", "../a:b", ".", "c:/x", "a b:c"] {
            assert_eq!(split(plain), Location::Path(Path::new(plain)));
        }
        assert_eq!(split("s3://bucket"), Location::Url { scheme: "s3", rest: "//bucket" });
        assert_eq!(split("telegram:me"), Location::Url { scheme: "telegram", rest: "me" });
    }
}
