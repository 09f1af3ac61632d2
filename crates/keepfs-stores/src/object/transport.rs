//! What stands between OpenDAL and the network: it bounds bodies, ends silences, and remembers refusals.
//!
//! OpenDAL's errors say less than the answers they come from: no wait that a server demands, no code of the
//! service. Each call therefore carries a record, in which the transport notes what was refused.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use http::{Request, Response};
use keepfs_store::StoreError;
use opendal::{Buffer, Error, ErrorKind, HttpBody, HttpTransport};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep};

use crate::remote::http::SILENCE_MAX;
use crate::remote::refusal::{EXPLANATION_LEN_MAX, Refusal, transport_error};
use crate::remote::runtime::deadline;

tokio::task_local! {
    static RECORD: Arc<Record>;
}

/// What one call of the store may read, and what it met.
#[derive(Default)]
pub(super) struct Record {
    /// Most bytes of an answer that the caller takes; none: no limit but the listing's own.
    pub(super) body_len_max: Option<u64>,
    noted: Mutex<Noted>,
}

/// What went wrong, in the words of whoever knows best.
#[derive(Default)]
pub(super) struct Noted {
    /// The last refusal.
    pub(super) refusal: Option<Refusal>,
    /// The last failure to get an answer at all.
    pub(super) failure: Option<StoreError>,
    /// An answer was longer than the caller takes; its length, if it was told.
    pub(super) too_large: Option<Option<u64>>,
}

impl Record {
    /// One that limits answers to so many bytes.
    pub(super) fn limited(body_len_max: u64) -> Self {
        Record { body_len_max: Some(body_len_max), noted: Mutex::default() }
    }

    /// Runs a call with this record, and gives back what was noted.
    pub(super) async fn around<T>(self, call: impl Future<Output = T>) -> (T, Noted) {
        let record = Arc::new(self);
        let result = RECORD.scope(record.clone(), call).await;
        let noted = std::mem::take(&mut *record.noted.lock());
        (result, noted)
    }
}

/// Notes something, if the task belongs to a call; parts of a large upload run in tasks of their own.
fn note(write: impl FnOnce(&mut Noted)) {
    let _ = RECORD.try_with(|record| write(&mut record.noted.lock()));
}

/// The client of this crate as OpenDAL's transport.
pub(super) struct Transport(pub(super) reqwest::Client);

impl HttpTransport for Transport {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (parts, body) = request.into_parts();
        let limit = deadline(body.len() as u64);
        let uri = parts.uri.to_string();
        let is_head = parts.method == http::Method::HEAD;
        let mut builder = self.0.request(parts.method, uri).headers(parts.headers);
        if !body.is_empty() {
            builder = builder.body(reqwest::Body::from(body.to_bytes()));
        }
        let response = match tokio::time::timeout(limit, builder.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(failed(transport_error(&error))),
            Err(_) => return Err(failed(crate::remote::runtime::late(limit))),
        };
        match response.status().as_u16() {
            400.. => refused(response).await,
            _ => accepted(response, is_head),
        }
    }
}

fn failed(error: StoreError) -> Error {
    let converted = Error::new(ErrorKind::Unexpected, error.to_string()).set_temporary();
    note(|noted| noted.failure = Some(error));
    converted
}

/// Reads the explanation, notes it, and passes it on for OpenDAL to make its own sense of.
async fn refused(mut response: reqwest::Response) -> opendal::Result<Response<HttpBody>> {
    let mut explanation = Vec::new();
    while explanation.len() < EXPLANATION_LEN_MAX {
        match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
            Ok(Ok(Some(chunk))) => explanation.extend_from_slice(&chunk),
            // The status alone is a refusal.
            _ => break,
        }
    }
    let refusal = Refusal::read(response.status().as_u16(), response.headers(), &explanation);
    note(|noted| noted.refusal = Some(refusal));
    let mut converted = Response::new(HttpBody::new(Whole(Some(Bytes::from(explanation))), None));
    *converted.status_mut() = response.status();
    *converted.headers_mut() = response.headers().clone();
    Ok(converted)
}

fn accepted(response: reqwest::Response, is_head: bool) -> opendal::Result<Response<HttpBody>> {
    let told_len = response.headers().get(http::header::CONTENT_LENGTH);
    let told_len: Option<u64> =
        told_len.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let limit = RECORD.try_with(|record| record.body_len_max).unwrap_or_default().unwrap_or(u64::MAX);
    if let Some(len) = told_len
        && len > limit
        && !is_head
    {
        return Err(too_large(Some(len)));
    }
    let (status, headers) = (response.status(), response.headers().clone());
    let body = Watched {
        stream: Box::pin(response.bytes_stream()),
        left: limit,
        silence: Box::pin(sleep(SILENCE_MAX)),
    };
    let mut converted = Response::new(HttpBody::new(body, if is_head { None } else { told_len }));
    *converted.status_mut() = status;
    *converted.headers_mut() = headers;
    Ok(converted)
}

fn too_large(len: Option<u64>) -> Error {
    note(|noted| noted.too_large = Some(len));
    Error::new(ErrorKind::Unexpected, "the answer is longer than was asked for")
}

/// A body of which a bounded number of bytes is read, and which may not be silent for long.
struct Watched {
    stream: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send + Sync>>,
    left: u64,
    silence: Pin<Box<Sleep>>,
}

impl Stream for Watched {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let Poll::Ready(item) = self.stream.as_mut().poll_next(context) else {
                ready!(self.silence.as_mut().poll(context));
                return Poll::Ready(Some(Err(failed(crate::remote::runtime::late(SILENCE_MAX)))));
            };
            self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
            return Poll::Ready(match item {
                None => None,
                Some(Err(error)) => Some(Err(failed(transport_error(&error)))),
                Some(Ok(chunk)) if chunk.is_empty() => continue,
                Some(Ok(chunk)) => match self.left.checked_sub(chunk.len() as u64) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(Buffer::from(chunk)))
                    }
                    None => Some(Err(too_large(None))),
                },
            });
        }
    }
}

/// A body that is there already.
struct Whole(Option<Bytes>);

impl Stream for Whole {
    type Item = opendal::Result<Buffer>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().filter(|bytes| !bytes.is_empty()).map(|bytes| Ok(Buffer::from(bytes))))
    }
}
