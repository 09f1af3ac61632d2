//! A login as it is kept on this machine: keys, addresses, account. Plain data; whoever keeps it seals it.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use crate::error::{Result, TelegramError};

/// Length of a key of the protocol, in bytes.
pub const KEY_LEN: usize = 256;
/// First line of a kept session.
const FIRST_LINE: &str = "keepfs telegram session 1";
/// Longest kept session that is read, in bytes.
const TEXT_LEN_MAX: usize = 64 << 10;

/// A key that opens the account. Wiped when dropped; never printed.
#[derive(Clone)]
pub struct AuthKey(Zeroizing<Vec<u8>>);

impl AuthKey {
    /// Takes the bytes of a key; nothing unless there are [`KEY_LEN`] of them.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == KEY_LEN).then(|| AuthKey(Zeroizing::new(bytes.to_vec())))
    }

    pub(crate) fn expose(&self) -> [u8; KEY_LEN] {
        let mut bytes = [0; KEY_LEN];
        bytes.copy_from_slice(&self.0);
        bytes
    }
}

/// Number of a data centre of Telegram.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Centre(pub(crate) i32);

/// One login.
#[derive(Clone)]
pub(crate) struct Session {
    /// The number of the user's own application.
    pub(crate) api_id: i32,
    /// Where the account lives.
    pub(crate) home: Centre,
    /// The account's number; zero while nobody has logged in.
    pub(crate) user: i64,
    /// Where the data centres are.
    pub(crate) addresses: BTreeMap<Centre, SocketAddr>,
    /// The keys agreed with them.
    pub(crate) keys: BTreeMap<Centre, AuthKey>,
}

impl Session {
    /// One that nobody has logged in with yet, with the addresses that Telegram's clients are built with.
    pub(crate) fn fresh(api_id: i32) -> Self {
        let known = grammers_session::SessionData::default();
        let addresses =
            known.dc_options.iter().map(|(id, option)| (Centre(*id), SocketAddr::V4(option.ipv4))).collect();
        Session { api_id, home: Centre(known.home_dc), user: 0, addresses, keys: BTreeMap::new() }
    }

    /// As text, to be sealed.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        use std::fmt::Write as _;
        let hex = |key: &AuthKey| {
            let mut text = Zeroizing::new(String::with_capacity(KEY_LEN * 2));
            for byte in key.0.iter() {
                // Writing to a string does not fail.
                let _ = write!(text, "{byte:02x}");
            }
            text
        };
        // Reserved at once: a text that grows leaves unwiped copies behind.
        let mut text = Zeroizing::new(String::with_capacity(TEXT_LEN_MAX));
        let _ = writeln!(text, "{FIRST_LINE}");
        let _ = writeln!(text, "api {}", self.api_id);
        let _ = writeln!(text, "home {}", self.home.0);
        let _ = writeln!(text, "user {}", self.user);
        for (centre, address) in &self.addresses {
            let _ = writeln!(text, "address {} {address}", centre.0);
        }
        for (centre, key) in &self.keys {
            let _ = writeln!(text, "key {} {}", centre.0, &**hex(key));
        }
        Zeroizing::new(text.as_bytes().to_vec())
    }

    /// Reads what [`Session::to_bytes`] wrote.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let unreadable = |detail: &str| TelegramError::SessionUnreadable { detail: detail.to_owned() };
        if bytes.len() > TEXT_LEN_MAX {
            return Err(unreadable("it is too long"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| unreadable("it is no text"))?;
        let mut lines = text.lines();
        if lines.next() != Some(FIRST_LINE) {
            return Err(unreadable("it is of another version"));
        }
        let mut session = Session::fresh(0);
        session.addresses.clear();
        for line in lines {
            session.read_line(line).ok_or_else(|| unreadable("a line does not decode"))?;
        }
        match session.user {
            0 => Err(unreadable("it names no account")),
            _ => Ok(session),
        }
    }

    fn read_line(&mut self, line: &str) -> Option<()> {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["api", number] => self.api_id = number.parse().ok()?,
            ["home", number] => self.home = Centre(number.parse().ok()?),
            ["user", number] => self.user = number.parse().ok()?,
            ["address", centre, address] => {
                self.addresses.insert(Centre(centre.parse().ok()?), address.parse().ok()?);
            }
            ["key", centre, hex] => {
                let bytes: Zeroizing<Vec<u8>> = Zeroizing::new(decode_hex(hex)?);
                self.keys.insert(Centre(centre.parse().ok()?), AuthKey::new(&bytes)?);
            }
            _ => return None,
        }
        Some(())
    }
}

fn decode_hex(hex: &str) -> Option<Vec<u8>> {
    if hex.len() != KEY_LEN * 2 || !hex.is_ascii() {
        return None;
    }
    (0..KEY_LEN).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let mut session = Session::fresh(77);
        session.user = 12;
        session.keys.insert(Centre(2), AuthKey::new(&[0xa5; KEY_LEN]).unwrap());
        session
    }

    #[test]
    fn session_comes_back() {
        let original = session();
        let read = Session::from_bytes(&original.to_bytes()).unwrap();
        assert_eq!((read.api_id, read.home, read.user), (77, original.home, 12));
        assert_eq!(read.addresses, original.addresses);
        assert_eq!(read.keys[&Centre(2)].expose(), [0xa5; KEY_LEN]);
    }

    #[test]
    fn damaged_session_is_refused_and_never_read_in_part() {
        let bytes = session().to_bytes();
        for cut in [0, 5, FIRST_LINE.len(), bytes.len() - 3] {
            assert!(Session::from_bytes(&bytes[..cut]).is_err(), "{cut}");
        }
        for line in ["key 2 00", "address x 1.2.3.4:5", "what 1", ""] {
            let mut longer = bytes.to_vec();
            longer.extend_from_slice(format!("{line}\n").as_bytes());
            assert!(Session::from_bytes(&longer).is_err(), "{line}");
        }
    }
}
