//! What a tree has shown, call by call, and how far back it may go.

use std::rc::Rc;

use super::Verdict;
use super::tree::{Shown, difference};

/// What the tree showed after each call that changed it, and what of that must not be lost.
pub(super) struct History {
    pub(super) states: Vec<Rc<Shown>>,
    /// Index of the oldest state that this machine may come back to.
    pub(super) local: usize,
    /// Index of the oldest state that the store may show.
    pub(super) stored: usize,
}

impl History {
    /// From one state on, which is durable.
    pub(super) fn from(state: Shown) -> Self {
        Self { states: vec![Rc::new(state)], local: 0, stored: 0 }
    }

    /// Everything so far survives this machine, and the loss of it too, if it is on the store.
    pub(super) fn acknowledge(&mut self, is_stored: bool) {
        self.local = self.states.len() - 1;
        if is_stored {
            self.stored = self.local;
        }
    }

    pub(super) fn last(&self) -> &Rc<Shown> {
        self.states.last().unwrap_or_else(|| &self.states[0])
    }

    pub(super) fn push(&mut self, state: Shown) {
        if **self.last() != state {
            self.states.push(Rc::new(state));
        }
    }

    /// Goes back to what was found, which must not be older than `oldest`.
    pub(super) fn settle(&mut self, found: &Shown, oldest: usize) -> Verdict {
        let at = self.states.iter().skip(oldest).position(|state| **state == *found);
        let Some(at) = at else {
            let old = self.states.iter().position(|state| **state == *found);
            let (last, count) = (self.last(), self.states.len());
            return Err(match old {
                Some(old) => format!("state {old} came back, but state {oldest} of {count} was acknowledged"),
                None => format!(
                    "the tree is in no state that it was ever in; against the last of {count} (acknowledged: \
                     {oldest}):{}\nagainst the acknowledged:{}",
                    difference(found, last),
                    difference(found, &self.states[oldest])
                ),
            });
        };
        self.states.truncate(oldest + at + 1);
        // What a mount shows is durable from then on.
        self.local = oldest + at;
        self.stored = self.stored.min(oldest + at);
        Ok(())
    }
}
