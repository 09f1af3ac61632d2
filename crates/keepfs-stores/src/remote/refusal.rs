//! What a server answers when it refuses, and the one table from there to store errors.

use std::time::{Duration, SystemTime};

use keepfs_store::{Retry, StoreError};

use super::refusal_text::shown;

/// Most of a server's explanation that is read, in bytes.
pub(crate) const EXPLANATION_LEN_MAX: usize = 16 << 10;

/// Longest wait that a server may demand and get; more is an error for people.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// One refusal.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// The service's own word for it, where it has one.
    pub(crate) code: String,
    /// Its explanation, shortened.
    pub(crate) message: String,
    /// How long to wait.
    pub(crate) retry_after: Option<Duration>,
}

impl Refusal {
    /// Takes an answer apart.
    pub(crate) fn read(status: u16, headers: &http::HeaderMap, body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(&body[..body.len().min(EXPLANATION_LEN_MAX)]);
        let code = between(&body, "<Code>", "</Code>")
            .or_else(|| quoted_after(&body, "\"code\""))
            .or_else(|| quoted_after(&body, "\"error_summary\""))
            .or_else(|| quoted_after(&body, "\"error\""));
        let message = between(&body, "<Message>", "</Message>")
            .or_else(|| quoted_after(&body, "\"message\""))
            .or_else(|| quoted_after(&body, "\"error_description\""));
        let retry_after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
        Refusal {
            status,
            code: shown(code.unwrap_or_default()),
            message: shown(message.unwrap_or_default()),
            retry_after: retry_after.and_then(wait_of),
        }
    }

    /// For people.
    fn detail(&self, advice: &str) -> String {
        let mut detail = format!("status {}", self.status);
        for part in [self.code.as_str(), self.message.as_str(), advice] {
            if !part.is_empty() {
                detail += ": ";
                detail += part;
            }
        }
        detail
    }

    /// The store error that it is, unless it is an answer about one object, which only the caller can tell.
    pub(crate) fn to_error(&self) -> StoreError {
        if let Some(error) = self.by_code() {
            return error;
        }
        let detail = self.detail("");
        let later = Retry::Soon;
        match self.status {
            401 | 403 => StoreError::Denied { detail },
            405 => StoreError::ReadOnly { detail: self.detail("it does not allow this method here") },
            408 | 425 | 429 | 502 | 503 | 504 => StoreError::Unavailable { detail, retry: self.wait() },
            409 | 423 | 500 => StoreError::Io { detail, retry: later },
            413 => StoreError::io_never(
                self.detail("it does not take an object of this length; raise its limit"),
            ),
            507 => StoreError::Full { detail },
            _ => StoreError::io_never(detail),
        }
    }

    /// Words that say more than the status. From the lists of errors of S3 (API reference, "Error responses"),
    /// B2 (native API, "errors") and the drives.
    fn by_code(&self) -> Option<StoreError> {
        let has = |words: &[&str]| words.iter().any(|word| self.code.contains(word));
        let denied = |advice: &str| Some(StoreError::Denied { detail: self.detail(advice) });
        if has(&["RequestTimeTooSkewed", "RequestExpired"]) {
            return denied("the clock of this machine and that of the service differ too much; set it right");
        }
        if has(&["ExpiredToken", "expired_auth_token", "expired_access_token", "TokenRefreshRequired"]) {
            return denied("the token has expired; give it a new one");
        }
        if has(&[
            "InvalidAccessKeyId",
            "SignatureDoesNotMatch",
            "InvalidToken",
            "bad_auth_token",
            "invalid_grant",
        ]) {
            return denied("the credentials are wrong");
        }
        if has(&["NoSuchBucket", "ContainerNotFound", "invalid_bucket_id"]) {
            return Some(StoreError::invalid(self.detail("there is no such bucket; make it first")));
        }
        if has(&["PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraint"]) {
            return Some(StoreError::invalid(self.detail("the bucket is in another region; give region=")));
        }
        if has(&[
            "Quota",
            "quota",
            "StorageFull",
            "InsufficientStorage",
            "storage_cap_exceeded",
            "insufficient_space",
        ]) {
            return Some(StoreError::Full { detail: self.detail("") });
        }
        if has(&["EntityTooLarge"]) {
            return Some(StoreError::io_never(self.detail("it does not take an object of this length")));
        }
        if has(&["SlowDown", "RequestTimeout", "too_many_requests", "rateLimitExceeded", "ServerBusy"]) {
            return Some(StoreError::Unavailable { detail: self.detail(""), retry: self.wait() });
        }
        if has(&["InternalError"]) {
            return Some(StoreError::io_soon(self.detail("")));
        }
        None
    }

