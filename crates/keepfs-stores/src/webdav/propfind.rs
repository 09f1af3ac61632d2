//! Reads a `multistatus` (RFC 4918, section 13), from a server that may send anything.

use std::time::UNIX_EPOCH;

use keepfs_store::{Result, StoreError};
use quick_xml::events::Event;
use quick_xml::reader::Reader;

/// Most entries of one directory.
const LISTED_MAX: usize = 1 << 20;

/// One entry of a listing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Listed {
    /// The last segment of its address: what it is called in its directory.
    pub(super) name: String,
    pub(super) is_directory: bool,
    pub(super) len: Option<u64>,
    pub(super) modified_secs: Option<i64>,
    pub(super) free: Option<u64>,
    pub(super) used: Option<u64>,
}

/// Takes a listing apart. Entity references are not followed: no name or number of ours has one.
pub(super) fn read_listing(xml: &[u8]) -> Result<Vec<Listed>> {
    let bad =
        |detail: String| StoreError::io_soon(format!("the server's listing is not well formed: {detail}"));
    let text = std::str::from_utf8(xml).map_err(|error| bad(error.to_string()))?;
    let mut reader = Reader::from_str(text);
    let mut listed = Vec::new();
    let mut current = Listed::default();
    let mut element = String::new();
    let mut has_ended = false;
    loop {
        match reader.read_event().map_err(|error| bad(error.to_string()))? {
            Event::Start(start) => {
                element = start.local_name().as_ref().to_ascii_lowercase();
                note_element(&element, &mut current);
            }
            Event::Empty(empty) => {
                note_element(&empty.local_name().as_ref().to_ascii_lowercase(), &mut current)
            }
            Event::Text(words) => {
                note_text(&element, words.trim(), &mut current);
            }
            Event::End(end) => {
                element.clear();
                match end.local_name().as_ref().to_ascii_lowercase().as_str() {
                    "response" if listed.len() >= LISTED_MAX => return Err(bad("it is too long".into())),
                    "response" => listed.push(std::mem::take(&mut current)),
                    "multistatus" => has_ended = true,
                    _ => {}
                }
            }
            Event::Eof => break,
            _ => {}
        }
    }
    match has_ended {
        true => Ok(listed),
        // A listing that was cut off would be taken for one of fewer objects.
        false => Err(bad("it ends early".into())),
    }
}

fn note_element(element: &str, current: &mut Listed) {
    match element {
        "response" => *current = Listed::default(),
        "collection" => current.is_directory = true,
        _ => {}
    }
}

fn note_text(element: &str, words: &str, current: &mut Listed) {
    match element {
        "href" => {
            let segment = words.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let decoded = crate::url::decode(segment).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            current.name = decoded.unwrap_or_default();
        }
        "getcontentlength" => current.len = words.parse().ok(),
        "getlastmodified" => {
            let date = httpdate::parse_http_date(words).ok();
            let since = date.and_then(|date| date.duration_since(UNIX_EPOCH).ok());
            current.modified_secs = since.and_then(|since| i64::try_from(since.as_secs()).ok());
        }
        "quota-available-bytes" => current.free = words.parse().ok(),
        "quota-used-bytes" => current.used = words.parse().ok(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = r#"<?xml version="1.0"?><d:multistatus xmlns:d="DAV:">
        <d:response><d:href>/dav/my%20vault/</d:href><d:propstat><d:prop><d:resourcetype><d:collection/></d:resourcetype>
        <d:quota-available-bytes>10</d:quota-available-bytes><d:quota-used-bytes>5</d:quota-used-bytes></d:prop></d:propstat></d:response>
        <d:response><d:href>http://host/dav/my%20vault/vault</d:href><d:propstat><d:prop><d:resourcetype/>
        <d:getcontentlength>16384</d:getcontentlength><d:getlastmodified>Fri, 17 Feb 2023 03:37:22 GMT</d:getlastmodified></d:prop>
        <d:status>HTTP/1.1 200 OK</d:status></d:propstat></d:response></d:multistatus>"#;

    #[test]
    fn listing_is_read() {
        let listed = read_listing(LISTING.as_bytes()).unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(
            (listed[0].name.as_str(), listed[0].is_directory, listed[0].free),
            ("my vault", true, Some(10))
        );
        let file = &listed[1];
        assert_eq!((file.name.as_str(), file.is_directory, file.len), ("vault", false, Some(16384)));
        assert_eq!(file.modified_secs, Some(1_676_605_042));
    }

    #[test]
    fn a_listing_that_was_cut_off_is_an_error_at_every_byte() {
        let whole = read_listing(LISTING.as_bytes()).unwrap();
        for len in 0..LISTING.len() {
            if let Ok(listed) = read_listing(&LISTING.as_bytes()[..len]) {
                assert_eq!(listed, whole, "{len}");
            }
        }
    }
}
