//! Writing: messages are sent once, edited, pinned and deleted.

use std::collections::BTreeSet;

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, Push, Refusal, bad};
use crate::wire::time_s;
use crate::world::channel::access_hash;
use crate::world::mailbox::{Change, Edit, Event, Message, Place, Service, Since};
use crate::world::record::Record;

/// Messages that one request may delete.
const DELETED_MAX: usize = 100;

/// What a request wants to send.
struct Draft {
    place: Place,
    random_id: i64,
    text: String,
    media: Option<enums::InputMedia>,
}

impl Call<'_> {
    /// The place that a request names, if its account may see it.
    pub(crate) fn place(&self, peer: &enums::InputPeer) -> Result<Place, Refusal> {
        let user = self.user()?;
        match peer {
            enums::InputPeer::PeerSelf => Ok(Place::Saved(user)),
            enums::InputPeer::User(other) if other.user_id == user => Ok(Place::Saved(user)),
            enums::InputPeer::Channel(channel) => self.seen_channel(channel.channel_id, channel.access_hash),
            _ => bad("PEER_ID_INVALID"),
        }
    }

    pub(crate) fn channel_place(&self, channel: &enums::InputChannel) -> Result<Place, Refusal> {
        match channel {
            enums::InputChannel::Channel(channel) => {
                self.seen_channel(channel.channel_id, channel.access_hash)
            }
            _ => bad("CHANNEL_INVALID"),
        }
    }

    fn seen_channel(&self, id: i64, hash: i64) -> Result<Place, Refusal> {
        let user = self.user()?;
        if hash != access_hash(user, id) {
            return bad("CHANNEL_INVALID");
        }
        match self.world.channels.get(&id) {
            Some(channel) if channel.members.contains(&user) => Ok(Place::Channel(id)),
            // A channel that was deleted answers like one that the account was removed from.
            _ => bad("CHANNEL_PRIVATE"),
        }
    }

    fn check_writer(&self, place: Place) -> Result<(), Refusal> {
        let user = self.user()?;
        match place {
            Place::Saved(_) => Ok(()),
            Place::Channel(channel) => match self.world.channels.get(&channel) {
                Some(channel) if channel.may_write(user) => Ok(()),
                _ => Err(Refusal::new(403, "CHAT_WRITE_FORBIDDEN")),
            },
        }
    }

    pub(crate) fn send_media(&mut self, request: f::messages::SendMedia) -> Answer {
        let place = self.place(&request.peer)?;
        let (random_id, text, media) = (request.random_id, request.message, Some(request.media));
        self.send(Draft { place, random_id, text, media })
    }

    pub(crate) fn send_message(&mut self, request: f::messages::SendMessage) -> Answer {
        let place = self.place(&request.peer)?;
        if request.message.trim().is_empty() {
            return bad("MESSAGE_EMPTY");
        }
        let (random_id, text) = (request.random_id, request.message);
        self.send(Draft { place, random_id, text, media: None })
    }

    fn send(&mut self, draft: Draft) -> Answer {
        let (user, place) = (self.user()?, draft.place);
        self.check_writer(place)?;
        let text = self.text(&draft.text, draft.media.is_some())?;
        let sent = self.world.mailbox(place).sent(user, draft.random_id);
        if let Some(id) = sent.filter(|_| self.world.settings.remembers_random_ids) {
            self.counters.repeats += 1;
            return self.repeat(place, id, draft.random_id);
        }
        let document = draft.media.map(|media| self.media(media)).transpose()?;
        let id = self.world.mailbox(place).next_id();
        let random_id = Some(draft.random_id);
        let message = Message { text, document, random_id, ..Message::blank(id, user, time_s()) };
        let sent = types::UpdateMessageId { id, random_id: draft.random_id };
        let update = self.change(&Record::Posted { place, message }, place)?;
        let updates = [Some(sent.into()), update].into_iter().flatten().collect();
        Ok(View { world: self.world, user }.updates(Some(place), updates))
    }

    /// Answers a message that was sent before: the original, as a change that changes nothing.
    fn repeat(&mut self, place: Place, id: i32, random_id: i64) -> Answer {
        let user = self.user()?;
        let known = self.world.mailbox(place).messages.get(&id).map(|message| message.pts);
        let Some(pts) = known.filter(|_| !self.world.settings.repeats_are_errors) else {
            return Err(Refusal::new(500, "RANDOM_ID_DUPLICATE"));
        };
        let view = View { world: self.world, user };
        let update = view.update(place, &Event { pts, pts_count: 0, change: Change::Posted(id) });
        let sent = types::UpdateMessageId { id, random_id }.into();
        Ok(view.updates(Some(place), [Some(sent), update].into_iter().flatten().collect()))
    }

    /// Commits a change of a place and tells everybody who watches it. The update for the account itself is
    /// given back; there is none if nothing changed.
    pub(crate) fn change(&mut self, record: &Record, place: Place) -> Result<Option<enums::Update>, Refusal> {
        let user = self.user()?;
        let before = self.world.mailbox(place).pts;
        self.world.commit(record)?;
        let world = &*self.world;
        let event = world.known_mailbox(place).and_then(|mailbox| match mailbox.since(before) {
            Since::Events(events) => events.last().map(|event| (*event).clone()),
            Since::TooLong => None,
        });
        let Some(event) = event else { return Ok(None) };
        for watcher in world.watchers(place) {
            let view = View { world, user: watcher };
            if let Some(update) = view.update(place, &event) {
                self.pushes.push(Push { user: watcher, body: view.updates(Some(place), vec![update]) });
            }
        }
        Ok(View { world, user }.update(place, &event))
    }

    pub(crate) fn edit_message(&mut self, request: f::messages::EditMessage) -> Answer {
        let place = self.place(&request.peer)?;
        self.check_writer(place)?;
        let Some(message) = self.visible(place, request.id) else { return bad("MESSAGE_ID_INVALID") };
        if message.service.is_some() {
            return bad("MESSAGE_EDIT_TIME_EXPIRED");
        }
        let has_media = message.document.is_some() || request.media.is_some();
        let text = self.text(request.message.as_deref().unwrap_or(&message.text), has_media)?;
        if text.is_empty() && !has_media {
            return bad("MESSAGE_EMPTY");
        }
        if text == message.text && request.media.is_none() {
            return bad("MESSAGE_NOT_MODIFIED");
        }
        let document = match request.media {
            Some(media) => Some(self.media(media)?),
            None => message.document,
        };
        let edit = Edit { text, document, date_s: time_s() };
        self.answer_change(&Record::Edited { place, id: request.id, edit }, place)
    }

    /// Commits a change and answers it as updates.
    fn answer_change(&mut self, record: &Record, place: Place) -> Answer {
        let user = self.user()?;
        let updates = self.change(record, place)?.into_iter().collect();
        Ok(View { world: self.world, user }.updates(Some(place), updates))
    }

    pub(crate) fn update_pinned_message(&mut self, request: f::messages::UpdatePinnedMessage) -> Answer {
        let (user, place, id) = (self.user()?, self.place(&request.peer)?, request.id);
        self.check_writer(place)?;
        if self.visible(place, id).is_none() {
            return bad("MESSAGE_ID_INVALID");
        }
        let pinned = self.change(&Record::Pinned { place, id, is_pinned: !request.unpin }, place)?;
        let mut updates: Vec<enums::Update> = pinned.into_iter().collect();
        let is_announced = matches!(place, Place::Channel(_)) && !request.unpin && !updates.is_empty();
        if is_announced {
            let number = self.world.mailbox(place).next_id();
            let service = Some(Service::Pinned(id));
            let message = Message { service, ..Message::blank(number, user, time_s()) };
            updates.extend(self.change(&Record::Posted { place, message }, place)?);
        }
        Ok(View { world: self.world, user }.updates(Some(place), updates))
    }

    pub(crate) fn unpin_all_messages(&mut self, request: f::messages::UnpinAllMessages) -> Answer {
        let place = self.place(&request.peer)?;
        self.check_writer(place)?;
        let before = self.world.mailbox(place).pts;
        let pinned: Vec<i32> = self.world.mailbox(place).pinned.iter().copied().collect();
        for id in pinned {
            self.change(&Record::Pinned { place, id, is_pinned: false }, place)?;
        }
        let pts = self.world.mailbox(place).pts;
        let affected = types::messages::AffectedHistory { pts, pts_count: pts - before, offset: 0 };
        Ok(enums::messages::AffectedHistory::History(affected).to_bytes())
    }

    pub(crate) fn delete_messages(&mut self, request: f::messages::DeleteMessages) -> Answer {
        let place = Place::Saved(self.user()?);
        self.delete(place, &request.id)
    }

    pub(crate) fn delete_channel_messages(&mut self, request: f::channels::DeleteMessages) -> Answer {
        let place = self.channel_place(&request.channel)?;
        self.check_writer(place).map_err(|_| Refusal::new(403, "MESSAGE_DELETE_FORBIDDEN"))?;
        self.delete(place, &request.id)
    }

    fn delete(&mut self, place: Place, ids: &[i32]) -> Answer {
        if ids.len() > DELETED_MAX {
            return bad("LIMIT_INVALID");
        }
        let before = self.world.mailbox(place).pts;
        let ids: BTreeSet<i32> = ids.iter().copied().collect();
        let ids: Vec<i32> = ids.into_iter().filter(|id| self.visible(place, *id).is_some()).collect();
        if !ids.is_empty() {
            self.change(&Record::Deleted { place, ids }, place)?;
        }
        let pts = self.world.mailbox(place).pts;
        let affected = types::messages::AffectedMessages { pts, pts_count: pts - before };
        Ok(enums::messages::AffectedMessages::Messages(affected).to_bytes())
    }

    /// A message that can be reached: it exists and is not too far back.
    pub(crate) fn visible(&self, place: Place, id: i32) -> Option<Message> {
        let mailbox = self.world.known_mailbox(place)?;
        let oldest = self.oldest_visible(place);
        mailbox.messages.get(&id).filter(|_| id >= oldest).cloned()
    }

    /// The oldest id of a place that can be reached. Only channels forget.
    pub(crate) fn oldest_visible(&self, place: Place) -> i32 {
        match (place, self.world.known_mailbox(place)) {
            (Place::Channel(_), Some(mailbox)) => mailbox.oldest_visible(self.world.settings.visible_history),
            _ => 1,
        }
    }
}
