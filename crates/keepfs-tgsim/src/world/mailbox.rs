//! A mailbox: the messages of one account's private chats or of one channel, numbered, with their changes in order.
//!
//! It owns the numbers: ids that are never given twice, and `pts`, which counts every change
//! (<https://core.telegram.org/api/updates>). It never knows who may read it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use serde::{Deserialize, Serialize};

/// Whose messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// The saved messages of an account.
    Saved(i64),
    /// A channel.
    Channel(i64),
}

/// One message.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: i32,
    pub(crate) date_s: i32,
    pub(crate) edit_date_s: Option<i32>,
    pub(crate) sender: i64,
    pub(crate) text: String,
    pub(crate) document: Option<i64>,
    /// What Telegram itself says with this message.
    #[serde(default)]
    pub(crate) service: Option<Service>,
    pub(crate) random_id: Option<i64>,
    #[serde(default)]
    pub(crate) pts: i32,
}

/// A message that nobody wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Service {
    /// The channel was made, with this title.
    Created(String),
    /// The message with this number was pinned.
    Pinned(i32),
}

impl Message {
    /// A message without content.
    pub(crate) fn blank(id: i32, sender: i64, date_s: i32) -> Message {
        Message {
            id,
            date_s,
            edit_date_s: None,
            sender,
            text: String::new(),
            document: None,
            service: None,
            random_id: None,
            pts: 0,
        }
    }
}

/// What an edit changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Edit {
    pub(crate) text: String,
    pub(crate) document: Option<i64>,
    pub(crate) date_s: i32,
}

/// A change of a mailbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    Posted(i32),
    Edited(i32),
    Deleted(Vec<i32>),
    Pinned(i32, bool),
}

/// A change and the state of the mailbox that it led to.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) pts: i32,
    pub(crate) pts_count: i32,
    pub(crate) change: Change,
}

/// What changed since a state.
pub(crate) enum Since<'a> {
    /// These changes, from the oldest.
    Events(Vec<&'a Event>),
    /// So much that it is not known any more.
    TooLong,
}

/// The messages of one place.
pub(crate) struct Mailbox {
    next_id: i32,
    pub(crate) pts: i32,
    pub(crate) messages: BTreeMap<i32, Message>,
    pub(crate) pinned: BTreeSet<i32>,
    events: VecDeque<Event>,
    pub(crate) events_max: usize,
    random_ids: HashMap<(i64, i64), i32>,
}

impl Default for Mailbox {
    fn default() -> Self {
        Mailbox {
            next_id: 1,
            pts: 1,
            messages: BTreeMap::new(),
            pinned: BTreeSet::new(),
            events: VecDeque::new(),
            events_max: usize::MAX,
            random_ids: HashMap::new(),
        }
    }
}

impl Mailbox {
    pub(crate) fn next_id(&self) -> i32 {
        self.next_id
    }

    /// The oldest id that can be reached when only the newest `visible` messages can.
    pub(crate) fn oldest_visible(&self, visible: i32) -> i32 {
        self.next_id.saturating_sub(visible).max(1)
    }

    /// The message that this sender sent under this number before.
    pub(crate) fn sent(&self, sender: i64, random_id: i64) -> Option<i32> {
        self.random_ids.get(&(sender, random_id)).copied()
    }

    /// What changed after a state, from the oldest change.
    pub(crate) fn since(&self, pts: i32) -> Since<'_> {
        let known_from = self.events.front().map_or(self.pts, |event| event.pts - event.pts_count);
        if pts < known_from {
            return Since::TooLong;
        }
        let from = self.events.partition_point(|event| event.pts <= pts);
        Since::Events(self.events.range(from..).collect())
    }

    fn record(&mut self, pts_count: i32, change: Change) {
        self.pts = self.pts.saturating_add(pts_count);
        self.events.push_back(Event { pts: self.pts, pts_count, change });
        while self.events.len() > self.events_max {
            self.events.pop_front();
        }
    }

    pub(crate) fn post(&mut self, mut message: Message) {
        let id = message.id;
        self.next_id = self.next_id.max(id.saturating_add(1));
        if let Some(random_id) = message.random_id {
            self.random_ids.insert((message.sender, random_id), id);
        }
        self.record(1, Change::Posted(id));
        message.pts = self.pts;
        self.messages.insert(id, message);
    }

    pub(crate) fn edit(&mut self, id: i32, edit: &Edit) {
        let Some(message) = self.messages.get_mut(&id) else { return };
        message.text.clone_from(&edit.text);
        message.document = edit.document;
        message.edit_date_s = Some(edit.date_s);
        self.record(1, Change::Edited(id));
    }

    pub(crate) fn delete(&mut self, ids: &[i32]) {
        let gone: Vec<i32> = ids.iter().copied().filter(|id| self.messages.remove(id).is_some()).collect();
        self.pinned.retain(|id| !gone.contains(id));
        if !gone.is_empty() {
            self.record(i32::try_from(gone.len()).unwrap_or(i32::MAX), Change::Deleted(gone));
        }
    }

    pub(crate) fn pin(&mut self, id: i32, is_pinned: bool) {
        let has_changed = if is_pinned { self.pinned.insert(id) } else { self.pinned.remove(&id) };
        if has_changed {
            self.record(1, Change::Pinned(id, is_pinned));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(id: i32) -> Message {
        Message { text: id.to_string(), random_id: Some(i64::from(id) + 100), ..Message::blank(id, 1, 0) }
    }

    #[test]
    fn every_change_is_counted_and_told() {
        let mut mailbox = Mailbox::default();
        (1..=5).for_each(|id| mailbox.post(message(id)));
        assert_eq!((mailbox.pts, mailbox.next_id()), (6, 6));
        mailbox.delete(&[2, 3, 77]);
        mailbox.pin(1, true);
        mailbox.pin(1, true);
        mailbox.edit(99, &Edit { text: String::new(), document: None, date_s: 0 });
        assert_eq!(mailbox.pts, 9);
        let Since::Events(events) = mailbox.since(6) else { panic!("the window is endless") };
        let changes: Vec<&Change> = events.iter().map(|event| &event.change).collect();
        assert_eq!(changes, [&Change::Deleted(vec![2, 3]), &Change::Pinned(1, true)]);
        assert_eq!(mailbox.sent(1, 104), Some(4));
        assert_eq!(mailbox.sent(2, 104), None);
    }

    #[test]
    fn what_left_the_window_is_too_long() {
        let mut mailbox = Mailbox { events_max: 3, ..Mailbox::default() };
        (1..=10).for_each(|id| mailbox.post(message(id)));
        assert!(matches!(mailbox.since(7), Since::TooLong));
        assert!(matches!(mailbox.since(8), Since::Events(events) if events.len() == 3));
        assert_eq!(mailbox.oldest_visible(4), 7);
        assert_eq!(mailbox.oldest_visible(400), 1);
    }
}
