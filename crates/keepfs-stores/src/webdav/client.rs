//! Requests to a WebDAV server: one method each, with a deadline, errors told apart.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use keepfs_store::{Result, StoreError};

use super::Login;
use super::propfind::{Listed, read_listing};
use crate::remote::http::SILENCE_MAX;
use crate::remote::refusal::{EXPLANATION_LEN_MAX, Refusal, transport_error};
use crate::remote::runtime::{deadline, late};

/// Longest listing of one directory, in bytes of XML: about 100,000 objects.
const LISTING_LEN_MAX: usize = 64 << 20;

/// A server and the directory of the store on it.
pub(super) struct Client {
    http: reqwest::Client,
    /// Without a slash at its end.
    base: String,
    login: Login,
}

/// What a request came to, unless the server could not be understood at all.
pub(super) enum Answer {
    Done(reqwest::Response),
    Refused(Refusal),
}

impl Answer {
    /// The error that a refusal is; only the caller knows which refusals are answers.
    pub(super) fn done(self) -> Result<reqwest::Response> {
        match self {
            Answer::Done(response) => Ok(response),
            Answer::Refused(refusal) => Err(refusal.to_error()),
        }
    }

    pub(super) fn status(&self) -> u16 {
        match self {
            Answer::Done(response) => response.status().as_u16(),
            Answer::Refused(refusal) => refusal.status,
        }
    }
}

impl Client {
    pub(super) fn new(base: String, login: Login) -> Result<Self> {
        let base = base.trim_end_matches('/').to_owned();
        Ok(Client { http: crate::remote::http::client()?, base, login })
    }

    /// The URL of a path below the store's directory; nothing in our paths needs an escape.
    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }

    fn request(&self, method: Method, url: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, url);
        match &self.login {
            Login::Nobody => request,
            Login::Password { user, password } => request.basic_auth(user, Some(password.as_str())),
            Login::Token(token) => request.bearer_auth(token.as_str()),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder, limit: Duration) -> Result<Answer> {
        let mut response = match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(transport_error(&error)),
            Err(_) => return Err(late(limit)),
        };
        if response.status().is_success() {
            return Ok(Answer::Done(response));
        }
        let mut explanation = Vec::new();
        while explanation.len() < EXPLANATION_LEN_MAX {
            match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(chunk))) => explanation.extend_from_slice(&chunk),
                _ => break,
            }
        }
        // What is explained in a page for browsers is no code of a service.
        let explanation = if explanation.starts_with(b"<html") { &[][..] } else { &explanation };
        Ok(Answer::Refused(Refusal::read(response.status().as_u16(), response.headers(), explanation)))
    }

    /// Reads from `first` on, up to `last` if one is given.
    pub(super) async fn get(&self, path: &str, range: Option<(u64, u64)>) -> Result<Answer> {
        let mut request = self.request(Method::GET, &self.url(path));
        if let Some((first, last)) = range {
            request = request.header(http::header::RANGE, format!("bytes={first}-{last}"));
        }
        self.send(request, deadline(0)).await
    }

    pub(super) async fn head(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::HEAD, &self.url(path)), deadline(0)).await
    }

    pub(super) async fn put(&self, path: &str, body: Bytes) -> Result<Answer> {
        let limit = deadline(body.len() as u64);
        // A body of no bytes still has a length, which some servers insist on.
        let request =
            self.request(Method::PUT, &self.url(path)).header(http::header::CONTENT_LENGTH, body.len());
        self.send(request.body(body), limit).await
    }

    /// Gives a file another name, which may or may not be taken already.
    pub(super) async fn rename(&self, from: &str, to: &str, overwrite: bool) -> Result<Answer> {
        let request = self.request(method("MOVE"), &self.url(from));
        let request = request.header("Destination", self.url(to));
        let request = request.header("Overwrite", if overwrite { "T" } else { "F" });
        self.send(request, deadline(0)).await
    }

    pub(super) async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(self.request(Method::DELETE, &self.url(path)), deadline(0)).await
    }

    /// Makes a directory, whose parent must be there. One that is there already is no error.
    pub(super) async fn make_directory(&self, path: &str) -> Result<Answer> {
        self.send(
            self.request(method("MKCOL"), &(self.url(path).trim_end_matches('/').to_owned() + "/")),
            deadline(0),
        )
        .await
    }

    /// Makes the store's own directory with everything above it, as far as the server lets.
    pub(super) async fn make_base(&self) -> Result<()> {
        let after_host = self.base.find("://").map_or(0, |colon| colon + 3);
        let slashes = self.base[after_host..].match_indices('/').map(|(at, _)| at + after_host);
        for end in slashes.skip(1).chain([self.base.len()]) {
            let made = self
                .send(self.request(method("MKCOL"), &format!("{}/", &self.base[..end])), deadline(0))
                .await?;
            let _ = made;
        }
        match self.list("", 0).await? {
            Some(_) => Ok(()),
            None => Err(StoreError::io_never("the server did not make the directory")),
        }
    }

    /// What is in a directory (depth 1), or the properties of the path itself (depth 0); `None` if it is not there.
    pub(super) async fn list(&self, path: &str, depth: u8) -> Result<Option<Vec<Listed>>> {
        const PROPERTIES: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?><D:propfind xmlns:D=\"DAV:\"><D:prop>\
            <D:resourcetype/><D:getcontentlength/><D:getlastmodified/>\
            <D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>";
        let mut url = self.url(path);
        if depth > 0 && !url.ends_with('/') {
            url.push('/');
        }
        let request = self.request(method("PROPFIND"), &url);
        let request = request.header("Depth", depth.to_string());
        let request = request.header(http::header::CONTENT_TYPE, "application/xml").body(PROPERTIES);
        let answer = self.send(request, deadline(0)).await?;
        if answer.status() == StatusCode::NOT_FOUND.as_u16() {
            return Ok(None);
        }
        let body = body_of(answer.done()?, LISTING_LEN_MAX as u64).await?;
        let Some(body) = body else {
            return Err(StoreError::io_never("the server's listing of one directory is too long"));
        };
        read_listing(&body).map(Some)
    }
}

/// The body of an answer; `None` if it is longer than `limit`. One that ends early is an error.
pub(super) async fn body_of(mut response: reqwest::Response, limit: u64) -> Result<Option<Vec<u8>>> {
    let told = response.content_length();
    if told.is_some_and(|told| told > limit) {
        return Ok(None);
    }
    let mut body = Vec::with_capacity(usize::try_from(told.unwrap_or(0)).unwrap_or(0).min(1 << 20));
    while let Some(chunk) = next_chunk(&mut response).await? {
        if (body.len() + chunk.len()) as u64 > limit {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}

/// The next bytes of a body; `None` at its end.
pub(super) async fn next_chunk(response: &mut reqwest::Response) -> Result<Option<Bytes>> {
    match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) => Err(transport_error(&error)),
        Err(_) => Err(late(SILENCE_MAX)),
    }
}

fn method(name: &'static str) -> Method {
    Method::from_bytes(name.as_bytes()).expect("a word of capital letters is a method")
}
