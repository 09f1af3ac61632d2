//! How a long command shows that it lives: a bar on a terminal, JSON lines for programs, silence otherwise.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::control::Pending;
use crate::size::{Size, span};

/// How often the bar moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// One command's progress.
pub(crate) enum Progress {
    /// A person looks on.
    Bar(ProgressBar),
    /// A program reads JSON lines.
    Lines,
    /// Nobody.
    Silent,
}

impl Progress {
    /// A bar only when standard error is a terminal; lines only when asked for.
    pub(crate) fn new(json: bool, what: &'static str) -> Self {
        if json {
            return Self::Lines;
        }
        if !std::io::stderr().is_terminal() {
            return Self::Silent;
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} {prefix} {msg}") {
            bar.set_style(style);
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(TICK);
        Self::Bar(bar)
    }

    /// What is left to do.
    pub(crate) fn pending(&self, pending: &Pending) {
        match self {
            Self::Bar(bar) => bar.set_message(sentence(pending)),
            Self::Lines => print_json(&Line { event: "progress", pending }),
            Self::Silent => {}
        }
    }

    /// Something that takes a moment and has no measure; the bar goes when this is dropped.
    pub(crate) fn moment(what: &'static str) -> Self {
        Self::new(false, what)
    }

    /// Removes the bar; the last word belongs to the command.
    pub(crate) fn finish(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.finish();
    }
}

/// A line of JSON: what happened, and what is pending.
#[derive(Serialize)]
struct Line<'a> {
    event: &'static str,
    pending: &'a Pending,
}

/// What is not yet on the store, in words.
pub(crate) fn sentence(pending: &Pending) -> String {
    if pending.is_nothing() {
        return "everything is on the store".to_owned();
    }
    let mut text = match pending.objects {
        0 => format!("{} not yet on the store", Size(pending.bytes)),
        objects => format!("{} in {objects} objects not yet on the store", Size(pending.bytes)),
    };
    if let Some(age) = pending.oldest_age_seconds {
        text += &format!(", the oldest for {}", span(age));
    }
    if let Some(error) = &pending.store_error {
        text += &format!("; the store says: {error}");
        if let Some(seconds) = pending.retry_in_seconds {
            text += &format!(" (next try in {})", span(seconds));
        }
    }
    text
}

/// Prints one value as one line of JSON.
pub(crate) fn print_json(value: &impl Serialize) {
    if let Ok(line) = serde_json::to_string(value) {
        let mut out = std::io::stdout().lock();
        // A reader that went away is no reason to stop what it asked for.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pending_is_told_with_age_and_reason() {
        let mut pending = Pending::default();
        assert_eq!(sentence(&pending), "everything is on the store");
        pending.bytes = 3 << 20;
        pending.objects = 2;
        pending.oldest_age_seconds = Some(65);
        pending.store_error = Some("the store is full".to_owned());
        pending.retry_in_seconds = Some(30);
        assert_eq!(
            sentence(&pending),
            "3 MiB in 2 objects not yet on the store, the oldest for 1 min 5 s; \
             the store says: the store is full (next try in 30 s)"
        );
    }
}
