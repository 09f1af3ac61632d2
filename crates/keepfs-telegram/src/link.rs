//! One connection with our own deadlines: opened, greeted, asked one thing at a time.
//!
//! Built on the protocol library's bare connection, not on its pool: the pool makes a new key when it is told that
//! the old one is unknown, and has no deadlines. Here a key is only ever used, and whatever is late is thrown away.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use grammers_mtproto::{mtp, transport};
use grammers_mtsender::{Sender, ServerAddr};
use grammers_session::updates::UpdatesLike;
use grammers_tl_types as tl;
use tl::RemoteCall;
use tokio::time::timeout;

use crate::error::{Result, TelegramError};
use crate::session::AuthKey;

/// A connection that was quiet for longer may be dead without anybody having noticed: it is not used again.
const IDLE_MAX: Duration = Duration::from_secs(40);

/// Where to connect, and as whom.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    pub(crate) key: AuthKey,
    pub(crate) api_id: i32,
}

/// An open connection.
pub(crate) struct Link {
    sender: Sender<transport::Full, mtp::Encrypted>,
    used: Instant,
}

impl Link {
    /// Connects and says hello within `deadline`. To a quiet link the server pushes nothing.
    pub(crate) async fn open(target: &Target, is_quiet: bool, deadline: Duration) -> Result<Self> {
        let opening = async {
            // Sealed bytes do not compress; trying costs more than their encryption.
            let encrypted = mtp::Encrypted::build().compression_threshold(None).finish(target.key.expose());
            let address = ServerAddr::Tcp { address: target.address };
            let sender = Sender::connect(transport::Full::new(), encrypted, address)
                .await
                .map_err(|error| TelegramError::broken(error.to_string()))?;
            let mut link = Link { sender, used: Instant::now() };
            let config = tl::functions::help::GetConfig {};
            match is_quiet {
                true => {
                    let config = tl::functions::InvokeWithoutUpdates { query: config };
                    link.ask(&hello(target.api_id, config)).await?
                }
                false => link.ask(&hello(target.api_id, config)).await?,
            };
            Ok(link)
        };
        timeout(deadline, opening)
            .await
            .unwrap_or_else(|_| Err(late("the connection did not stand within", deadline)))
    }

    /// Asks one thing. After [`TelegramError::Broken`] the link is of no use any more.
    pub(crate) async fn invoke<R: RemoteCall>(
        &mut self,
        request: &R,
        deadline: Duration,
    ) -> Result<R::Return> {
        timeout(deadline, self.ask(request))
            .await
            .unwrap_or_else(|_| Err(late("there was no answer within", deadline)))
    }

    async fn ask<R: RemoteCall>(&mut self, request: &R) -> Result<R::Return> {
        let answer = self.sender.invoke(request).await;
        self.used = Instant::now();
        answer.map_err(|error| TelegramError::of_invocation(&error))
    }

    /// Waits for what the server sends unasked; nothing if nothing came within `wait`.
    pub(crate) async fn hear(&mut self, wait: Duration) -> Result<Vec<UpdatesLike>> {
        match timeout(wait, self.sender.step()).await {
            Ok(Ok(updates)) => Ok(updates),
            Ok(Err(error)) => Err(TelegramError::broken(error.to_string())),
            Err(_) => Ok(Vec::new()),
        }
    }

    /// Whether it may be used once more.
    pub(crate) fn is_fresh(&self) -> bool {
        self.used.elapsed() < IDLE_MAX
    }
}

/// Agrees on a new key with a data centre that has none of ours.
pub(crate) async fn new_key(address: SocketAddr, deadline: Duration) -> Result<AuthKey> {
    let address = ServerAddr::Tcp { address };
    let agreed = timeout(deadline, grammers_mtsender::connect(transport::Full::new(), address)).await;
    let sender = agreed
        .map_err(|_| late("no key was agreed within", deadline))?
        .map_err(|error| TelegramError::broken(format!("no key was agreed: {error}")))?;
    AuthKey::new(&sender.auth_key()).ok_or_else(|| TelegramError::broken("the agreed key has a wrong length"))
}

fn late(what: &str, deadline: Duration) -> TelegramError {
    TelegramError::broken(format!("{what} {} ms", deadline.as_millis()))
}

type Hello<R> = tl::functions::InvokeWithLayer<tl::functions::InitConnection<R>>;

/// The first request on every connection, around the second.
fn hello<R>(api_id: i32, query: R) -> Hello<R> {
    tl::functions::InvokeWithLayer {
        layer: tl::LAYER,
        query: tl::functions::InitConnection {
            api_id,
            device_model: std::env::consts::ARCH.to_owned(),
            system_version: std::env::consts::OS.to_owned(),
            app_version: env!("CARGO_PKG_VERSION").to_owned(),
            system_lang_code: "en".to_owned(),
            lang_pack: String::new(),
            lang_code: "en".to_owned(),
            proxy: None,
            params: None,
            query,
        },
    }
}
