//! What was asked and answered, counted, so that a test can prove what a client did not do.

use std::collections::BTreeMap;

use serde::Serialize;

/// A completed document.
#[derive(Debug, Clone, Serialize)]
pub struct Completed {
    /// Its number.
    pub document: i64,
    /// Its file name.
    pub name: String,
    /// Its bytes.
    pub size: u64,
}

/// Counts since the server began.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Counters {
    /// Requests by method, refused ones too.
    pub requests: BTreeMap<String, u64>,
    /// Errors by their name without the number at their end.
    pub errors: BTreeMap<String, u64>,
    /// Connections that were opened.
    pub connections: u64,
    /// Parts that were stored.
    pub parts: u64,
    /// Parts among them that had been there already.
    pub parts_again: u64,
    /// Bytes of all parts.
    pub part_bytes: u64,
    /// Bytes of content that were given out.
    pub file_bytes: u64,
    /// Messages that were recognised as sent before.
    pub repeats: u64,
    /// Documents in the order in which they were completed.
    pub completed: Vec<Completed>,
    /// How many documents were completed under each name.
    pub uploads: BTreeMap<String, u64>,
}

impl Counters {
    pub(crate) fn request(&mut self, method: &str) {
        *self.requests.entry(method.to_owned()).or_default() += 1;
    }

    pub(crate) fn error(&mut self, message: &str) {
        let name = message.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
        *self.errors.entry(name.to_owned()).or_default() += 1;
    }

    pub(crate) fn complete(&mut self, completed: Completed) {
        *self.uploads.entry(completed.name.clone()).or_default() += 1;
        self.completed.push(completed);
    }
}
