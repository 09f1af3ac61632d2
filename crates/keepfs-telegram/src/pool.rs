//! Connections to the account's data centres: opened when needed, thrown away on any doubt, never trusted.
//!
//! Every request is asked on a connection of its own for that time, in a task of its own: the protocol library
//! panics on answers that make no sense, and such a panic is a broken connection here and nothing more.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use grammers_tl_types as tl;
use parking_lot::{Mutex, RwLock};
use tl::RemoteCall;
use tokio::sync::Semaphore;

use crate::error::{Result, TelegramError};
use crate::flow::{Flow, Kind, PARTS_MAX};
use crate::link::{Link, Target, new_key};
use crate::session::{Centre, Session};
use crate::settings::Settings;

/// How often a request is asked when connections break under it.
const ATTEMPTS_MAX: usize = 3;
/// Connections at once, at most: parts, and what goes beside them.
const LINKS_MAX: usize = PARTS_MAX + 2;

/// The connections of one login.
pub(crate) struct Pool {
    pub(crate) settings: Settings,
    pub(crate) flow: Flow,
    session: RwLock<Session>,
    idle: Mutex<HashMap<Centre, Vec<Link>>>,
    places: Semaphore,
    authorizing: tokio::sync::Mutex<()>,
}

/// A request that brings no pushes to the connection it is asked on.
type Quiet<R> = tl::functions::InvokeWithoutUpdates<R>;

impl Pool {
    pub(crate) fn new(settings: Settings, session: Session) -> Self {
        Pool {
            settings,
            flow: Flow::new(),
            session: RwLock::new(session),
            idle: Mutex::new(HashMap::new()),
            places: Semaphore::new(LINKS_MAX),
            authorizing: tokio::sync::Mutex::new(()),
        }
    }

    /// The account's own data centre.
    pub(crate) fn home(&self) -> Centre {
        self.session.read().home
    }

    /// The session as it is now.
    pub(crate) fn session(&self) -> Session {
        self.session.read().clone()
    }

    /// Changes the session in memory; connections made before are not used again.
    pub(crate) fn change_session(&self, change: impl FnOnce(&mut Session)) {
        change(&mut self.session.write());
        self.idle.lock().clear();
    }

    /// Asks at home, again on a new connection if one breaks. Only for requests that do the same twice as once.
    pub(crate) async fn ask<R>(&self, kind: Kind, request: R) -> Result<R::Return>
    where
        R: RemoteCall + Send + Sync + 'static,
        R::Return: Send + 'static,
    {
        self.ask_at(self.home(), kind, request).await
    }

