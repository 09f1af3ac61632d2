//! URLs of stores in the network: `scheme://[user@]host[:port][/path][?key=value&…]`.
//!
//! Secrets are refused here, so that none gets into a configuration, a process list or a log.

use std::fmt::Write;

use crate::url::{decode, query_pairs};

/// Parts of a store's URL, decoded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RemoteUrl {
    pub(crate) user: Option<String>,
    /// Host, bucket or account; empty where the scheme has none.
    pub(crate) host: String,
    pub(crate) port: Option<u16>,
    /// Segments of the path, none of them empty, `.` or `..`.
    pub(crate) segments: Vec<String>,
    pub(crate) options: Vec<(String, String)>,
}

/// Words in an option's name that say that its value is a secret.
const SECRET_WORDS: &[&str] =
    &["secret", "password", "passwd", "token", "credential", "access_key", "account_key", "sas"];

impl RemoteUrl {
    /// Reads what follows the scheme's colon. `known` are the options of the scheme. The error is a sentence
    /// for people.
    pub(crate) fn parse(rest: &str, known: &[&str]) -> Result<Self, String> {
        if rest.contains('#') {
            return Err("write %23 for # in a URL".into());
        }
        let Some(rest) = rest.strip_prefix("//") else {
            return Err("two slashes follow the colon of this kind of store".into());
        };
        let (before, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = before.split_once('/').unwrap_or((before, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        if user.is_some_and(|user| user.contains(':')) {
            return Err(NO_SECRETS.into());
        }
        let (host, port) = host_and_port(place)?;
        let mut segments = Vec::new();
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            match text(segment)? {
                dots if dots == "." || dots == ".." => {
                    return Err("a path with . or .. has no fixed place".into());
                }
                slash if slash.contains('/') => return Err("a part of a path cannot contain a slash".into()),
                segment => segments.push(segment),
            }
        }
        let options = query_pairs(query)?;
        for (position, (key, _)) in options.iter().enumerate() {
            if SECRET_WORDS.iter().any(|word| key.to_ascii_lowercase().contains(word)) {
                return Err(NO_SECRETS.into());
            }
            if !known.contains(&key.as_str()) {
                return Err(format!("{key} is no option of this store (it knows: {})", known.join(", ")));
            }
            if options[..position].iter().any(|(earlier, _)| earlier == key) {
                return Err(format!("{key} is given twice"));
            }
        }
        Ok(RemoteUrl { user: user.map(text).transpose()?, host, port, segments, options })
    }

    /// The value of an option.
    pub(crate) fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The path with a slash before each segment; empty without segments.
    pub(crate) fn path(&self) -> String {
        self.segments.iter().fold(String::new(), |path, segment| path + "/" + segment)
    }

    /// The host, which this scheme cannot do without. `what` names it for people.
    pub(crate) fn require_host(&self, what: &str) -> Result<&str, String> {
        match self.host.is_empty() {
            true => Err(format!("the URL lacks {what}")),
            false => Ok(&self.host),
        }
    }

    /// Refuses a user or a port, where the scheme has none.
    pub(crate) fn refuse_user_and_port(&self) -> Result<(), String> {
        match (&self.user, self.port) {
            (None, None) => Ok(()),
            _ => Err("this kind of store has no user and no port in its URL".into()),
        }
    }
}

const NO_SECRETS: &str = "a secret in a URL would be seen by everybody who sees the URL; \
    put it into the service's environment variables, or give it to 'keepfs store login'";

fn text(part: &str) -> Result<String, String> {
    String::from_utf8(decode(part)?).map_err(|_| format!("{part} does not decode to text"))
}

fn host_and_port(place: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, after)) => (format!("[{address}]"), after.strip_prefix(':')),
        None => match place.split_once(':') {
            Some((host, port)) => (text(host)?, Some(port)),
            None => (text(place)?, None),
        },
    };
    let port = match port {
        Some(port) => Some(port.parse().map_err(|_| format!("{port:?} is no port"))?),
        None => None,
    };
    // A host is handed to other programs and headers: nothing in it may mean something else there.
    let is_plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']');
    if host.starts_with('-') || !host.chars().all(is_plain) {
        return Err(format!("{host:?} is no host"));
    }
    Ok((host, port))
}

/// Writes a text so that it can stand in a path of a URL.
pub(crate) fn encode_segment(segment: &str) -> String {
    let mut encoded = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found() {
        let url = RemoteUrl::parse("//me@host:22/a%20b/c/?x=%26&y=", &["x", "y"]).unwrap();
        assert_eq!((url.user.as_deref(), url.host.as_str(), url.port), (Some("me"), "host", Some(22)));
        assert_eq!((url.path(), url.option("x"), url.option("y")), ("/a b/c".into(), Some("&"), Some("")));
        let url = RemoteUrl::parse("//[::1]:80", &[]).unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path()), ("[::1]", Some(80), String::new()));
        assert_eq!(RemoteUrl::parse("///folder", &[]).unwrap().segments, ["folder"]);
    }

    #[test]
    fn secrets_are_refused_with_a_sentence() {
        for rest in [
            "//me:pw@host/",
            "//b?secret_access_key=x",
            "//b?Password=x",
            "//b?sas_token=x",
            "//b?access_key_id=x",
        ] {
            let error = RemoteUrl::parse(rest, &["secret_access_key"]).unwrap_err();
            assert!(error.contains("store login") && !error.contains("pw"), "{rest}: {error}");
        }
    }

    #[test]
    fn bad_urls_say_why() {
        for rest in [
            "bucket",
            "//b/../c",
            "//b/%2e%2e",
            "//b#c",
            "//b?z=1",
            "//b?x=1&x=2",
            "//b:port/",
            "//-oProxy/",
            "//b%0a/",
            "//b/%2f",
        ] {
            assert!(RemoteUrl::parse(rest, &["x"]).is_err(), "{rest}");
        }
    }
}
