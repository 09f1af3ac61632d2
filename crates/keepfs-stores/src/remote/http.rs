//! The one HTTP client of all stores that speak HTTP: its pool of connections, its TLS, its deadlines.

use std::sync::OnceLock;
use std::time::Duration;

use keepfs_store::{Result, StoreError};

/// Longest wait for a connection.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(10);

/// Longest silence while a body is read, or while sent bytes are not acknowledged.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(30);

/// How long an idle connection is kept: servers close theirs after a minute or so.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;

static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();

/// The client, made on first use.
pub(crate) fn client() -> Result<reqwest::Client> {
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let made = reqwest::Client::builder()
        .user_agent(concat!("keepfs/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_WAIT_MAX)
        .tcp_user_timeout(SILENCE_MAX)
        .tcp_keepalive(SILENCE_MAX)
        .tcp_nodelay(true)
        .pool_idle_timeout(IDLE_MAX)
        .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
        .build()
        .map_err(|error| StoreError::io_never(format!("preparing TLS: {error}")))?;
    Ok(CLIENT.get_or_init(|| made).clone())
}
