//! What a command says when it fails: one sentence, where, what to do about it, and an exit code.
//!
//! It travels: the daemon sends it to the command that started it and over the control socket, so that the
//! sentence is the same whoever met the trouble. It never carries a password or a name from inside a vault.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;

/// Result of everything in this crate.
pub(crate) type Result<T, E = Failure> = std::result::Result<T, E>;

/// One failure, ready to be shown.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Failure {
    /// How the process should end.
    pub(crate) exit: Exit,
    /// What is wrong, a sentence without its full stop.
    pub(crate) what: String,
    /// The path, URL or option it is about.
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<String>,
    /// What the reader can do now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) advice: Option<String>,
}

impl Failure {
    /// A failure with its code and its sentence.
    pub(crate) fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { exit, what: what.into(), place: None, advice: None }
    }

    /// The ordinary failure, exit code 1.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::new(Exit::Failed, what)
    }

    /// A call that lacks something or contradicts itself, exit code 2.
    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(Exit::Usage, what)
    }

    /// The path, URL or option it is about.
    pub(crate) fn at(mut self, place: impl fmt::Display) -> Self {
        self.place = Some(place.to_string());
        self
    }

    /// What the reader can do now.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line whatever a library put into its message: scripts and journals read lines.
        let flat = |text: &str| text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
        write!(out, "{}", flat(&self.what))?;
        if let Some(place) = &self.place {
            write!(out, " ({})", flat(place))?;
        }
        if let Some(advice) = &self.advice {
            write!(out, "; {}", flat(advice))?;
        }
        Ok(())
    }
}

/// Turns an I/O error into a failure that says what was being done.
pub(crate) trait Doing<T> {
    /// `what` reads as "cannot …".
    fn doing(self, what: &str) -> Result<T>;
}

impl<T, E: fmt::Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: &str) -> Result<T> {
        self.map_err(|error| Failure::failed(format!("cannot {what}: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failure_is_one_line() {
        let failure = Failure::failed("first\nsecond").at("/a\n/b").advise("do\r\nthis");
        assert_eq!(failure.to_string(), "first second (/a /b); do  this");
    }

    #[test]
    fn failure_survives_the_socket() {
        let failure = Failure::new(Exit::Locked, "held").at("/m");
        let line = serde_json::to_string(&failure).unwrap();
        assert_eq!(line, r#"{"exit":"locked","what":"held","where":"/m"}"#);
        assert_eq!(serde_json::from_str::<Failure>(&line).unwrap(), failure);
    }
}