    /// The same at any data centre.
    pub(crate) async fn ask_at<R>(&self, centre: Centre, kind: Kind, request: R) -> Result<R::Return>
    where
        R: RemoteCall + Send + Sync + 'static,
        R::Return: Send + 'static,
    {
        let request = Arc::new(Quiet { query: request });
        // A connection that has died unnoticed costs half of the time, and another one gets the other half.
        let (began, deadline) = (Instant::now(), self.deadline(kind));
        let mut attempt = 1;
        loop {
            let outcome = self.ask_within(deadline / 2, centre, kind, Arc::clone(&request)).await;
            match outcome {
                Err(error) if error.is_broken() && attempt < ATTEMPTS_MAX && began.elapsed() < deadline => {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// Asks at home, once: for requests that must not take effect twice.
    pub(crate) async fn ask_once<R>(&self, kind: Kind, request: R) -> Result<R::Return>
    where
        R: RemoteCall + Send + Sync + 'static,
        R::Return: Send + 'static,
    {
        let request = Arc::new(Quiet { query: request });
        self.ask_within(self.deadline(kind), self.home(), kind, request).await
    }

    async fn ask_within<R>(
        &self,
        deadline: Duration,
        centre: Centre,
        kind: Kind,
        request: Arc<R>,
    ) -> Result<R::Return>
    where
        R: RemoteCall + Send + Sync + 'static,
        R::Return: Send + 'static,
    {
        self.flow.enter(kind).await?;
        let closed = |_| TelegramError::broken("the connections are closed");
        let _place = self.places.acquire().await.map_err(closed)?;
        let mut link = self.link(centre).await?;
        let asking = tokio::spawn(async move {
            let outcome = link.invoke(&*request, deadline).await;
            (link, outcome)
        });
        let outcome = match asking.await {
            Ok((link, outcome)) => {
                match &outcome {
                    // What broke one connection has often broken all of them.
                    Err(error) if error.is_broken() => self.idle.lock().clear(),
                    _ => self.idle.lock().entry(centre).or_default().push(link),
                }
                outcome
            }
            Err(panic) => Err(TelegramError::broken(format!("the answer made no sense ({panic})"))),
        };
        self.flow.note(kind, &outcome);
        outcome
    }

    fn deadline(&self, kind: Kind) -> Duration {
        match kind {
            Kind::Look | Kind::Message => self.settings.deadlines.request,
            Kind::Upload | Kind::Download => self.settings.deadlines.part,
        }
    }

    async fn link(&self, centre: Centre) -> Result<Link> {
        loop {
            let idle = self.idle.lock().get_mut(&centre).and_then(Vec::pop);
            match idle {
                Some(link) if link.is_fresh() => return Ok(link),
                Some(_) => {}
                None => return self.open(centre, true).await,
            }
        }
    }

    /// A new connection; to a quiet one the server pushes nothing.
    pub(crate) async fn open(&self, centre: Centre, is_quiet: bool) -> Result<Link> {
        let target = self.target(centre).ok_or(TelegramError::NotLoggedIn)?;
        let deadline = self.settings.deadlines.connect;
        let opening = tokio::spawn(async move { Link::open(&target, is_quiet, deadline).await });
        let panicked = |panic| TelegramError::broken(format!("the greeting made no sense ({panic})"));
        opening.await.map_err(panicked)?
    }

    fn target(&self, centre: Centre) -> Option<Target> {
        let session = self.session.read();
        let address = match &self.settings.endpoint {
            Some(endpoint) => endpoint.centre(centre).address,
            None => *session.addresses.get(&centre)?,
        };
        let key = session.keys.get(&centre)?.clone();
        Some(Target { address, key, api_id: session.api_id })
    }

    /// Makes sure that there is a key for a data centre, without logging in there.
    pub(crate) async fn ensure_key(&self, centre: Centre) -> Result<()> {
        if self.session.read().keys.contains_key(&centre) {
            return Ok(());
        }
        let key = match &self.settings.endpoint {
            Some(endpoint) => endpoint.centre(centre).key.clone(),
            None => {
                let address = self.session.read().addresses.get(&centre).copied();
                let unknown = || TelegramError::broken(format!("data centre {} is unknown", centre.0));
                new_key(address.ok_or_else(unknown)?, self.settings.deadlines.connect).await?
            }
        };
        self.session.write().keys.insert(centre, key);
        Ok(())
    }

    /// Another data centre no longer knows the account: the next login there begins anew.
    pub(crate) fn forget_login_at(&self, centre: Centre) {
        if centre != self.home() {
            self.change_session(|session| {
                session.keys.remove(&centre);
            });
        }
    }

    /// Makes sure that a data centre other than home knows the account, and keeps what was agreed.
    pub(crate) async fn ensure_login_at(&self, centre: Centre) -> Result<()> {
        if centre == self.home() || self.session.read().keys.contains_key(&centre) {
            return Ok(());
        }
        let _alone = self.authorizing.lock().await;
        if self.session.read().keys.contains_key(&centre) {
            return Ok(());
        }
        let export = tl::functions::auth::ExportAuthorization { dc_id: centre.0 };
        let tl::enums::auth::ExportedAuthorization::Authorization(ticket) =
            self.ask_once(Kind::Message, export).await?;
        self.ensure_key(centre).await?;
        let import = tl::functions::auth::ImportAuthorization { id: ticket.id, bytes: ticket.bytes };
        let deadline = self.deadline(Kind::Message);
        let imported =
            self.ask_within(deadline, centre, Kind::Message, Arc::new(Quiet { query: import })).await;
        if let Err(error) = imported {
            self.session.write().keys.remove(&centre);
            return Err(error);
        }
        self.settings.save(&self.session())
    }
}
