//! Channels: made, found, renamed, archived, deleted.

use std::collections::{BTreeMap, BTreeSet};

use grammers_tl_types::{Serializable, enums, functions as f, types};

use super::shapes::View;
use super::{Answer, Call, Push, Refusal, bad, wide};
use crate::wire::time_s;
use crate::world::channel::{Channel, access_hash};
use crate::world::mailbox::{Message, Place, Service};
use crate::world::record::Record;

/// Characters of a title and of a description.
const TITLE_LEN_MAX: usize = 128;
const ABOUT_LEN_MAX: usize = 255;
/// Chats that one answer lists.
const DIALOGS_MAX: usize = 100;
/// The folder of archived chats.
const ARCHIVE: i32 = 1;

impl Call<'_> {
    pub(crate) fn create_channel(&mut self, request: f::channels::CreateChannel) -> Answer {
        let user = self.user()?;
        let (title, about) = (checked_title(&request.title)?, checked_about(&request.about)?);
        if request.broadcast == request.megagroup {
            return bad("CHANNELS_TYPE_INVALID");
        }
        let id = self.world.next_channel();
        let channel = Channel {
            id,
            creator: user,
            title: title.clone(),
            about,
            is_megagroup: request.megagroup,
            date_s: time_s(),
            members: BTreeSet::from([user]),
            admins: BTreeSet::from([user]),
            archived: BTreeSet::new(),
            muted_until: BTreeMap::new(),
        };
        self.world.commit(&Record::Channel(channel))?;
        let place = Place::Channel(id);
        let service = Some(Service::Created(title));
        let message = Message { service, ..Message::blank(1, user, time_s()) };
        let posted = self.change(&Record::Posted { place, message }, place)?;
        let made = types::UpdateChannel { channel_id: id }.into();
        let updates = [Some(made), posted].into_iter().flatten().collect();
        Ok(View { world: self.world, user }.updates(Some(place), updates))
    }

    /// A channel that the account made and names with the right number.
    fn own_channel(&self, place: Place) -> Result<Channel, Refusal> {
        let user = self.user()?;
        let Place::Channel(id) = place else { return bad("CHANNEL_INVALID") };
        match self.world.channels.get(&id) {
            Some(channel) if channel.creator == user => Ok(channel.clone()),
            _ => Err(Refusal::new(400, "CHAT_ADMIN_REQUIRED")),
        }
    }

    fn member_channel(&self, place: Place) -> Result<Channel, Refusal> {
        let Place::Channel(id) = place else { return bad("CHANNEL_INVALID") };
        self.world.channels.get(&id).cloned().ok_or_else(|| Refusal::new(400, "CHANNEL_PRIVATE"))
    }

    pub(crate) fn get_channels(&mut self, request: f::channels::GetChannels) -> Answer {
        let user = self.user()?;
        let mut chats = Vec::new();
        for channel in &request.id {
            let place = self.channel_place(channel)?;
            chats.extend(View { world: self.world, user }.chats(place));
        }
        Ok(enums::messages::Chats::Chats(types::messages::Chats { chats }).to_bytes())
    }

    pub(crate) fn get_full_channel(&mut self, request: f::channels::GetFullChannel) -> Answer {
        let user = self.user()?;
        let place = self.channel_place(&request.channel)?;
        let channel = self.member_channel(place)?;
        let mut full = wide::full_channel();
        full.id = channel.id;
        full.about.clone_from(&channel.about);
        full.participants_count = i32::try_from(channel.members.len()).ok();
        full.can_delete_channel = channel.creator == user;
        full.pinned_msg_id = self.world.mailbox(place).pinned.last().copied();
        full.pts = self.world.mailbox(place).pts;
        full.folder_id = channel.archived.contains(&user).then_some(ARCHIVE);
        full.available_min_id = Some(self.oldest_visible(place)).filter(|oldest| *oldest > 1);
        let view = View { world: self.world, user };
        let (chats, users) = (view.chats(place), view.own_account());
        let full = types::messages::ChatFull { full_chat: full.into(), chats, users };
        Ok(enums::messages::ChatFull::Full(full).to_bytes())
    }

    pub(crate) fn delete_channel(&mut self, request: f::channels::DeleteChannel) -> Answer {
        let place = self.channel_place(&request.channel)?;
        let channel = self.own_channel(place)?;
        self.remove_channel(&channel)
    }

    /// Deletes a channel and tells its members. They get it back as one that is forbidden to them.
    fn remove_channel(&mut self, channel: &Channel) -> Answer {
        self.world.commit(&Record::ChannelGone { channel: channel.id })?;
        let bodies = channel.members.iter().map(|user| (*user, gone(channel, *user)));
        self.pushes.extend(bodies.map(|(user, body)| Push { user, body }));
        Ok(gone(channel, self.user()?))
    }

    pub(crate) fn edit_title(&mut self, request: f::channels::EditTitle) -> Answer {
        let user = self.user()?;
        let place = self.channel_place(&request.channel)?;
        let title = checked_title(&request.title)?;
        let mut channel = self.own_channel(place)?;
        if channel.title == title {
            return bad("CHAT_NOT_MODIFIED");
        }
        channel.title = title;
        let update = types::UpdateChannel { channel_id: channel.id };
        self.world.commit(&Record::Channel(channel))?;
        Ok(View { world: self.world, user }.updates(Some(place), vec![update.into()]))
    }

    pub(crate) fn edit_chat_about(&mut self, request: f::messages::EditChatAbout) -> Answer {
        let place = self.place(&request.peer)?;
        let about = checked_about(&request.about)?;
        let mut channel = self.own_channel(place)?;
        if channel.about == about {
            return bad("CHAT_ABOUT_NOT_MODIFIED");
        }
        channel.about = about;
        self.world.commit(&Record::Channel(channel))?;
        Ok(true.to_bytes())
    }

    pub(crate) fn edit_peer_folders(&mut self, request: f::folders::EditPeerFolders) -> Answer {
        let user = self.user()?;
        for enums::InputFolderPeer::Peer(folder) in &request.folder_peers {
            let place = self.place(&folder.peer)?;
            let mut channel = self.member_channel(place)?;
            match folder.folder_id {
                0 => channel.archived.remove(&user),
                ARCHIVE => channel.archived.insert(user),
                _ => return bad("FOLDER_ID_INVALID"),
            };
            self.world.commit(&Record::Channel(channel))?;
        }
        Ok(View { world: self.world, user }.updates(None, Vec::new()))
    }

    pub(crate) fn update_notify_settings(&mut self, request: f::account::UpdateNotifySettings) -> Answer {
        let user = self.user()?;
        let enums::InputNotifyPeer::Peer(peer) = &request.peer else { return bad("PEER_ID_INVALID") };
        let mut channel = self.member_channel(self.place(&peer.peer)?)?;
        let enums::InputPeerNotifySettings::Settings(settings) = request.settings;
        match settings.mute_until {
            Some(until) => channel.muted_until.insert(user, until),
            None => channel.muted_until.remove(&user),
        };
        self.world.commit(&Record::Channel(channel))?;
        Ok(true.to_bytes())
    }

    pub(crate) fn get_dialogs(&mut self, request: f::messages::GetDialogs) -> Answer {
        let user = self.user()?;
        let view = View { world: self.world, user };
        let mut places = self.listed_places(user, request.folder_id);
        let count = places.len();
        let after = (request.offset_date, request.offset_id);
        if after != (0, 0) {
            places.retain(|(date_s, id, _)| (*date_s, *id) < after);
        }
        let limit = usize::try_from(request.limit).unwrap_or(0).min(DIALOGS_MAX);
        let is_whole = places.len() <= limit && places.len() == count;
        places.truncate(limit);
        let dialogs = places.iter().map(|(_, _, place)| view.dialog(*place)).collect();
        let messages = places
            .iter()
            .filter_map(|(_, id, place)| {
                let message = self.world.known_mailbox(*place)?.messages.get(id)?;
                Some(view.message(*place, message))
            })
            .collect();
        let chats = places.iter().flat_map(|(_, _, place)| view.chats(*place)).collect();
        let users = view.own_account();
        let answer: enums::messages::Dialogs = if is_whole {
            types::messages::Dialogs { dialogs, messages, chats, users }.into()
        } else {
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            types::messages::DialogsSlice { count, dialogs, messages, chats, users }.into()
        };
        Ok(answer.to_bytes())
    }

    /// The places of an account with the time and number of their newest message, newest first.
    fn listed_places(&self, user: i64, folder: Option<i32>) -> Vec<(i32, i32, Place)> {
        let channels = self.world.channels.values().filter(|channel| channel.members.contains(&user));
        let channels = channels.filter(|channel| match folder {
            None => true,
            Some(ARCHIVE) => channel.archived.contains(&user),
            Some(_) => !channel.archived.contains(&user),
        });
        let saved = Some(Place::Saved(user)).filter(|_| folder != Some(ARCHIVE));
        let mut places: Vec<(i32, i32, Place)> = channels
            .map(|channel| Place::Channel(channel.id))
            .chain(saved)
            .filter_map(|place| {
                let (id, newest) = self.world.known_mailbox(place)?.messages.last_key_value()?;
                Some((newest.date_s, *id, place))
            })
            .collect();
        places.sort_unstable_by(|a, b| b.cmp(a));
        places
    }
}

/// What members are told of a channel that is gone.
pub(crate) fn gone(channel: &Channel, user: i64) -> Vec<u8> {
    let forbidden = types::ChannelForbidden {
        broadcast: !channel.is_megagroup,
        megagroup: channel.is_megagroup,
        monoforum: false,
        id: channel.id,
        access_hash: access_hash(user, channel.id),
        title: channel.title.clone(),
        until_date: None,
    };
    let updates = types::Updates {
        updates: vec![types::UpdateChannel { channel_id: channel.id }.into()],
        users: Vec::new(),
        chats: vec![forbidden.into()],
        date: time_s(),
        seq: 0,
    };
    enums::Updates::Updates(updates).to_bytes()
}

fn checked_title(title: &str) -> Result<String, Refusal> {
    let title = title.trim();
    if title.is_empty() || title.chars().count() > TITLE_LEN_MAX {
        return bad("CHAT_TITLE_EMPTY");
    }
    Ok(title.to_owned())
}

fn checked_about(about: &str) -> Result<String, Refusal> {
    if about.chars().count() > ABOUT_LEN_MAX {
        return bad("CHAT_ABOUT_TOO_LONG");
    }
    Ok(about.trim().to_owned())
}
