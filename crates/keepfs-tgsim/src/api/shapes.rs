//! The state in Telegram's shapes: users, channels, messages and documents as one account sees them.

use grammers_tl_types::{Serializable, enums, types};

use super::wide;
use crate::wire::time_s;
use crate::world::World;
use crate::world::account::Account;
use crate::world::channel::{Channel, access_hash};
use crate::world::document::Document;
use crate::world::mailbox::{Change, Event, Message, Place, Service};

/// An account's view of the state.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) world: &'a World,
    pub(crate) user: i64,
}

pub(crate) fn peer(place: Place) -> enums::Peer {
    match place {
        Place::Saved(user) => types::PeerUser { user_id: user }.into(),
        Place::Channel(channel) => types::PeerChannel { channel_id: channel }.into(),
    }
}

impl View<'_> {
    pub(crate) fn account(&self, account: &Account) -> enums::User {
        let mut user = wide::user();
        user.id = account.user;
        user.is_self = account.user == self.user;
        user.premium = account.is_premium;
        user.access_hash = Some(access_hash(self.user, account.user));
        user.first_name = Some(account.name.clone());
        user.phone = user.is_self.then(|| account.phone.clone());
        user.into()
    }

    /// The account itself, as it stands beside every answer.
    pub(crate) fn own_account(&self) -> Vec<enums::User> {
        self.world.accounts.get(&self.user).map(|account| self.account(account)).into_iter().collect()
    }

    pub(crate) fn channel(&self, channel: &Channel) -> enums::Chat {
        let mut chat = wide::channel();
        chat.id = channel.id;
        chat.access_hash = Some(access_hash(self.user, channel.id));
        chat.title.clone_from(&channel.title);
        chat.date = channel.date_s;
        chat.creator = channel.creator == self.user;
        chat.broadcast = !channel.is_megagroup;
        chat.megagroup = channel.is_megagroup;
        chat.left = !channel.members.contains(&self.user);
        chat.participants_count = i32::try_from(channel.members.len()).ok();
        if channel.admins.contains(&self.user) {
            chat.admin_rights = Some(wide::admin_rights().into());
        }
        chat.into()
    }

    /// The channel of a place, as it stands beside answers about it.
    pub(crate) fn chats(&self, place: Place) -> Vec<enums::Chat> {
        let Place::Channel(channel) = place else { return Vec::new() };
        self.world.channels.get(&channel).map(|channel| self.channel(channel)).into_iter().collect()
    }

    pub(crate) fn message(&self, place: Place, message: &Message) -> enums::Message {
        let is_saved = matches!(place, Place::Saved(_));
        let from_id = is_saved.then(|| peer(Place::Saved(message.sender)));
        if let Some(service) = &message.service {
            return self.service(place, message, service);
        }
        let mut out = wide::message(&peer(place));
        out.id = message.id;
        out.out = message.sender == self.user;
        out.post = !is_saved && !self.is_megagroup(place);
        out.from_id =
            if self.is_megagroup(place) { Some(peer(Place::Saved(message.sender))) } else { from_id };
        out.saved_peer_id = is_saved.then(|| peer(place));
        out.pinned = self.world.known_mailbox(place).is_some_and(|box_| box_.pinned.contains(&message.id));
        out.date = message.date_s;
        out.edit_date = message.edit_date_s;
        out.message.clone_from(&message.text);
        out.media = message.document.and_then(|id| self.world.documents.get(&id)).map(|document| {
            let mut media = wide::message_media_document();
            media.document = Some(self.document(document));
            media.into()
        });
        out.into()
    }

    fn service(&self, place: Place, message: &Message, service: &Service) -> enums::Message {
        let (action, pinned) = match service {
            Service::Created(title) => {
                (types::MessageActionChannelCreate { title: title.clone() }.into(), None)
            }
            Service::Pinned(id) => (enums::MessageAction::PinMessage, Some(*id)),
        };
        types::MessageService {
            out: message.sender == self.user,
            mentioned: false,
            media_unread: false,
            reactions_are_possible: false,
            silent: false,
            post: !self.is_megagroup(place),
            legacy: false,
            id: message.id,
            from_id: None,
            peer_id: peer(place),
            saved_peer_id: None,
            reply_to: pinned.map(wide::reply_to),
            date: message.date_s,
            action,
            reactions: None,
            ttl_period: None,
        }
        .into()
    }

    fn is_megagroup(&self, place: Place) -> bool {
        let Place::Channel(channel) = place else { return false };
        self.world.channels.get(&channel).is_some_and(|channel| channel.is_megagroup)
    }

    pub(crate) fn document(&self, document: &Document) -> enums::Document {
        let name = types::DocumentAttributeFilename { file_name: document.name.clone() };
        types::Document {
            id: document.id,
            access_hash: access_hash(self.user, document.id),
            file_reference: self.file_reference(document.id),
            date: document.date_s,
            mime_type: document.mime_type.clone(),
            size: i64::try_from(document.size).unwrap_or(i64::MAX),
            thumbs: None,
            video_thumbs: None,
            dc_id: document.dc,
            attributes: vec![name.into()],
        }
        .into()
    }

    /// The reference without which a document is not given out; good until references expire.
    pub(crate) fn file_reference(&self, document: i64) -> Vec<u8> {
        [&self.world.reference_epoch.to_le_bytes()[..], &document.to_le_bytes()].concat()
    }

    /// The messages with these ids as an answer; those that are gone are empty.
    pub(crate) fn messages(&self, place: Place, ids: &[i32], count: usize) -> Vec<u8> {
        let mailbox = self.world.known_mailbox(place);
        let messages = ids
            .iter()
            .map(|id| match mailbox.and_then(|mailbox| mailbox.messages.get(id)) {
                Some(message) => self.message(place, message),
                None => types::MessageEmpty { id: *id, peer_id: None }.into(),
            })
            .collect();
        let (count, topics) = (i32::try_from(count).unwrap_or(i32::MAX), Vec::new());
        let (chats, users) = (self.chats(place), self.own_account());
        let answer: enums::messages::Messages = match place {
            Place::Saved(_) if ids.len() == count as usize => {
                types::messages::Messages { messages, topics, chats, users }.into()
            }
            Place::Saved(_) => types::messages::MessagesSlice {
                inexact: false,
                count,
                next_rate: None,
                offset_id_offset: None,
                search_flood: None,
                messages,
                topics,
                chats,
                users,
            }
            .into(),
            Place::Channel(_) => types::messages::ChannelMessages {
                inexact: false,
                pts: mailbox.map_or(1, |mailbox| mailbox.pts),
                count,
                offset_id_offset: None,
                messages,
                topics,
                chats,
                users,
            }
            .into(),
        };
        answer.to_bytes()
    }

    /// A change as an update. Nothing when what it is about is gone again.
    pub(crate) fn update(&self, place: Place, event: &Event) -> Option<enums::Update> {
        let (pts, pts_count) = (event.pts, event.pts_count);
        let message = |id: &i32| {
            let mailbox = self.world.known_mailbox(place)?;
            mailbox.messages.get(id).map(|message| self.message(place, message))
        };
        Some(match (place, &event.change) {
            (Place::Saved(_), Change::Posted(id)) => {
                types::UpdateNewMessage { message: message(id)?, pts, pts_count }.into()
            }
            (Place::Channel(_), Change::Posted(id)) => {
                types::UpdateNewChannelMessage { message: message(id)?, pts, pts_count }.into()
            }
            (Place::Saved(_), Change::Edited(id)) => {
                types::UpdateEditMessage { message: message(id)?, pts, pts_count }.into()
            }
            (Place::Channel(_), Change::Edited(id)) => {
                types::UpdateEditChannelMessage { message: message(id)?, pts, pts_count }.into()
            }
            (Place::Saved(_), Change::Deleted(ids)) => {
                types::UpdateDeleteMessages { messages: ids.clone(), pts, pts_count }.into()
            }
            (Place::Channel(channel_id), Change::Deleted(ids)) => {
                let messages = ids.clone();
                types::UpdateDeleteChannelMessages { channel_id, messages, pts, pts_count }.into()
            }
            (Place::Saved(_), Change::Pinned(id, pinned)) => {
                let (peer, messages) = (peer(place), vec![*id]);
                types::UpdatePinnedMessages { pinned: *pinned, peer, messages, pts, pts_count }.into()
            }
            (Place::Channel(channel_id), Change::Pinned(id, pinned)) => {
                let messages = vec![*id];
                types::UpdatePinnedChannelMessages { pinned: *pinned, channel_id, messages, pts, pts_count }
                    .into()
            }
        })
    }

    /// Updates with everything that they refer to.
    pub(crate) fn updates(&self, place: Option<Place>, updates: Vec<enums::Update>) -> Vec<u8> {
        let chats = place.map(|place| self.chats(place)).unwrap_or_default();
        let updates = types::Updates { updates, users: self.own_account(), chats, date: time_s(), seq: 0 };
        enums::Updates::Updates(updates).to_bytes()
    }
}
