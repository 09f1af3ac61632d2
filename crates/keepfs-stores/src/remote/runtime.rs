//! The runtime in which the stores of this crate wait for the network. Callers block; they never see it.

use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use keepfs_store::{Result, Retry, StoreError};
use tokio::runtime::{Builder, Runtime};

/// Threads that move bytes; callers bring their own thread to wait in.
const THREADS: usize = 2;

/// What a call may take apart from its bytes: a slow service's answer, a new connection, a second request.
const CALL_WAIT_MAX: Duration = Duration::from_secs(60);

/// A line slower than this many bytes in a second is taken for dead.
const BYTES_PER_SECOND_MIN: u64 = 8 << 10;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The runtime, made on first use: a process that forks or detaches does so before.
pub(crate) fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let made =
        Builder::new_multi_thread().worker_threads(THREADS).thread_name("keepfs-store").enable_all().build();
    let made =
        made.map_err(|error| StoreError::io_soon(format!("starting threads for the network: {error}")))?;
    // Of two threads that come first at once, one throws its runtime away.
    Ok(RUNTIME.get_or_init(|| made))
}

/// How long a call may take that moves `len` bytes.
pub(crate) fn deadline(len: u64) -> Duration {
    CALL_WAIT_MAX + Duration::from_secs(len / BYTES_PER_SECOND_MIN)
}

/// Waits in the calling thread until `call` has ended or its time is up.
pub(crate) fn block_on<T>(limit: Duration, call: impl Future<Output = Result<T>>) -> Result<T> {
    runtime()?.block_on(async {
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result,
            Err(_) => Err(late(limit)),
        }
    })
}

/// Too late: the server may have done it or not.
pub(crate) fn late(limit: Duration) -> StoreError {
    let detail = format!("no answer within {} seconds", limit.as_secs());
    StoreError::Unavailable { detail, retry: Retry::Soon }
}
