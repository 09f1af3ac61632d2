//! Reading: pages of history, search, messages by number.

use grammers_tl_types::{enums, functions as f};

use super::shapes::View;
use super::{Answer, Call, bad};
use crate::world::mailbox::{Mailbox, Message, Place};

/// Messages that one answer holds.
const PAGE_MAX: usize = 100;

/// Which page of a list of messages, from the newest to the oldest.
struct Page {
    offset_id: i32,
    offset_date_s: i32,
    add_offset: i32,
    limit: i32,
    max_id: i32,
    min_id: i32,
}

impl Page {
    /// The ids of the page, from the newest, among those that `is_listed` admits.
    fn ids(&self, mailbox: &Mailbox, oldest: i32, is_listed: impl Fn(&Message) -> bool) -> Vec<i32> {
        let lowest = oldest.max(self.min_id.saturating_add(1));
        let highest = if self.max_id > 0 { self.max_id } else { i32::MAX };
        if lowest >= highest {
            return Vec::new();
        }
        let split = self.split(mailbox).clamp(lowest, highest);
        let listed = |(id, message): (&i32, &Message)| is_listed(message).then_some(*id);
        // The page is a window: places from `add_offset` on, counted from the first older message; newer ones
        // have negative places.
        let limit = i64::from(self.limit).clamp(0, PAGE_MAX as i64);
        let (start, end) = (i64::from(self.add_offset), i64::from(self.add_offset) + limit);
        let count = |number: i64| usize::try_from(number).unwrap_or(0);
        let newer = mailbox.messages.range(split..highest).filter_map(listed);
        let mut page: Vec<i32> = newer.skip(count(-end)).take(count(end.min(0) - start)).collect();
        page.reverse();
        let older = mailbox.messages.range(lowest..split).rev().filter_map(listed);
        page.extend(older.skip(count(start)).take(count(end - start.max(0))));
        page
    }

    /// The id before which the page begins: everything below it is older.
    fn split(&self, mailbox: &Mailbox) -> i32 {
        if self.offset_id > 0 {
            return self.offset_id;
        }
        if self.offset_date_s > 0 {
            let newer = mailbox.messages.values().find(|message| message.date_s >= self.offset_date_s);
            return newer.map_or(i32::MAX, |message| message.id);
        }
        i32::MAX
    }
}

impl Call<'_> {
    pub(crate) fn get_history(&mut self, request: f::messages::GetHistory) -> Answer {
        let place = self.place(&request.peer)?;
        let page = Page {
            offset_id: request.offset_id,
            offset_date_s: request.offset_date,
            add_offset: request.add_offset,
            limit: request.limit,
            max_id: request.max_id,
            min_id: request.min_id,
        };
        self.answer_page(place, &page, |_| true)
    }

    fn answer_page(&mut self, place: Place, page: &Page, is_listed: impl Fn(&Message) -> bool) -> Answer {
        let (user, oldest) = (self.user()?, self.oldest_visible(place));
        let mailbox = self.world.mailbox(place);
        let ids = page.ids(mailbox, oldest, &is_listed);
        let count = mailbox.messages.range(oldest..).filter(|(_, message)| is_listed(message)).count();
        Ok(View { world: self.world, user }.messages(place, &ids, count))
    }

    pub(crate) fn search(&mut self, request: f::messages::Search) -> Answer {
        let place = self.place(&request.peer)?;
        let is_pinned_wanted = matches!(request.filter, enums::MessagesFilter::InputMessagesFilterPinned);
        let is_document_wanted = matches!(request.filter, enums::MessagesFilter::InputMessagesFilterDocument);
        let query = words(&request.q);
        // The index is built later than messages come; what is pinned is known at once.
        let lag = if is_pinned_wanted { 0 } else { self.world.settings.search_lag };
        let mailbox = self.world.mailbox(place);
        let indexed = mailbox.messages.keys().rev().nth(lag).copied().unwrap_or(0);
        let pinned = mailbox.pinned.clone();
        let names: std::collections::HashMap<i64, String> = self
            .world
            .known_mailbox(place)
            .into_iter()
            .flat_map(|mailbox| mailbox.messages.values())
            .filter_map(|message| self.world.documents.get(&message.document?))
            .map(|document| (document.id, document.name.clone()))
            .collect();
        let is_listed = |message: &Message| {
            let name = message.document.and_then(|id| names.get(&id)).map_or("", String::as_str);
            let found = words(&format!("{} {name}", message.text));
            let is_found = query.iter().all(|word| found.iter().any(|other| other.starts_with(word)));
            message.id <= indexed
                && is_found
                && (!is_pinned_wanted || pinned.contains(&message.id))
                && (!is_document_wanted || message.document.is_some())
        };
        let page = Page {
            offset_id: request.offset_id,
            offset_date_s: request.max_date,
            add_offset: request.add_offset,
            limit: request.limit,
            max_id: request.max_id,
            min_id: request.min_id,
        };
        self.answer_page(place, &page, is_listed)
    }

    pub(crate) fn get_messages(&mut self, request: f::messages::GetMessages) -> Answer {
        let place = Place::Saved(self.user()?);
        self.messages_by_id(place, &request.id)
    }

    pub(crate) fn get_channel_messages(&mut self, request: f::channels::GetMessages) -> Answer {
        let place = self.channel_place(&request.channel)?;
        self.messages_by_id(place, &request.id)
    }

    fn messages_by_id(&mut self, place: Place, wanted: &[enums::InputMessage]) -> Answer {
        let user = self.user()?;
        if wanted.is_empty() {
            return bad("MESSAGE_IDS_EMPTY");
        }
        if wanted.len() > PAGE_MAX {
            return bad("LIMIT_INVALID");
        }
        let newest_pinned = self.world.mailbox(place).pinned.last().copied();
        let oldest = self.oldest_visible(place);
        let ids: Vec<i32> = wanted
            .iter()
            .filter_map(|message| match message {
                enums::InputMessage::Id(message) => Some(message.id),
                enums::InputMessage::Pinned => newest_pinned,
                _ => None,
            })
            // A number that was never given is as empty as a message that is too far back.
            .map(|id| if id < oldest { 0 } else { id })
            .collect();
        Ok(View { world: self.world, user }.messages(place, &ids, ids.len()))
    }
}