    fn wait(&self) -> Retry {
        match self.retry_after {
            Some(wait) if wait > RETRY_AFTER_MAX => Retry::Never,
            Some(wait) => Retry::After(wait),
            None => Retry::Soon,
        }
    }
}

/// What did not even become an answer.
pub(crate) fn transport_error(error: &reqwest::Error) -> StoreError {
    let mut chain = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        // The first link tells the address, which may hold a token; the rest say what was wrong.
        if !chain.is_empty() || error.source().is_none() {
            chain += &error.to_string();
            chain += ": ";
        } else {
            chain += " ";
        }
        cause = error.source();
    }
    let detail = shown(chain.trim().trim_end_matches(':').to_owned());
    let is_tls = ["certificate", "CertNotValid", "UnknownIssuer", "HandshakeFailure", "InvalidContentType"]
        .iter()
        .any(|word| detail.contains(word));
    if is_tls {
        let advice = "if the server is the right one, name the authority of its certificate by SSL_CERT_FILE";
        let detail = format!("its TLS is not to be trusted: {detail}; {advice}");
        return StoreError::Unavailable { detail, retry: Retry::Never };
    }
    let retry = if error.is_connect() { Retry::Later } else { Retry::Soon };
    StoreError::Unavailable { detail, retry }
}

/// A wait in seconds, or until a date (RFC 9110, section 10.2.3).
fn wait_of(value: &str) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value.trim()).ok()?;
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn between(text: &str, start: &str, end: &str) -> Option<String> {
    let (_, after) = text.split_once(start)?;
    Some(after.split_once(end)?.0.to_owned())
}

/// The JSON string that follows a key, as it stands.
fn quoted_after(text: &str, key: &str) -> Option<String> {
    let (_, after) = text.split_once(key)?;
    let value = after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    Some(value.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(status: u16, body: &str) -> StoreError {
        Refusal::read(status, &http::HeaderMap::new(), body.as_bytes()).to_error()
    }

    #[test]
    fn every_kind_of_refusal_has_its_class() {
        let code = |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>why</Message></Error>");
        assert!(matches!(refusal(403, &code("SignatureDoesNotMatch")), StoreError::Denied { .. }));
        assert!(refusal(403, &code("RequestTimeTooSkewed")).to_string().contains("clock"));
        assert!(refusal(400, &code("ExpiredToken")).to_string().contains("expired"));
        assert!(matches!(refusal(404, &code("NoSuchBucket")), StoreError::Invalid { .. }));
        assert!(matches!(refusal(403, &code("QuotaExceeded")), StoreError::Full { .. }));
        assert!(matches!(refusal(507, ""), StoreError::Full { .. }));
        assert!(matches!(refusal(405, ""), StoreError::ReadOnly { .. }));
        assert_eq!(refusal(503, &code("SlowDown")).retry(), Retry::Soon);
        assert_eq!(refusal(500, "").retry(), Retry::Soon);
        assert_eq!(refusal(413, "").retry(), Retry::Never);
        assert_eq!(refusal(418, "").retry(), Retry::Never);
        let json = r#"{"code": "storage_cap_exceeded", "message": "full"}"#;
        assert!(matches!(refusal(403, json), StoreError::Full { .. }));
    }

    #[test]
    fn a_demanded_wait_is_kept_and_bounded() {
        let class = |value: &str| {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::RETRY_AFTER, value.parse().unwrap());
            Refusal::read(429, &headers, b"").to_error().retry()
        };
        assert_eq!(class("7"), Retry::After(Duration::from_secs(7)));
        assert_eq!(class("Wed, 21 Oct 2015 07:28:00 GMT"), Retry::After(Duration::ZERO));
        assert_eq!(class("999999999"), Retry::Never);
        assert_eq!(class("soon"), Retry::Soon);
    }

    #[test]
    fn hostile_explanations_stay_short_and_on_one_line() {
        let body = format!("<Code>a\nb\u{1b}[2J</Code><Message>{}</Message>", "x".repeat(100_000));
        let text = refusal(400, &body).to_string();
        assert!(text.len() < 1000 && !text.contains('\n') && !text.contains('\u{1b}'), "{text}");
    }
}
