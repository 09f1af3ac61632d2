//! The server: its listeners, its state, and what happens to one request.
//!
//! It owns the locks. A request holds that of the state while it is carried out; nothing is sent meanwhile.

use std::collections::{HashMap, HashSet};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use grammers_crypto::AuthKey;
use grammers_tl_types::{Deserializable, Serializable, enums};
use parking_lot::{Condvar, Mutex};
use tempfile::TempDir;

use crate::api::{Answer, Call, Push, Refusal};
use crate::connection::Connection;
use crate::counters::Counters;
use crate::error::Result;
use crate::faults::{Action, Faults, PUSH};
use crate::link::{Link, Outgoing, Owner};
use crate::rates::{Cost, Rates};
use crate::request::Request;
use crate::wire::envelope::KeyId;
use crate::wire::message_id::Kind;
use crate::wire::time_s;
use crate::world::World;
use crate::world::account::{KeyRecord, KeyState};
use crate::world::record::Record;

/// Connections that are open at once.
const CONNECTIONS_MAX: usize = 256;

/// How a server is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where the first data centre listens; port 0 takes a free one. Further ones take free ports.
    pub listen: SocketAddr,
    /// Where the state is kept; without it, it vanishes with the server.
    pub state: Option<PathBuf>,
    /// The numbers of the data centres; the first is home.
    pub data_centres: Vec<i32>,
}

/// A running server.
pub struct Server {
    pub(crate) world: Mutex<World>,
    pub(crate) counters: Mutex<Counters>,
    pub(crate) faults: Mutex<Faults>,
    pub(crate) rates: Mutex<Rates>,
    links: Mutex<HashMap<u64, Arc<Link>>>,
    sessions: Mutex<HashSet<(KeyId, i64)>>,
    addresses: Vec<(i32, SocketAddr)>,
    links_made: AtomicU64,
    is_stopped: Mutex<bool>,
    stopped: Condvar,
    /// Keeps a state that nobody wanted to keep until the server ends.
    _scratch: Option<TempDir>,
}

/// What a connection does with a request.
pub(crate) enum Verdict {
    Answer(Vec<u8>),
    AnswerLater(Vec<u8>, Duration),
    TransportError(i32),
    Close,
    Stall,
}

impl Server {
    /// Binds the listeners and serves from threads until the process ends.
    pub fn start(options: &Options) -> Result<Arc<Server>> {
        let scratch = if options.state.is_none() { Some(tempfile::tempdir()?) } else { None };
        let dir = scratch.as_ref().map(|dir| dir.path().to_owned()).or_else(|| options.state.clone());
        let mut world = World::open(&dir.unwrap_or_default(), options.state.is_some())?;
        let mut listeners = Vec::new();
        for (index, dc) in options.data_centres.iter().enumerate() {
            let port = if index == 0 { options.listen.port() } else { 0 };
            let listener = TcpListener::bind(SocketAddr::new(options.listen.ip(), port))?;
            listeners.push((*dc, listener));
        }
        if let Some(home) = options.data_centres.first() {
            world.settings.home_dc = *home;
            world.settings.document_dc = *home;
        }
        let mut addresses = Vec::new();
        for (dc, listener) in &listeners {
            addresses.push((*dc, listener.local_addr()?));
        }
        let server = Arc::new(Server {
            world: Mutex::new(world),
            counters: Mutex::default(),
            faults: Mutex::default(),
            rates: Mutex::default(),
            links: Mutex::default(),
            sessions: Mutex::default(),
            addresses,
            links_made: AtomicU64::new(1),
            is_stopped: Mutex::new(false),
            stopped: Condvar::new(),
            _scratch: scratch,
        });
        for (dc, listener) in listeners {
            let server = server.clone();
            std::thread::Builder::new()
                .name(format!("listen-{dc}"))
                .spawn(move || server.listen(dc, &listener))?;
        }
        Ok(server)
    }

    /// The data centres and where they listen.
    pub fn addresses(&self) -> &[(i32, SocketAddr)] {
        &self.addresses
    }

