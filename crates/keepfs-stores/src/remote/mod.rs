//! What every store in the network needs: its URL, a runtime to wait in, deadlines, which names there are, and
//! one table from a server's refusals to store errors.

pub(crate) mod create;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod names;
#[cfg(feature = "http")]
pub(crate) mod refusal;
pub(crate) mod refusal_text;
pub(crate) mod runtime;
pub(crate) mod url;

pub(crate) use create::{CREATE_OPTION, Create};
pub(crate) use runtime::block_on;
pub(crate) use url::RemoteUrl;
