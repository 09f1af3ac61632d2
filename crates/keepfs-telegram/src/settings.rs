//! What this crate needs from whoever uses it: a keeper of the session, randomness, places, deadlines.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Result, TelegramError};
use crate::session::{AuthKey, Centre, Session};

/// Message number at which a channel is left for a new one. Of a channel only about the newest million messages
/// stay reachable, and users report trouble from 650,000 on.
pub const VOLUME_LEN_DEFAULT: i32 = 200_000;

/// Messages after which a channel gets a new anchor: as many as are looked at in ten requests.
pub const ANCHOR_DISTANCE_DEFAULT: i32 = 1_000;

/// The machine as this crate sees it.
pub trait Machine: Send + Sync {
    /// The kept session, opened; nothing if nobody has logged in. The error is a phrase for people.
    fn load_session(&self) -> std::result::Result<Option<Zeroizing<Vec<u8>>>, String>;

    /// Seals and keeps the session, in place of what was kept. The error is a phrase for people.
    fn save_session(&self, bytes: &[u8]) -> std::result::Result<(), String>;

    /// Forgets the session. The error is a phrase for people.
    fn remove_session(&self) -> std::result::Result<(), String>;

    /// Fills `out` with bytes that nobody can guess.
    fn fill_random(&self, out: &mut [u8]);
}

/// How long to wait for what may never come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Deadlines {
    /// For a connection to stand and to have said hello.
    pub connect: Duration,
    /// For the answer to a request, over however many connections.
    pub request: Duration,
    /// For the answer to a request that carries a part of a file, over however many connections.
    pub part: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Deadlines {
            connect: Duration::from_secs(10),
            request: Duration::from_secs(15),
            part: Duration::from_secs(60),
        }
    }
}

/// A server in place of Telegram's own, for tests: it shares a key with the client beforehand, because the keys
/// that Telegram's servers sign with are compiled into the protocol library.
#[derive(Clone)]
pub struct Endpoint {
    /// The data centre that stands for all that are not named beside it.
    pub first: TestCentre,
    /// Others, by their numbers.
    pub others: BTreeMap<i32, TestCentre>,
}

/// A data centre of a test: where it listens, and the key that it shares.
#[derive(Clone)]
pub struct TestCentre {
    /// Where it listens.
    pub address: SocketAddr,
    /// The shared key.
    pub key: AuthKey,
}

impl Endpoint {
    /// One server for everything.
    pub fn new(address: SocketAddr, key: AuthKey) -> Self {
        Endpoint { first: TestCentre { address, key }, others: BTreeMap::new() }
    }

    pub(crate) fn centre(&self, centre: Centre) -> &TestCentre {
        self.others.get(&centre.0).unwrap_or(&self.first)
    }
}

/// Everything that is decided outside.
#[derive(Clone)]
pub struct Settings {
    /// The machine.
    pub machine: Arc<dyn Machine>,
    /// A directory of this machine for indexes and unfinished uploads; it is made when needed. Nothing in it
    /// is secret beyond what the store sees anyway.
    pub directory: PathBuf,
    /// Deadlines.
    pub deadlines: Deadlines,
    /// Another server.
    pub endpoint: Option<Endpoint>,
    /// Message number at which a channel is left for a new one.
    pub volume_len_max: i32,
    /// Messages after which a channel gets a new anchor.
    pub anchor_distance: i32,
}

impl Settings {
    /// What is usual.
    pub fn new(machine: Arc<dyn Machine>, directory: PathBuf) -> Self {
        Settings {
            machine,
            directory,
            deadlines: Deadlines::default(),
            endpoint: None,
            volume_len_max: VOLUME_LEN_DEFAULT,
            anchor_distance: ANCHOR_DISTANCE_DEFAULT,
        }
    }

    pub(crate) fn load(&self) -> Result<Session> {
        let unreadable = |detail| TelegramError::SessionUnreadable { detail };
        let bytes = self.machine.load_session().map_err(unreadable)?.ok_or(TelegramError::NotLoggedIn)?;
        Session::from_bytes(&bytes)
    }

    pub(crate) fn save(&self, session: &Session) -> Result<()> {
        let failed = |detail| TelegramError::Local { detail };
        self.machine.save_session(&session.to_bytes()).map_err(failed)
    }

    /// A number that nobody can guess and nobody has drawn before.
    pub(crate) fn random_id(&self) -> i64 {
        let mut bytes = [0; 8];
        self.machine.fill_random(&mut bytes);
        i64::from_le_bytes(bytes)
    }
}