    fn listen(self: Arc<Server>, dc: i32, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            if self.links.lock().len() < CONNECTIONS_MAX {
                // A connection that cannot be served is closed by being dropped.
                let _ = self.clone().accept(dc, stream);
            }
        }
    }

    fn accept(self: Arc<Server>, dc: i32, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        let id = self.links_made.fetch_add(1, Ordering::Relaxed);
        let link = Arc::new(Link::start(id, &stream)?);
        self.links.lock().insert(id, link.clone());
        self.counters.lock().connections += 1;
        std::thread::Builder::new().name(format!("read-{id}")).spawn(move || {
            // How the connection ended is the client's affair: it is over either way.
            let _ = Connection::new(self.clone(), link.clone(), dc).run(&stream);
            link.close();
            self.links.lock().remove(&id);
        })?;
        Ok(())
    }

    /// The key with this number, if the server knows it.
    pub(crate) fn key(&self, id: KeyId) -> Option<Arc<AuthKey>> {
        self.world.lock().keys.get(&id).map(|key| key.key.clone())
    }

    /// Remembers a key that a client made.
    pub(crate) fn add_key(&self, key: &AuthKey) -> Result<()> {
        let record = KeyRecord::new(key.to_bytes(), KeyState::Anonymous);
        self.world.lock().commit(&Record::Key(record))
    }

    /// Whether a session is new. A key that is used from two addresses at once is given up, as Telegram does.
    pub(crate) fn greet(&self, link: &Link, owner: &Owner) -> Result<bool> {
        let is_elsewhere = self.links.lock().values().any(|other| {
            let is_same = other.owner.lock().as_ref().is_some_and(|other| other.key_id == owner.key_id);
            other.id != link.id && is_same && other.peer != link.peer
        });
        if is_elsewhere {
            let state = KeyState::Refused { code: 406, message: "AUTH_KEY_DUPLICATED".to_owned() };
            self.world.lock().commit(&Record::KeyState { key: owner.key_id, state })?;
        }
        Ok(self.sessions.lock().insert((owner.key_id, owner.session)))
    }

    /// Carries out one request of a connection, or the fault that was planned for it.
    pub(crate) fn handle(&self, link: &Link, owner: &Owner, dc: i32, request: &Request) -> Verdict {
        let method = request.method();
        self.counters.lock().request(method);
        let fault = self.faults.lock().next(method);
        match fault {
            Some(Action::Error { code, message }) => {
                return Verdict::Answer(self.refuse(&Refusal { code, message }));
            }
            Some(Action::TransportError { code }) => return Verdict::TransportError(code),
            Some(Action::DropBefore) => return Verdict::Close,
            Some(Action::Stall) => return Verdict::Stall,
            _ => {}
        }
        let (answer, pushes) = self.carry_out(owner, dc, request);
        let is_refused = answer.is_err();
        let bytes = answer.unwrap_or_else(|refusal| self.refuse(&refusal));
        // Updates come from home alone; elsewhere an account only fetches files.
        let is_home = dc == self.world.lock().settings.home_dc;
        if is_home && !is_refused && !request.is_without_updates {
            link.is_subscribed.store(true, Ordering::Relaxed);
        }
        for push in &pushes {
            self.push(push, Some(owner));
        }
        match fault {
            Some(Action::ErrorAfter { code, message }) => {
                Verdict::Answer(self.refuse(&Refusal { code, message }))
            }
            Some(Action::DropAfter) => Verdict::Close,
            Some(Action::Delay { ms }) => Verdict::AnswerLater(bytes, Duration::from_millis(ms)),
            Some(Action::Corrupt) => Verdict::Answer(change_content(bytes, |content| {
                let middle = content.len() / 2;
                content.iter_mut().skip(middle).take(1).for_each(|byte| *byte ^= 0x20);
            })),
            Some(Action::Short) => Verdict::Answer(change_content(bytes, |content| {
                content.pop();
            })),
            _ => Verdict::Answer(bytes),
        }
    }

    fn refuse(&self, refusal: &Refusal) -> Vec<u8> {
        self.counters.lock().error(&refusal.message);
        refusal.to_bytes()
    }

    fn carry_out(&self, owner: &Owner, dc: i32, request: &Request) -> (Answer, Vec<Push>) {
        let mut world = self.world.lock();
        if let Some(key) = world.keys.get_mut(&owner.key_id) {
            key.active_s = time_s();
            if let Some(device) = &request.device {
                key.device.clone_from(device);
            }
        }
        if let Some(user) = world.user_of(owner.key_id) {
            let cost = Cost {
                user,
                is_premium: world.accounts.get(&user).is_some_and(|account| account.is_premium),
                method: request.method(),
                bytes: request.content_len(),
            };
            let taken = self.rates.lock().take(&cost, Instant::now());
            if let Err(message) = taken {
                return (Err(Refusal { code: 420, message }), Vec::new());
            }
        }
        let mut counters = self.counters.lock();
        let mut call = Call {
            world: &mut world,
            counters: &mut counters,
            key: owner.key_id,
            dc,
            addresses: &self.addresses,
            pushes: Vec::new(),
        };
        let answer = call.dispatch(request.id, request.fields);
        (answer, call.pushes)
    }

    /// Sends an update to every session of its account but the one that caused it.
    pub(crate) fn push(&self, push: &Push, cause: Option<&Owner>) {
        let links: Vec<(Arc<Link>, Owner)> = self
            .links
            .lock()
            .values()
            .filter(|link| link.is_subscribed.load(Ordering::Relaxed))
            .filter_map(|link| Some((link.clone(), link.owner.lock().clone()?)))
            .collect();
        for (link, owner) in links {
            let is_cause =
                cause.is_some_and(|cause| (cause.key_id, cause.session) == (owner.key_id, owner.session));
            if is_cause || self.world.lock().user_of(owner.key_id) != Some(push.user) {
                continue;
            }
            let body = push.body.clone();
            let update = Outgoing::Message { owner, kind: Kind::Notice, is_content: true, body, due: None };
            match self.faults.lock().next(PUSH) {
                Some(Action::Lose) => {}
                Some(Action::Delay { ms }) => send_later(link, update, Duration::from_millis(ms)),
                Some(Action::DropBefore | Action::DropAfter) => link.close(),
                _ => link.try_send(update),
            }
        }
    }

    /// Lets [`Server::wait`] return.
    pub fn stop(&self) {
        *self.is_stopped.lock() = true;
        self.stopped.notify_all();
    }

    /// Waits until the server is stopped.
    pub fn wait(&self) {
        let mut is_stopped = self.is_stopped.lock();
        while !*is_stopped {
            self.stopped.wait(&mut is_stopped);
        }
    }

    /// Ends every connection.
    pub(crate) fn drop_connections(&self) {
        self.links.lock().values().for_each(|link| link.close());
    }

    /// Seconds after which another salt is wanted.
    pub(crate) fn salt_period_s(&self) -> i32 {
        self.world.lock().settings.salt_period_s
    }

    /// Milliseconds that an answer is on its way.
    pub(crate) fn round_trip_ms(&self) -> u64 {
        self.world.lock().settings.round_trip_ms
    }
}

/// Sends something after a while, and lets others overtake it.
pub(crate) fn send_later(link: Arc<Link>, outgoing: Outgoing, wait: Duration) {
    // Without a thread for it the message is lost, which a client has to bear anyway.
    let _ = std::thread::Builder::new().name("later".to_owned()).spawn(move || {
        std::thread::sleep(wait);
        link.send(outgoing);
    });
}

/// Changes the content of a file in an answer; other answers stay as they are.
fn change_content(answer: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    match enums::upload::File::from_bytes(&answer) {
        Ok(enums::upload::File::File(mut file)) => {
            change(&mut file.bytes);
            enums::upload::File::File(file).to_bytes()
        }
        _ => answer,
    }
}