fn words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> Mailbox {
        let mut mailbox = Mailbox::default();
        for id in 1..=250 {
            mailbox.post(Message::blank(id, 1, 1_000 + id));
        }
        mailbox
    }

    fn page(offset_id: i32, add_offset: i32, limit: i32) -> Page {
        Page { offset_id, offset_date_s: 0, add_offset, limit, max_id: 0, min_id: 0 }
    }

    #[test]
    fn pages_are_at_most_a_hundred_and_leave_nothing_out() {
        let mailbox = mailbox();
        let (mut seen, mut offset) = (Vec::new(), 0);
        loop {
            let ids = page(offset, 0, 1_000).ids(&mailbox, 1, |_| true);
            assert!(ids.len() <= 100);
            let Some(last) = ids.last() else { break };
            offset = *last;
            seen.extend(ids);
        }
        assert_eq!(seen, (1..=250).rev().collect::<Vec<i32>>());
    }

    #[test]
    fn offsets_dates_and_bounds_choose_the_page() {
        let mailbox = mailbox();
        const NONE: [i32; 0] = [];
        let ids = |page: Page, oldest| page.ids(&mailbox, oldest, |_| true);
        assert_eq!(ids(page(10, -3, 5), 1), [12, 11, 10, 9, 8]);
        assert_eq!(ids(page(10, 3, 2), 1), [6, 5]);
        assert_eq!(ids(page(0, 0, 2), 1), [250, 249]);
        assert_eq!(ids(page(4, 0, 9), 3), [3]);
        assert_eq!(ids(page(0, 0, -5), 1), NONE);
        assert_eq!(ids(Page { min_id: 248, ..page(0, 0, 9) }, 1), [250, 249]);
        assert_eq!(ids(Page { max_id: 3, ..page(0, 0, 9) }, 1), [2, 1]);
        assert_eq!(ids(Page { min_id: 9, max_id: 9, ..page(0, 0, 9) }, 1), NONE);
        assert_eq!(ids(Page { offset_date_s: 1_005, ..page(0, 0, 2) }, 1), [4, 3]);
        assert_eq!(ids(page(201, -100, 100), 1), (201..=250).rev().collect::<Vec<i32>>());
        assert_eq!(ids(page(10, -5, 2), 1), [14, 13]);
        assert_eq!(ids(page(i32::MAX, i32::MIN, 3), 1), NONE);
    }

    #[test]
    fn search_goes_by_words() {
        assert_eq!(words("Deadbeef.bin b1-x"), ["deadbeef", "bin", "b1", "x"]);
    }
}
